//! What a conversation may use, beside what each of its questions may.

use serde::{Deserialize, Serialize};

use crate::{error::Result, limits::Limits, rlm::conversations::questions::Questions};

/// What the questions of a [`Conversation`](crate::Conversation) may use together. What each of them may use
/// is set by [`Limits`], as for any run.
///
/// A question never gets more than what is left of these. Once one is used up, the next question is refused
/// with an error of kind [`LimitReached`](crate::ErrorKind::LimitReached).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ConversationLimits {
    /// Input and output tokens of all questions. Default none.
    pub max_tokens: Option<u64>,
    /// US dollars of all questions. Default none.
    pub max_cost: Option<f64>,
    /// Characters in which the model is told of earlier questions, with the inputs and results that each had.
    /// Where they do not fit, the oldest are no longer listed; they stay as variables. Default 20 000.
    pub max_earlier_chars: usize,
}

impl Default for ConversationLimits {
    fn default() -> Self {
        Self { max_tokens: None, max_cost: None, max_earlier_chars: 20_000 }
    }
}

/// Chained setters, for `.limits(|limits| limits.max_cost(5.0))`.
impl ConversationLimits {
    /// Sets how many tokens all questions may use together; `None` is no limit.
    pub fn max_tokens(mut self, tokens: impl Into<Option<u64>>) -> Self {
        self.max_tokens = tokens.into();
        self
    }

    /// Sets how many US dollars all questions may use together; `None` is no limit.
    pub fn max_cost(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.max_cost = dollars.into();
        self
    }

    /// Sets in how many characters the model is told of earlier questions.
    pub fn max_earlier_chars(mut self, chars: usize) -> Self {
        self.max_earlier_chars = chars;
        self
    }

    /// What the next question may use: its own limits, or what is left of these.
    pub(super) fn left_of(self, questions: &Questions, mut limits: Limits) -> Result<Limits> {
        let used = &questions.usage;
        if let Some(most) = self.max_tokens {
            let tokens = used.total_tokens().unwrap_or_default();
            if tokens >= most {
                return Err(questions.exhausted(&format!("max_tokens is {most}"), &tokens.to_string()));
            }
            limits.max_tokens = Some(limits.max_tokens.map_or(most - tokens, |own| own.min(most - tokens)));
        }
        if let Some(most) = self.max_cost {
            let cost = used.cost.unwrap_or_default();
            // An amount that is no number is refused by the limits of the run.
            if cost >= most {
                return Err(questions.exhausted(&format!("max_cost is ${most}"), &format!("${cost:.4}")));
            }
            limits.max_cost = Some(limits.max_cost.map_or(most - cost, |own| own.min(most - cost)));
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({"max_tokens": null, "max_cost": null, "max_earlier_chars": 20_000});
        assert_eq!(serde_json::to_value(ConversationLimits::default()).unwrap(), expected);
    }

    #[test]
    fn a_question_gets_the_smaller_of_its_own_and_what_is_left() {
        let limits = ConversationLimits::default().max_tokens(1_000).max_cost(1.0);
        let mut questions = Questions { usage: Usage::tokens(300, 300).cost(0.25), ..Questions::default() };
        let left = limits.left_of(&questions, Limits::default().max_tokens(100)).unwrap();
        assert_eq!((left.max_tokens, left.max_cost), (Some(100), Some(0.75)));
        questions.usage += Usage::tokens(400, 0);
        let error = limits.left_of(&questions, Limits::default()).unwrap_err();
        assert!(error.message().contains("max_tokens is 1000"), "{error}");
    }
}

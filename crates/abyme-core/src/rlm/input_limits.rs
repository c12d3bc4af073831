//! How long a request to each model may be, and what to do about a prompt that is longer.
//!
//! Tokens are estimated from bytes, so that only what is clearly too long is refused here. The rest is left
//! to the provider, and a run learns from its refusals.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    interpreter::HostError,
    model::{LanguageModel, Message},
};

/// Tokens for each byte that no text has fewer of, as a rule, until a model has reported its own.
const LEAST_TOKENS_PER_BYTE: f64 = 1.0 / 6.0;
/// How much denser than the requests so far a prompt may be.
const LEEWAY: f64 = 1.25;
/// How much of the limit the parts of a prompt should fill.
const FILLED: f64 = 0.8;

/// What the models of a tree of runs refused as too long: the least bytes of a request, by the model's name.
#[derive(Debug, Default)]
pub(super) struct InputLimits(Mutex<HashMap<String, usize>>);

impl InputLimits {
    /// Refuses a request that is clearly longer than what the model takes.
    ///
    /// # Errors
    /// A `ValueError` with the limit and a way to split the prompt.
    pub(super) fn check(
        &self,
        model: &dyn LanguageModel,
        messages: &[Message],
        tokens_per_byte: Option<f64>,
    ) -> Result<(), HostError> {
        let bytes = messages.iter().map(|message| message.content.len()).sum::<usize>() as f64;
        if let Some(limit) = model.max_input_tokens() {
            let ratio = tokens_per_byte.map_or(LEAST_TOKENS_PER_BYTE, |ratio| ratio / LEEWAY);
            if bytes * ratio > limit as f64 {
                let tokens = bytes * tokens_per_byte.unwrap_or(LEAST_TOKENS_PER_BYTE);
                let chars = chars(messages);
                return Err(HostError::value_error(format!(
                    "the prompt is too long for model `{}`, so it was not sent: it has {chars} characters, \
                     about {tokens:.0} tokens, and the model takes {limit} tokens. {}",
                    model.name(),
                    advice(chars, tokens / (limit as f64 * FILLED))
                )));
            }
        }
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(model.name()).copied();
        match refused {
            Some(refused) if bytes >= refused as f64 => Err(HostError::value_error(format!(
                "the prompt is too long for model `{}`, so it was not sent: it has {bytes} bytes, and one of \
                 {refused} bytes was too long before. {}",
                model.name(),
                advice(chars(messages), bytes / (refused as f64 * FILLED))
            ))),
            _ => Ok(()),
        }
    }

    /// Learns that a model refused a request as too long. Gives advice for the cell that asked.
    pub(super) fn learn_too_long(&self, model: &dyn LanguageModel, messages: &[Message]) -> String {
        let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let least = refused.entry(model.name().to_owned()).or_insert(bytes);
        *least = bytes.min(*least);
        advice(chars(messages), bytes as f64 / (*least as f64 * FILLED))
    }
}

fn chars(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.content.chars().count()).sum()
}

/// How to split a prompt that is so many times too long.
fn advice(chars: usize, times: f64) -> String {
    let parts = (times.ceil() as usize).max(2);
    let each = chars / parts;
    // A round number, unless it would be 0.
    let each = if each >= 1_000 { each / 1_000 * 1_000 } else { each };
    format!(
        "Split the text in it into {parts} parts of at most {each} characters, and ask about all of them \
         with llm_query_batched"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::LanguageModelExt, testing::ScriptedModel};

    fn model() -> impl LanguageModel {
        ScriptedModel::replies(["ok"]).with_name("small").with_max_input_tokens(1_000)
    }

    fn prompt(chars: usize) -> [Message; 1] {
        [Message::user("x".repeat(chars))]
    }

    #[test]
    fn only_what_is_clearly_too_long_is_refused() {
        let limits = InputLimits::default();
        assert_eq!(limits.check(&model(), &prompt(6_000), None), Ok(()), "perhaps 1000 tokens");
        let error = limits.check(&model(), &prompt(12_000), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ValueError: the prompt is too long for model `small`, so it was not sent: it has 12000 \
             characters, about 2000 tokens, and the model takes 1000 tokens. Split the text in it into 3 \
             parts of at most 4000 characters, and ask about all of them with llm_query_batched"
        );
        let dense = Some(0.5);
        assert_eq!(limits.check(&model(), &prompt(2_400), dense), Ok(()), "within the leeway");
        assert!(limits.check(&model(), &prompt(2_600), dense).is_err());
        let unlimited = ScriptedModel::replies(["ok"]);
        assert_eq!(limits.check(&unlimited, &prompt(1_000_000), None), Ok(()));
    }

    #[test]
    fn a_run_learns_from_refusals() {
        let (limits, model) = (InputLimits::default(), ScriptedModel::replies(["ok"]));
        let advice = limits.learn_too_long(&model, &prompt(10_000));
        assert!(
            advice.starts_with("Split the text in it into 2 parts of at most 5000 characters"),
            "{advice}"
        );
        assert_eq!(limits.check(&model, &prompt(9_999), None), Ok(()));
        let error = limits.check(&model, &prompt(30_000), None).unwrap_err();
        assert!(
            error
                .message
                .contains("one of 10000 bytes was too long before. Split the text in it into 4 parts")
        );
    }
}

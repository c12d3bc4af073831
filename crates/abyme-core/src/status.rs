//! How a run ended, and the limit that ended it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The model submitted outputs that fit.
    Submitted,
    /// The model answered in words where words are enough: one output, of type `str`.
    Answered,
    /// The run could not go on: its sessions kept dying, or its requests were refused. The outputs were
    /// extracted from the conversation so far.
    CutShort,
    /// The run was asked to end with what it knew ([`CancelHandle::finish_now`](crate::CancelHandle)). The
    /// outputs were extracted from the conversation so far.
    EndedEarly,
    /// A limit was reached. The outputs were extracted from the conversation so far.
    #[serde(untagged)]
    LimitReached(Limit),
}

impl Status {
    /// Whether the model ended the run by itself.
    pub fn is_complete(self) -> bool {
        !matches!(self, Status::LimitReached(_) | Status::CutShort | Status::EndedEarly)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Submitted => f.write_str("submitted"),
            Status::Answered => f.write_str("answered"),
            Status::CutShort => f.write_str("cut_short"),
            Status::EndedEarly => f.write_str("ended_early"),
            Status::LimitReached(limit) => limit.fmt(f),
        }
    }
}

/// A limit that ends a run. As text, and in JSON, it is the name of its field in [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Limit {
    /// The replies of the root model are used up.
    #[serde(rename = "max_iterations")]
    Iterations,
    /// The sub-calls are used up. Ends child runs only, whose turns are sub-calls.
    #[serde(rename = "max_llm_calls")]
    SubCalls,
    /// The time is over.
    #[serde(rename = "run_timeout")]
    Time,
    /// The tokens are used up.
    #[serde(rename = "max_tokens")]
    Tokens,
    /// The money is used up.
    #[serde(rename = "max_cost")]
    Cost,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Iterations => "max_iterations",
            Limit::SubCalls => "max_llm_calls",
            Limit::Time => "run_timeout",
            Limit::Tokens => "max_tokens",
            Limit::Cost => "max_cost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_same_word_in_json_and_as_text() {
        let limits = [Limit::Iterations, Limit::SubCalls, Limit::Time, Limit::Tokens, Limit::Cost];
        let limits = limits.map(Status::LimitReached);
        for (status, word) in [Status::Submitted, Status::Answered, Status::CutShort, Status::EndedEarly]
            .into_iter()
            .chain(limits)
            .zip([
                "submitted",
                "answered",
                "cut_short",
                "ended_early",
                "max_iterations",
                "max_llm_calls",
                "run_timeout",
                "max_tokens",
                "max_cost",
            ])
        {
            let json = serde_json::to_value(status).unwrap();
            assert_eq!((json.as_str(), status.to_string().as_str()), (Some(word), word));
            assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
        }
        assert!(serde_json::from_str::<Status>("\"max_luck\"").is_err());
    }
}

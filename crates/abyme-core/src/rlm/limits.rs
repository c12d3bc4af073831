//! What a run may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a run may use, its sub-calls included.
///
/// Iterations and sub-calls are reserved before they start, so they are never exceeded. Tokens and cost are known
/// only after a call: no call starts once they are used up, so the last one may go over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// Replies of the root model. Default 20, as in DSPy.
    pub max_iterations: u32,
    /// Model calls made from cells, each prompt of a batch counted. Default 200: correct runs in the RLM paper
    /// average more than 50.
    pub max_llm_calls: u32,
    /// Model calls in flight at once. Default 16.
    pub max_concurrent_calls: usize,
    /// Characters of an observation that the model reads. Default 10 000.
    pub max_output_chars: usize,
    /// Characters of an input that the first message shows. Default 1 000.
    pub max_preview_chars: usize,
    /// How long a cell may take, its host calls included. Default 120 s; `None` is no limit.
    #[serde(with = "crate::seconds::option")]
    pub cell_timeout: Option<Duration>,
    /// How long one try of a model call may take. Default 300 s.
    #[serde(with = "crate::seconds")]
    pub model_timeout: Duration,
    /// How long the turns of a run may take together. The extract call comes on top, 60 s at most.
    /// Default none.
    #[serde(with = "crate::seconds::option")]
    pub run_timeout: Option<Duration>,
    /// Input and output tokens together. Counts what providers report. Default none.
    pub max_tokens: Option<u64>,
    /// US dollars. Counts what providers report. Default none.
    pub max_cost: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_iterations: 20,
            max_llm_calls: 200,
            max_concurrent_calls: 16,
            max_output_chars: 10_000,
            max_preview_chars: 1_000,
            cell_timeout: Some(Duration::from_secs(120)),
            model_timeout: Duration::from_secs(300),
            run_timeout: None,
            max_tokens: None,
            max_cost: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({
            "max_iterations": 20, "max_llm_calls": 200, "max_concurrent_calls": 16,
            "max_output_chars": 10_000, "max_preview_chars": 1_000,
            "cell_timeout": 120.0, "model_timeout": 300.0, "run_timeout": null, "max_tokens": null, "max_cost": null,
        });
        assert_eq!(serde_json::to_value(Limits::default()).unwrap(), expected);
    }
}

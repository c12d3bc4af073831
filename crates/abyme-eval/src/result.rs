//! What one setting made of one task, as it is kept.

use abyme_core::Usage;
use serde::{Deserialize, Serialize};

use crate::spending::is_unknown;

/// How one try of one task by one setting ended: a line of `results.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskResult {
    /// The name of the task.
    pub task: String,
    /// Its hash. A result counts for this very task alone.
    pub task_hash: String,
    /// The name of the setting.
    pub setting: String,
    /// The hash of what decides about its answers.
    pub setting_hash: String,
    /// Which try it is, from 1.
    pub repetition: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// From 0 to 1, where the outcome counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<serde_json::Value>,
    /// How the run of it ended, as a record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The share of the inputs that a plain call was given, where that was not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_share: Option<f64>,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// The model that gave the score, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
    /// What the judge used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_usage: Option<Usage>,
    /// The turns of its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// How long it took, in seconds; the judge does not count.
    pub seconds: f64,
    /// The id of its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The file with its record, below the directory of the evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// How one try of a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer, which was compared with the expected one.
    Answered,
    /// Without one, for a reason that is the setting's own: a limit, a refusal, sessions that die. It counts
    /// as a wrong answer.
    Failed,
    /// The input is longer than what the model of a plain call can read. It counts as a wrong answer.
    TooLong,
    /// For a reason that says nothing of the setting: the provider failed. It does not count, and is tried
    /// again at the next start.
    Broken,
    /// The evaluation ended before it did. It does not count, and is tried again at the next start.
    Stopped,
}

impl Outcome {
    /// Whether it is a result, and the try is not made again.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Answered | Self::Failed | Self::TooLong)
    }
}

impl TaskResult {
    /// What it cost in US dollars, the judge included, as far as that is known.
    #[must_use]
    pub fn cost(&self) -> Option<f64> {
        (self.usage + self.judge_usage.unwrap_or_default()).cost
    }

    /// Whether nobody knows what it cost. That of a try without an answer may never be known, and is nothing
    /// as a rule.
    pub(crate) fn has_unknown_cost(&self) -> bool {
        let used = [Some(&self.usage), self.judge_usage.as_ref()];
        self.outcome == Outcome::Answered && used.into_iter().flatten().any(is_unknown)
    }
}

//! Which prompts a run begins with.

use serde::{Deserialize, Serialize};

/// The prompts that a run begins with.
///
/// A small model loses itself in a page of rules, and follows an example better than any rule. A large one
/// needs no example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PromptProfile {
    /// [`Standard`](Self::Standard), and where the first three replies hold no cell that could run, once more
    /// from the start with [`Small`](Self::Small).
    #[default]
    Auto,
    /// The rules in full: a page of them, how to work with inputs of any size among them.
    Standard,
    /// For small models: the rules in a few sentences, one worked example in four messages, and replies at a
    /// temperature of 0.2, in place of the one that is set for the model.
    ///
    /// With them the cell of SmolLM2-135M-Instruct's first reply ran without an exception in 17 of 20 cases
    /// (4 tasks, 5 seeds each, llama.cpp), with the standard prompts in 3.
    Small,
    /// As [`Small`](Self::Small), and each request ends with the beginning of the reply, the line that opens
    /// the block, as long as the server takes that. For servers that go on from there, such as llama.cpp's;
    /// one that begins anew is understood too, and one that refuses such a request is asked without it.
    SmallPrefilled,
}

impl PromptProfile {
    /// Whether a run begins with the short rules and the example.
    pub(crate) fn is_small(self) -> bool {
        matches!(self, Self::Small | Self::SmallPrefilled)
    }

    /// How much a request for a cell leaves to chance, if not what is set for the model.
    pub(crate) fn temperature(self) -> Option<f64> {
        self.is_small().then_some(0.2)
    }

    /// What a request for a cell ends with.
    pub(crate) fn prefill(self) -> &'static str {
        match self {
            Self::SmallPrefilled => "```python\n",
            _ => "",
        }
    }
}

//! Which prompts and conventions a run follows.

use serde::{Deserialize, Serialize};

use super::conventions::{self, Conventions};
use crate::{compaction::Compaction, limits::Limits};

/// The prompts and conventions that a run follows: Abyme's own, in full or for small models, or those of
/// another system, for people who move over and for numbers that have to be run again.
///
/// A small model loses itself in a page of rules, and follows an example better than any rule. A large one
/// needs no example.
///
/// The guide's page on profiles (`abyme::guide::profiles`) says of each system what is the same here and what
/// is not. The texts are our own; their limits are the defaults of [`limits`](Self::limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Profile {
    /// [`Standard`](Self::Standard), and where the first three replies hold no cell that could run, once more
    /// from the start with [`Small`](Self::Small).
    #[default]
    Abyme,
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
    /// `dspy.RLM` of DSPy 3.4: fields for reasoning and code, all steps in one message, `SUBMIT`.
    Dspy,
    /// `rlms` 0.1: the variable `context`, ```` ```repl ```` blocks that all run, the `answer` dict.
    Rlms,
    /// The paper "Recursive Language Models" (arXiv 2512.24601): the variable `context`, `llm_query` alone,
    /// `FINAL` and `FINAL_VAR` in the text of a reply.
    Paper,
    /// OpenJarvis' `rlm` agent: the variable `context`, `llm_batch`, a reply without code as the answer.
    #[serde(rename = "openjarvis")]
    OpenJarvis,
}

impl Profile {
    /// The limits that a run of this profile has, where nothing else is set: those of [`Limits`], and for
    /// another system its own turns, sub-calls, calls at once and characters of an observation. None of these
    /// starts children by default.
    ///
    /// ```
    /// use abyme_core::Profile;
    ///
    /// assert_eq!(Profile::Rlms.limits().max_iterations, 30);
    /// assert_eq!(Profile::Dspy.limits().max_llm_calls, 50);
    /// ```
    pub fn limits(self) -> Limits {
        let limits = |turns: u32, calls: u32, at_once: usize, chars: usize| {
            let limits = Limits::default().max_depth(0).max_iterations(turns).max_llm_calls(calls);
            limits.max_concurrent_calls(at_once).max_output_chars(chars)
        };
        match self {
            Self::Abyme | Self::Standard | Self::Small | Self::SmallPrefilled => Limits::default(),
            Self::Dspy => limits(20, 50, 8, 10_000),
            Self::Rlms => limits(30, u32::MAX, 16, 20_000),
            Self::Paper => limits(30, u32::MAX, 1, 20_000),
            Self::OpenJarvis => limits(10, u32::MAX, 1, 10_000),
        }
    }

    /// When earlier turns are summarised, where nothing else is set: none of the other systems does so by
    /// default.
    pub(crate) fn compaction(self) -> Compaction {
        match self.conventions() {
            Some(_) => Compaction::off(),
            None => Compaction::default(),
        }
    }

    /// The conventions of another system; `None` for our own.
    pub(crate) fn conventions(self) -> Option<&'static Conventions> {
        match self {
            Self::Abyme | Self::Standard | Self::Small | Self::SmallPrefilled => None,
            Self::Dspy => Some(&conventions::DSPY),
            Self::Rlms => Some(&conventions::RLMS),
            Self::Paper => Some(&conventions::PAPER),
            Self::OpenJarvis => Some(&conventions::OPENJARVIS),
        }
    }

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

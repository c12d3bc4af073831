//! When the earlier turns of a run are summarised, and how much of it stays as it was.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// When the earlier turns of a run are summarised.
///
/// A run whose messages fill a share of what its model can read has the model summarise its earlier turns.
/// The summary takes their place in the messages; the turns stay whole in the session, in the variable
/// `history` (or another name, where the task or a cell has that one): a list of dicts with `turn`,
/// `reasoning`, `code` and `output`. The summary is a model call of its own
/// ([`Purpose::Compact`](crate::trajectory::Purpose::Compact)), which takes no iteration and counts towards
/// tokens, cost and time; in a child it is a sub-call. Children compact as their parents do.
///
/// How much a model can read is known of the models in the [table of prices](crate::PriceTable), set with
/// [`with_max_input_tokens`](crate::LanguageModelExt::with_max_input_tokens), or learnt when the model
/// refuses a request as too long. Such a refusal is answered by a summary too. Only where that is not
/// possible, or not enough, the middles of the oldest messages are cut out, and so it is where compaction is
/// off. Where that is not enough either, earlier turns are left out; they are whole in the variable.
///
/// ```
/// use abyme_core::Compaction;
///
/// let early = Compaction::default().share(0.5).keep_turns(3);
/// let never = Compaction::off();
/// # assert!(never != early);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Compaction {
    /// Whether earlier turns are summarised at all. Default yes.
    pub enabled: bool,
    /// The share of what the model can read that the messages may fill, above 0 and up to 1. Default 0.8:
    /// the rest is for the next observation and the reply.
    pub share: f64,
    /// How many turns at the end stay as they were, beside what the last cell produced. Fewer stay where they
    /// would fill half of what the model can read. Default 1.
    pub keep_turns: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { enabled: true, share: 0.8, keep_turns: 1 }
    }
}

impl Compaction {
    /// Summarises nothing.
    pub fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Sets the share of what the model can read that the messages may fill.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Sets how many turns at the end stay as they were.
    pub fn keep_turns(mut self, turns: usize) -> Self {
        self.keep_turns = turns;
        self
    }

    /// Refuses a share that is none.
    pub(crate) fn check(&self) -> Result<()> {
        match self.share > 0.0 && self.share <= 1.0 {
            true => Ok(()),
            false => {
                let message =
                    format!("the share of compaction is {}: it must be above 0, up to 1", self.share);
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({"enabled": true, "share": 0.8, "keep_turns": 1});
        assert_eq!(serde_json::to_value(Compaction::default()).unwrap(), expected);
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(Compaction::default().share(share).check().is_err(), "{share}");
        }
    }
}

//! What a run may use, and what is left of it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What a run may use, its sub-calls and its children included.
///
/// Iterations and sub-calls are reserved before they start, so they are never exceeded. Tokens and cost are
/// known only after a call. So what a sub-call will use is estimated and held for it before it starts, from
/// the size of its prompt and from what the calls of the run have used so far, and a batch that does not fit
/// is not sent at all. Turns come one at a time: none starts once a limit is used up, so the last one may
/// exceed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// Turns of a run. A child may have as many, or fewer if the cell that starts it says so. Default 20, as
    /// in DSPy.
    pub max_iterations: u32,
    /// Model calls other than the turns of the root run: each prompt of a batch counts, and each turn of a
    /// child, so this bounds all children together. Default 200: correct runs in the RLM paper average more
    /// than 50.
    pub max_llm_calls: u32,
    /// How deep children may be nested: `rlm_query` starts a run with a session of its own. Below this depth
    /// it answers as `llm_query` does. Default 1: a run may have children, and these may not.
    pub max_depth: u32,
    /// Sub-calls in flight at once, and child runs at work at once; a run that waits for its children is not
    /// at work. Default 16.
    pub max_concurrent_calls: usize,
    /// Characters of an observation that the model reads. Default 10 000.
    pub max_output_chars: usize,
    /// Characters of an input that the first message shows. Default 1 000.
    pub max_preview_chars: usize,
    /// How long a cell may take, its tools included. The clock stands still while it waits for a model.
    /// Default 120 s; `None` is no limit.
    #[serde(with = "crate::seconds::option")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub cell_timeout: Option<Duration>,
    /// How long one try of a model call may take; retries come on top. Default 300 s.
    #[serde(with = "crate::seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub model_timeout: Duration,
    /// How long a run may take, everything included. Its last quarter, 60 s at most, is kept for the extract
    /// call, so that turns end before it. Default none.
    #[serde(with = "crate::seconds::option")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub run_timeout: Option<Duration>,
    /// Input and output tokens together. Counts what providers report: a run whose first reply comes without
    /// is an error, and later ones without end its turns. Default none.
    pub max_tokens: Option<u64>,
    /// US dollars. Counts what providers report, and what the model's price makes of the tokens where a
    /// provider does not. A model without either is an error before anything starts
    /// ([`with_price`](crate::LanguageModelExt::with_price) gives it a price). A run whose first reply comes
    /// without a cost all the same is an error, and later ones without end its turns. Default none.
    pub max_cost: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_iterations: 20,
            max_llm_calls: 200,
            max_depth: 1,
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

/// Chained setters, for `.limits(|limits| limits.max_iterations(5).max_cost(0.5))`.
impl Limits {
    /// Sets how many replies of the root model a run may use.
    pub fn max_iterations(mut self, iterations: u32) -> Self {
        self.max_iterations = iterations;
        self
    }

    /// Sets how many model calls the cells and the children may make.
    pub fn max_llm_calls(mut self, calls: u32) -> Self {
        self.max_llm_calls = calls;
        self
    }

    /// Sets how deep children may be nested; 0 is no children.
    pub fn max_depth(mut self, depth: u32) -> Self {
        self.max_depth = depth;
        self
    }

    /// Sets how many sub-calls may be in flight, and how many child runs at work, at once.
    pub fn max_concurrent_calls(mut self, calls: usize) -> Self {
        self.max_concurrent_calls = calls;
        self
    }

    /// Sets how many characters of an observation the model reads.
    pub fn max_output_chars(mut self, chars: usize) -> Self {
        self.max_output_chars = chars;
        self
    }

    /// Sets how many characters of an input the first message shows.
    pub fn max_preview_chars(mut self, chars: usize) -> Self {
        self.max_preview_chars = chars;
        self
    }

    /// Sets how long a cell may take; `None` is no limit.
    pub fn cell_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.cell_timeout = limit.into();
        self
    }

    /// Sets how long one try of a model call may take.
    pub fn model_timeout(mut self, limit: Duration) -> Self {
        self.model_timeout = limit;
        self
    }

    /// Sets how long a run may take, everything included; `None` is no limit.
    pub fn run_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.run_timeout = limit.into();
        self
    }

    /// Sets how many tokens a run may use, as far as the provider reports them; `None` is no limit.
    pub fn max_tokens(mut self, tokens: impl Into<Option<u64>>) -> Self {
        self.max_tokens = tokens.into();
        self
    }

    /// Sets how many US dollars a run may use, as far as the provider reports them; `None` is no limit.
    pub fn max_cost(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.max_cost = dollars.into();
        self
    }
}

impl Limits {
    /// These limits, where what is as in `from` becomes as in `to`.
    pub(crate) fn rebased(self, from: &Self, to: Self) -> Self {
        fn choose<T: PartialEq>(own: T, from: &T, to: T) -> T {
            if own == *from { to } else { own }
        }
        Self {
            max_iterations: choose(self.max_iterations, &from.max_iterations, to.max_iterations),
            max_llm_calls: choose(self.max_llm_calls, &from.max_llm_calls, to.max_llm_calls),
            max_depth: choose(self.max_depth, &from.max_depth, to.max_depth),
            max_concurrent_calls: choose(
                self.max_concurrent_calls,
                &from.max_concurrent_calls,
                to.max_concurrent_calls,
            ),
            max_output_chars: choose(self.max_output_chars, &from.max_output_chars, to.max_output_chars),
            // Profiles change no other limit.
            ..self
        }
    }

    /// These limits, where what somebody changed `from` something `to` something else is as they want it.
    pub(crate) fn changed(&self, from: &Self, to: &Self) -> Self {
        fn choose<T: Copy + PartialEq>(own: T, from: T, to: T) -> T {
            if from == to { own } else { to }
        }
        Self {
            max_iterations: choose(self.max_iterations, from.max_iterations, to.max_iterations),
            max_llm_calls: choose(self.max_llm_calls, from.max_llm_calls, to.max_llm_calls),
            max_depth: choose(self.max_depth, from.max_depth, to.max_depth),
            max_concurrent_calls: choose(
                self.max_concurrent_calls,
                from.max_concurrent_calls,
                to.max_concurrent_calls,
            ),
            max_output_chars: choose(self.max_output_chars, from.max_output_chars, to.max_output_chars),
            max_preview_chars: choose(self.max_preview_chars, from.max_preview_chars, to.max_preview_chars),
            cell_timeout: choose(self.cell_timeout, from.cell_timeout, to.cell_timeout),
            model_timeout: choose(self.model_timeout, from.model_timeout, to.model_timeout),
            run_timeout: choose(self.run_timeout, from.run_timeout, to.run_timeout),
            max_tokens: choose(self.max_tokens, from.max_tokens, to.max_tokens),
            max_cost: choose(self.max_cost, from.max_cost, to.max_cost),
        }
    }

    /// Refuses limits under which no run could work.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Config, what.to_owned()));
        match self {
            Limits { max_iterations: 0, .. } => wrong("max_iterations is 0: a run needs at least one"),
            Limits { max_concurrent_calls: 0, .. } => {
                wrong("max_concurrent_calls is 0: no sub-call could ever start")
            }
            Limits { max_output_chars: 0, .. } => wrong("max_output_chars is 0: the model would see nothing"),
            Limits { model_timeout, .. } if model_timeout.is_zero() => {
                wrong("model_timeout is 0: no model could answer")
            }
            Limits { cell_timeout: Some(limit), .. } if limit.is_zero() => {
                wrong("cell_timeout is 0: no cell could run")
            }
            Limits { max_cost: Some(cost), .. } if cost.is_nan() || *cost < 0.0 => {
                wrong("max_cost is not an amount")
            }
            _ => Ok(()),
        }
    }
}

/// What is left of a budget, as the model reads it after every turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remaining {
    pub(crate) turn: u32,
    pub(crate) max_iterations: u32,
    pub(crate) sub_calls_left: u32,
    pub(crate) max_llm_calls: u32,
    pub(crate) tokens_left: Option<u64>,
    pub(crate) cost_left: Option<f64>,
    pub(crate) time_left: Option<Duration>,
    /// What it says in place of all that, with `{{next}}` and `{{max}}` for turns.
    pub(crate) words: Option<&'static str>,
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(words) = self.words {
            let (next, max) = ((self.turn + 1).to_string(), self.max_iterations.to_string());
            return f.write_str(&words.replace("{{next}}", &next).replace("{{max}}", &max));
        }
        write!(
            f,
            "(turn {} of {}; {} of {} sub-calls left",
            self.turn, self.max_iterations, self.sub_calls_left, self.max_llm_calls
        )?;
        if let Some(left) = self.tokens_left {
            write!(f, "; {left} tokens left")?;
        }
        if let Some(left) = self.cost_left {
            write!(f, "; ${left:.4} left")?;
        }
        if let Some(left) = self.time_left {
            write!(f, "; {:.0} s left", left.as_secs_f64())?;
        }
        if self.turn + 1 == self.max_iterations {
            f.write_str("; the next turn is the last: submit in it")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let expected = serde_json::json!({
            "max_iterations": 20, "max_llm_calls": 200, "max_depth": 1, "max_concurrent_calls": 16,
            "max_output_chars": 10_000, "max_preview_chars": 1_000,
            "cell_timeout": 120.0, "model_timeout": 300.0, "run_timeout": null,
            "max_tokens": null, "max_cost": null,
        });
        assert_eq!(serde_json::to_value(Limits::default()).unwrap(), expected);
    }
}

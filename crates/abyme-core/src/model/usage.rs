//! What calls cost.

use std::{
    fmt,
    ops::{Add, AddAssign},
};

use serde::{Deserialize, Serialize};

/// Tokens and money of one or more calls. `None` is unknown, which is not 0; a sum is unknown only if all its
/// parts are unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Calls made.
    pub calls: u64,
    /// Tokens of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// The input tokens that the provider read from its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// The input tokens that the provider wrote into its cache, where it counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Tokens of the replies, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// The output tokens that were reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Price in US dollars, where the provider tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl Usage {
    /// One call of unknown size.
    pub fn call() -> Self {
        Self { calls: 1, ..Self::default() }
    }

    /// One call with known token counts.
    pub fn tokens(input: u64, output: u64) -> Self {
        Self { calls: 1, input_tokens: Some(input), output_tokens: Some(output), ..Self::default() }
    }

    /// No call: what was used is known to be nothing. That is what a reply from a cache used.
    pub fn nothing() -> Self {
        Self { calls: 0, input_tokens: Some(0), output_tokens: Some(0), cost: Some(0.0), ..Self::default() }
    }

    /// Sets the price in US dollars.
    pub fn cost(mut self, dollars: f64) -> Self {
        self.cost = Some(dollars);
        self
    }

    /// Input and output tokens together, as far as they are known.
    pub fn total_tokens(&self) -> Option<u64> {
        sum(self.input_tokens, self.output_tokens)
    }
}

/// `3 calls, 1200 tokens, $0.0300`, as far as it is known.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.calls, if self.calls == 1 { "call" } else { "calls" })?;
        if let Some(tokens) = self.total_tokens() {
            write!(f, ", {tokens} tokens")?;
        }
        match self.cost {
            Some(cost) => write!(f, ", ${cost:.4}"),
            None => Ok(()),
        }
    }
}

fn sum<T: Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, None) | (None, one) => one,
    }
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            calls: self.calls + other.calls,
            input_tokens: sum(self.input_tokens, other.input_tokens),
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
            cache_write_tokens: sum(self.cache_write_tokens, other.cache_write_tokens),
            output_tokens: sum(self.output_tokens, other.output_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
            cost: sum(self.cost, other.cost),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_not_zero() {
        let sum = Usage::call() + Usage::tokens(10, 2);
        assert_eq!((sum.calls, sum.input_tokens, sum.cost), (2, Some(10), None));
    }
}

//! What a token costs, for models whose provider does not say what a call costs.

use serde::{Deserialize, Serialize};

use super::usage::Usage;

/// The price of a model's tokens, in US dollars for each million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Price {
    /// Tokens of requests.
    pub input: f64,
    /// Tokens of requests that the provider reads from its cache. Default: as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Tokens of replies.
    pub output: f64,
}

impl Price {
    /// A price in US dollars for each million tokens of requests and of replies.
    pub fn per_million(input: f64, output: f64) -> Self {
        Self { input, cached_input: None, output }
    }

    /// Sets the price of what the provider reads from its cache.
    pub fn cached_input(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.cached_input = dollars.into();
        self
    }

    /// The price of a call; `None` if its tokens are not known.
    pub fn of(&self, usage: &Usage) -> Option<f64> {
        let (input, output) = (usage.input_tokens?, usage.output_tokens?);
        let cached = usage.cached_tokens.unwrap_or_default().min(input);
        let dollars = (input - cached) as f64 * self.input
            + cached as f64 * self.cached_input.unwrap_or(self.input)
            + output as f64 * self.output;
        Some(dollars / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_its_tokens() {
        let price = Price::per_million(2.0, 10.0).cached_input(0.5);
        let mut usage = Usage::tokens(1_000_000, 100_000);
        assert_eq!(price.of(&usage), Some(3.0));
        usage.cached_tokens = Some(600_000);
        assert_eq!(price.of(&usage), Some(2.1));
        assert_eq!(price.of(&Usage::call()), None);
    }
}

//! What a token costs, for models whose provider does not say what a call costs.

use serde::{Deserialize, Serialize};

use super::usage::Usage;
use crate::error::{Error, ErrorKind, Result};

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
    /// Tokens of requests that the provider writes into its cache. Default: as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Tokens of replies, reasoning included.
    pub output: f64,
    /// What the tokens of a call with a long request cost in place of the above. Default: the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
}

/// The price of all tokens of a call whose request is long, in US dollars for each million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LongPrice {
    /// A request with more tokens than these is long.
    pub above: u64,
    /// Tokens of requests.
    pub input: f64,
    /// Tokens of requests that the provider reads from its cache. Default: as the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Tokens of requests that the provider writes into its cache. Default: as the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Tokens of replies, reasoning included.
    pub output: f64,
}

impl Price {
    /// A price in US dollars for each million tokens of requests and of replies.
    pub fn per_million(input: f64, output: f64) -> Self {
        Self { input, output, ..Self::default() }
    }

    /// Sets the price of what the provider reads from its cache.
    pub fn cached_input(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.cached_input = dollars.into();
        self
    }

    /// Sets the price of what the provider writes into its cache.
    pub fn cache_write(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.cache_write = dollars.into();
        self
    }

    /// Sets the price of calls with long requests.
    pub fn long(mut self, price: impl Into<Option<LongPrice>>) -> Self {
        self.long = price.into();
        self
    }

    /// The price of a call; `None` if its tokens are not known.
    pub fn of(&self, usage: &Usage) -> Option<f64> {
        let (input, output) = (usage.input_tokens?, usage.output_tokens?);
        let cached = usage.cached_tokens.unwrap_or_default().min(input);
        let written = usage.cache_write_tokens.unwrap_or_default().min(input - cached);
        let (of_input, of_cached, of_written, of_output) = match self.long.filter(|long| input > long.above) {
            Some(long) => (long.input, long.cached_input, long.cache_write, long.output),
            None => (self.input, self.cached_input, self.cache_write, self.output),
        };
        let dollars = (input - cached - written) as f64 * of_input
            + cached as f64 * of_cached.unwrap_or(of_input)
            + written as f64 * of_written.unwrap_or(of_input)
            + output as f64 * of_output;
        Some(dollars / 1e6)
    }

    /// Refuses what is no amount of money.
    pub(super) fn check(&self) -> Result<()> {
        let of_long =
            |long: LongPrice| [Some(long.input), long.cached_input, long.cache_write, Some(long.output)];
        let all = [Some(self.input), self.cached_input, self.cache_write, Some(self.output)];
        let mut all = all.into_iter().chain(self.long.map(of_long).into_iter().flatten()).flatten();
        match all.find(|dollars| !(0.0..1e9).contains(dollars)) {
            Some(dollars) => {
                let message = format!("{dollars} dollars for a million tokens are no price");
                Err(Error::new(ErrorKind::Config, message))
            }
            None => Ok(()),
        }
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

    #[test]
    fn what_is_written_into_the_cache_has_a_price_of_its_own() {
        let price = Price::per_million(2.0, 10.0).cached_input(0.5).cache_write(2.5);
        let mut usage = Usage::tokens(1_000_000, 0);
        usage.cache_write_tokens = Some(400_000);
        assert_eq!(price.of(&usage), Some(2.2));
        usage.cached_tokens = Some(600_000);
        assert_eq!(price.of(&usage), Some(1.3));
        // More than the request had is no more than the request.
        usage.cache_write_tokens = Some(u64::MAX);
        assert_eq!(price.of(&usage), Some(1.3));
        assert_eq!(Price::per_million(2.0, 10.0).of(&usage), Some(2.0), "without a price of their own");
    }

    #[test]
    fn all_of_a_long_call_has_the_price_of_long_calls() {
        let long =
            LongPrice { above: 200_000, input: 4.0, cached_input: None, cache_write: None, output: 20.0 };
        let price = Price::per_million(2.0, 10.0).cached_input(0.5).long(long);
        assert_eq!(price.of(&Usage::tokens(200_000, 100_000)), Some(1.4));
        assert_eq!(price.of(&Usage::tokens(250_000, 100_000)), Some(3.0));
    }
}

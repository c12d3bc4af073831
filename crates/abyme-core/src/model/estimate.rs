//! What a model call will use, before it is made: from the size of its request, and from what the calls of
//! the same tree of runs, or through the same rate limiter, have used so far.

use std::collections::HashMap;

use super::{message::Message, price::Price, usage::Usage};

/// Bytes of a request for each of its tokens, until a model has reported its own. Few: an estimate that is
/// too high refuses a call, one that is too low overruns a limit.
pub(crate) const BYTES_PER_TOKEN: f64 = 3.0;
/// Tokens of a reply, until a model has answered.
const OUTPUT_TOKENS: f64 = 500.0;

/// What a call uses, or is held for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amount {
    pub(crate) tokens: u64,
    /// In US dollars.
    pub(crate) cost: f64,
}

/// What the calls of each model have used.
#[derive(Debug, Default)]
pub(crate) struct Estimates(HashMap<String, Totals>);

/// Sums over the answered calls of one model that reported their tokens.
#[derive(Debug, Default)]
struct Totals {
    calls: f64,
    bytes: f64,
    input_tokens: f64,
    output_tokens: f64,
    cost: f64,
}

impl Estimates {
    /// Learns from an answered call, whose request had so many bytes. A reply from a cache teaches nothing.
    pub(crate) fn learn(&mut self, model: &str, bytes: usize, usage: &Usage) {
        let (Some(input), Some(output)) = (usage.input_tokens, usage.output_tokens) else { return };
        if *usage == Usage::nothing() {
            return;
        }
        let totals = self.0.entry(model.to_owned()).or_default();
        totals.calls += 1.0;
        totals.bytes += bytes as f64;
        totals.input_tokens += input as f64;
        totals.output_tokens += output as f64;
        totals.cost += usage.cost.unwrap_or_default();
    }

    /// How many tokens the requests to a model have had for each byte, where that is known.
    pub(crate) fn tokens_per_byte(&self, model: &str) -> Option<f64> {
        let totals = self.0.get(model).filter(|totals| totals.bytes > 0.0)?;
        Some(totals.input_tokens / totals.bytes)
    }

    /// How many tokens so many bytes are.
    pub(crate) fn tokens(&self, model: &str, bytes: usize) -> u64 {
        (bytes as f64 * self.tokens_per_byte(model).unwrap_or(1.0 / BYTES_PER_TOKEN)).ceil() as u64
    }

    /// The tokens that a call will use.
    pub(crate) fn usage(&self, model: &str, bytes: usize, max_output: Option<u32>) -> Usage {
        let input = self.tokens(model, bytes);
        let known = self.0.get(model).filter(|totals| totals.calls > 0.0);
        let output = known.map_or(OUTPUT_TOKENS, |totals| totals.output_tokens / totals.calls);
        let output = max_output.map_or(output, |most| output.min(f64::from(most)));
        Usage::tokens(input, output.ceil() as u64)
    }

    /// What a call will use. A model of unknown price costs what its calls have cost so far.
    pub(crate) fn of(
        &self,
        model: &str,
        bytes: usize,
        max_output: Option<u32>,
        price: Option<Price>,
    ) -> Amount {
        let none = Totals::default();
        let totals = self.0.get(model).unwrap_or(&none);
        let usage = self.usage(model, bytes, max_output);
        let tokens = usage.total_tokens().unwrap_or_default();
        let tokens_so_far = totals.input_tokens + totals.output_tokens;
        let cost = match price.and_then(|price| price.of(&usage)) {
            Some(cost) => cost,
            None if tokens_so_far > 0.0 => totals.cost / tokens_so_far * tokens as f64,
            None => 0.0,
        };
        Amount { tokens, cost }
    }
}

/// The size of a request, as estimates take it: the bytes of its messages.
pub(crate) fn bytes_of(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.content.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_starts_from_bytes_and_follows_what_the_model_reports() {
        let mut estimates = Estimates::default();
        let first = estimates.of("a", 3_000, None, None);
        assert_eq!(first, Amount { tokens: 1_500, cost: 0.0 });
        assert_eq!(estimates.of("a", 3_000, Some(10), None).tokens, 1_010);
        let price = Price::per_million(1.0, 2.0);
        assert_eq!(estimates.of("a", 3_000, None, Some(price)).cost, 0.002);

        estimates.learn("a", 4_000, &Usage::tokens(1_000, 100).cost(0.11));
        estimates.learn("a", 4_000, &Usage::call());
        let next = estimates.of("a", 8_000, None, None);
        assert_eq!(next.tokens, 2_100);
        assert!((next.cost - 0.21).abs() < 1e-9, "{next:?}");
        assert_eq!(estimates.of("b", 3_000, None, None), first, "each model has its own");
    }
}

//! Every wrapper of models keeps the contract that it was given, clause by clause.

use std::{process::ExitCode, time::Duration};

use abyme::{HedgePolicy, LanguageModelExt, Price, RateLimiter, RateLimiterConfig, RetryPolicy};
use abyme_conformance::{Suite, model::WrapperHarness};

fn main() -> ExitCode {
    let retries = RetryPolicy::default().max_retries(2).initial_backoff(Duration::from_millis(1));
    let retries = retries.max_requested_backoff(Duration::from_millis(10));
    Suite::main_of(vec![
        Suite::of_model(WrapperHarness::new("retrying", move |model| model.with_retry(retries.clone()))),
        Suite::of_model(WrapperHarness::new("priced", |model| {
            model.with_price(Price::per_million(1.0, 2.0))
        })),
        Suite::of_model(WrapperHarness::new("input-limited", |model| {
            model.with_max_input_tokens(10_000_000)
        })),
        Suite::of_model(WrapperHarness::new("concurrency-limited", |model| {
            model.with_max_concurrent_calls(8)
        })),
        Suite::of_model(WrapperHarness::new("rate-limited", |model| {
            model.with_rate_limit(&RateLimiter::new(RateLimiterConfig::default()))
        })),
        Suite::of_model(WrapperHarness::new("fallback", |model| model.clone().with_fallback(model)))
            .xfail("one_call_is_one_try", "the second model is asked once, too")
            .xfail("what_is_final_is_not_temporary", "a quota of the first is not one of the second"),
        Suite::of_model(WrapperHarness::new("hedged", |model| {
            model.with_hedge(HedgePolicy::default().after(Duration::from_secs(60)))
        })),
    ])
}

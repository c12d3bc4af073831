//! Wrapped models in a run: who tries again, whose time a wait is, and what the run counts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use abyme_core::{
    Error, ErrorKind, LanguageModelExt, RateLimiter, RateLimiterConfig, Response, ResponseCache, RetryPolicy,
    Rlm, Status, Usage, inputs, testing::ScriptedModel,
};
use common::{asking, cell, interpreter};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_model_that_tries_again_is_not_tried_again_by_the_loop() {
    let down = ScriptedModel::from_fn(|_| Err(Error::new(ErrorKind::Server, "503")));
    let model = down.clone().with_retry(RetryPolicy::default().max_retries(2));
    let builder = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory());
    let rlm = builder.retry(RetryPolicy::default().max_retries(5)).build().unwrap();
    let error = rlm.run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!((error.kind(), down.requests().len()), (ErrorKind::Server, 3));
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_its_turns_longer_than_a_model_may_take() {
    let limiter = RateLimiter::new(RateLimiterConfig::default().requests_per_minute(60));
    let sub = ScriptedModel::from_fn(|_| Ok("yes".into()));
    let root = ScriptedModel::replies([cell("ask"), "as text".into(), "as text".into()]);
    let builder = Rlm::builder("q -> a").model(root).sub_model(sub.clone().with_rate_limit(&limiter));
    let builder = builder.interpreter(asking(100).factory());
    let rlm = builder.limits(|limits| limits.model_timeout(Duration::from_secs(5))).build().unwrap();
    let started = Instant::now();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    let shown = prediction.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
    assert!(!shown.contains("[ERROR]"), "{shown}");
    assert_eq!(sub.requests().len(), 100);
    assert!((95..=105).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_run_ends_a_wait() {
    let limiter = RateLimiter::new(RateLimiterConfig::default().requests_per_minute(1));
    let model = ScriptedModel::from_fn(|_| Ok(cell("print more").into())).with_rate_limit(&limiter);
    let builder = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory());
    let rlm = builder.limits(|limits| limits.run_timeout(Duration::from_secs(30))).build().unwrap();
    let started = Instant::now();
    let error = rlm.run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached, "{error:?}");
    assert!(started.elapsed() <= Duration::from_secs(31), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_within_a_limit_on_cost() {
    let answer = |text: String, cost| Response::new(text).usage(Usage::tokens(10, 5).cost(cost));
    let down = ScriptedModel::from_fn(|_| Err(Error::new(ErrorKind::QuotaExceeded, "no quota left")));
    let other = ScriptedModel::replies([answer(cell("submit a=yes"), 0.25)]);
    let builder = Rlm::builder("q -> a").model(down.with_fallback(other));
    let builder = builder.interpreter(interpreter().factory());
    let rlm = builder.limits(|limits| limits.max_cost(1.0)).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!((prediction.status(), prediction.usage().cost), (Status::Submitted, Some(0.25)));
}

#[tokio::test(start_paused = true)]
async fn a_sub_call_from_the_cache_costs_a_run_nothing() {
    let cache = ResponseCache::in_memory();
    let sub =
        ScriptedModel::from_fn(|_| Ok(Response::new("yes").usage(Usage::tokens(1_000, 500).cost(0.25))));
    for cost in [Some(0.75), Some(0.0)] {
        let answer = |text: String| Response::new(text).usage(Usage::tokens(0, 0).cost(0.0));
        let root = ScriptedModel::replies([answer(cell("ask")), answer("yes".into()), answer("yes".into())]);
        let builder = Rlm::builder("q -> a").model(root).sub_model(sub.clone().with_cache(&cache));
        let builder = builder.interpreter(asking(3).factory());
        let rlm = builder.limits(|limits| limits.max_cost(1.0).max_tokens(10_000)).build().unwrap();
        let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
        let usage = prediction.usage();
        assert_eq!(usage.cost, cost, "{usage:?}");
    }
    assert_eq!(sub.requests().len(), 3);
}

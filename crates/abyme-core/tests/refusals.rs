//! Batches and runs at once against providers that refuse what is too many, without any setting.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme_core::{
    Error, ErrorKind, HedgePolicy, LanguageModel, LanguageModelExt, Price, RateLimiter, RateLimiterConfig,
    RateLimits, Recording, Request, Response, ResponseCache, Result, RetryPolicy, Rlm, Usage, inputs,
    model::collect, testing::ScriptedModel,
};
use async_trait::async_trait;
use common::{asking, cell};
use futures_util::future::join_all;
use tokio::time::Instant;

/// A provider that answers so many calls in any period, and refuses the others.
#[derive(Debug)]
struct Provider {
    most: usize,
    period: Duration,
    takes: Duration,
    tells: Tells,
    limiter: RateLimiter,
    counted: Mutex<Tally>,
}

/// What a provider says of its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tells {
    Nothing,
    RetryAfter,
    Headers,
}

#[derive(Debug, Default)]
struct Tally {
    recent: VecDeque<Instant>,
    answered: usize,
    refused: usize,
}

impl Provider {
    fn new(most: usize, period: u64, takes: u64, tells: Tells) -> Arc<Self> {
        let (period, takes) = (Duration::from_secs(period), Duration::from_secs(takes));
        // As that of a client, but for this test alone.
        let limiter = RateLimiter::new(RateLimiterConfig::default().first_calls(None));
        Arc::new(Self { most, period, takes, tells, limiter, counted: Mutex::default() })
    }
}

#[async_trait]
impl LanguageModel for Provider {
    fn name(&self) -> &str {
        "provider"
    }

    fn rate_limiter(&self) -> Option<RateLimiter> {
        Some(self.limiter.clone())
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = Instant::now();
        let left = {
            let mut counted = self.counted.lock().unwrap();
            while counted.recent.front().is_some_and(|first| now - *first >= self.period) {
                counted.recent.pop_front();
            }
            if counted.recent.len() >= self.most {
                counted.refused += 1;
                let more = counted.recent.front().map(|first| self.period - (now - *first));
                let retry_after = more.filter(|_| self.tells != Tells::Nothing);
                return Err(Error::new(ErrorKind::RateLimited { retry_after }, "too many requests"));
            }
            counted.recent.push_back(now);
            self.most - counted.recent.len()
        };
        tokio::time::sleep(self.takes).await;
        self.counted.lock().unwrap().answered += 1;
        let mut limits = RateLimits::default();
        limits.requests.limit = Some(self.most as u64);
        limits.requests.remaining = Some(left as u64);
        limits.requests.reset_after = Some(self.period);
        let limits = (self.tells == Tells::Headers).then_some(limits);
        Ok(Response::new("yes").usage(Usage::tokens(900, 100)).rate_limits(limits))
    }
}

/// How many prompts of a run failed.
async fn failed(provider: Arc<Provider>, prompts: usize) -> usize {
    let root = ScriptedModel::replies([cell("ask"), "as text".into(), "as text".into()]);
    let builder = Rlm::builder("q -> a").model(root).sub_model(provider);
    let builder = builder.interpreter(asking(prompts).factory());
    let rlm = builder.limits(|limits| limits.max_llm_calls(1_000)).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    let shown = prediction.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
    shown.matches("[ERROR]").count()
}

#[tokio::test(start_paused = true)]
async fn runs_at_once_wait_their_turn_without_any_setting() {
    for tells in [Tells::Nothing, Tells::RetryAfter, Tells::Headers] {
        for (most, period, takes) in [(60, 60, 1), (60, 60, 10), (10, 1, 1)] {
            for runs in [1, 4] {
                let provider = Provider::new(most, period, takes, tells);
                let started = Instant::now();
                let failed = join_all((0..runs).map(|_| failed(provider.clone(), 500 / runs))).await;
                let counted = provider.counted.lock().unwrap();
                let what = format!("{tells:?}, {most} in {period} s, {runs} runs: {counted:?}");
                assert_eq!((failed.iter().sum::<usize>(), counted.answered), (0, 500), "{what}");
                // Without a word of when, calls try now and then whether they are let in again.
                assert!(counted.refused <= if tells == Tells::Nothing { 150 } else { 75 }, "{what}");
                let ideal = (500 - most) as f64 / most as f64 * period as f64;
                let seconds = started.elapsed().as_secs_f64();
                assert!(seconds < 2.0 * ideal + 30.0, "{seconds} s of {ideal}: {what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_at_once_are_refused_once_and_then_wait() {
    // Calls that are told nothing try now and then, once in some four seconds of a quarter of an hour: by the
    // luck of their waits, 208 to 274 times in 1 500 runs of this test.
    for (tells, most) in [(Tells::Nothing, 1_260), (Tells::RetryAfter, 1_000), (Tells::Headers, 1_000)] {
        let provider = Provider::new(60, 60, 1, tells);
        let model = provider.clone().with_retry(RetryPolicy::default());
        let request = Request::prompt("?");
        let whole = (0..500).map(|_| async { model.complete(&request).await.is_ok() });
        let streamed = (0..500).map(|_| async { collect(model.stream(&request)).await.is_ok() });
        let (whole, streamed) = tokio::join!(join_all(whole), join_all(streamed));
        assert!(whole.into_iter().chain(streamed).all(|is_ok| is_ok), "{tells:?}");
        let refused = provider.counted.lock().unwrap().refused;
        // What was under way when the first one was refused could not know of it.
        assert!((940..=most).contains(&refused), "{tells:?}: {refused}");
    }
}

/// How many calls are refused of 300 at once, of a model with 100 a minute in a wrapper.
async fn refused<M: LanguageModel>(wrap: impl FnOnce(Arc<Provider>) -> M) -> usize {
    let provider = Provider::new(100, 60, 1, Tells::RetryAfter);
    let model = wrap(provider.clone()).with_retry(RetryPolicy::default());
    let requests: Vec<_> = (0..300).map(|at| Request::prompt(at.to_string())).collect();
    let answers = join_all(requests.iter().map(|request| model.complete(request))).await;
    assert!(answers.iter().all(Result::is_ok));
    provider.counted.lock().unwrap().refused
}

#[tokio::test(start_paused = true)]
async fn in_wrappers_each_try_takes_its_turn_too() {
    let folder = tempfile::tempdir().unwrap();
    let recording = Recording::create(folder.path().join("calls.jsonl")).unwrap();
    let down = ScriptedModel::from_fn(|_| Err(Error::new(ErrorKind::Server, "503")));
    let slow = HedgePolicy::default().hedge_timeout(Duration::from_secs(5));
    let refused = [
        refused(|model| model.with_price(Price::per_million(1.0, 1.0))).await,
        refused(|model| model.with_max_input_tokens(1_000)).await,
        refused(|model| model.with_max_concurrent_calls(500)).await,
        refused(|model| model.with_hedge(slow)).await,
        refused(|model| model.with_cache(&ResponseCache::in_memory())).await,
        refused(|model| down.with_fallback(model)).await,
        refused(|model| model.with_recording(&recording)).await,
    ];
    // The first 200. If none waited for the others, each would come back as they do.
    assert!(refused.iter().all(|refused| (200..=240).contains(refused)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_takes_nothing_is_given_up_in_minutes() {
    let provider = Provider::new(0, 60, 1, Tells::Nothing);
    let model = provider.clone().with_retry(RetryPolicy::default());
    let started = Instant::now();
    let request = Request::prompt("?");
    let answers = join_all((0..100).map(|_| model.complete(&request))).await;
    assert!(answers.iter().all(Result::is_err));
    let (seconds, refused) = (started.elapsed().as_secs(), provider.counted.lock().unwrap().refused);
    // As long as one call tries by itself, and as long as it takes to know that nothing is let in.
    assert!((60..=400).contains(&seconds), "{seconds} s");
    assert!((500..=1_200).contains(&refused), "{refused}");
}

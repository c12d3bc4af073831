//! Limiters against providers that count, in paused time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use tokio::time::Instant;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        Delta, LanguageModel, LanguageModelExt, RateLimit, RateLimiter, RateLimiterConfig, RateLimits,
        Request, Response, ResponseStream, RetryPolicy, Usage, collect,
    },
};

const MINUTE: Duration = Duration::from_secs(60);

/// A provider that refuses the call after so many of a minute, and answers the others after some time.
#[derive(Debug)]
struct Provider {
    per_minute: usize,
    takes: Duration,
    tells: Tells,
    seen: Mutex<VecDeque<Instant>>,
    log: Mutex<Log>,
}

/// What a provider says of its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tells {
    Nothing,
    RetryAfter,
    Headers,
}

#[derive(Debug, Default)]
struct Log {
    answered: Vec<String>,
    refused: usize,
}

impl Provider {
    fn new(per_minute: usize, tells: Tells) -> Arc<Self> {
        let takes = Duration::from_millis(50);
        Arc::new(Self { per_minute, takes, tells, seen: Mutex::default(), log: Mutex::default() })
    }

    fn refused(&self) -> usize {
        self.log.lock().unwrap().refused
    }

    fn answered(&self) -> usize {
        self.log.lock().unwrap().answered.len()
    }
}

#[async_trait]
impl LanguageModel for Provider {
    fn name(&self) -> &str {
        "provider"
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let now = Instant::now();
        let (left, more) = {
            let mut seen = self.seen.lock().unwrap();
            while seen.front().is_some_and(|first| now - *first >= MINUTE) {
                seen.pop_front();
            }
            let more = seen.front().map(|first| MINUTE - (now - *first));
            let is_free = seen.len() < self.per_minute;
            if is_free {
                seen.push_back(now);
            }
            (is_free.then(|| self.per_minute - seen.len()), more)
        };
        let Some(left) = left else {
            self.log.lock().unwrap().refused += 1;
            let retry_after = more.filter(|_| self.tells != Tells::Nothing);
            return Err(Error::new(ErrorKind::RateLimited { retry_after }, "too many requests"));
        };
        tokio::time::sleep(self.takes).await;
        self.log.lock().unwrap().answered.push(request.messages[0].content.clone());
        let requests = RateLimit {
            limit: Some(self.per_minute as u64),
            remaining: Some(left as u64),
            reset_after: Some(MINUTE),
        };
        let limits = RateLimits { requests, ..RateLimits::default() };
        let limits = (self.tells == Tells::Headers).then_some(limits);
        Ok(Response::new("yes").usage(Usage::tokens(900, 100)).rate_limits(limits))
    }
}

fn per_minute(requests: u32) -> RateLimiter {
    RateLimiter::new(RateLimiterConfig::default().requests_per_minute(requests))
}

/// Asks so many prompts at once.
async fn ask(model: &impl LanguageModel, prompts: usize) -> Vec<Result<Response>> {
    let requests: Vec<_> = (0..prompts).map(|at| Request::prompt(at.to_string())).collect();
    join_all(requests.iter().map(|request| model.complete(request))).await
}

#[test]
fn a_limit_that_lets_nothing_through_is_refused() {
    let config = RateLimiterConfig::default;
    for nothing in [config().requests_per_minute(0), config().tokens_per_minute(0), config().first_calls(0)] {
        assert_eq!(RateLimiter::new(nothing).check().unwrap_err().kind(), ErrorKind::Config);
    }
    assert!(RateLimiter::new(config()).check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_prompts_at_once_wait_for_their_turn_within_a_hundredth_of_the_rate() {
    let provider = Provider::new(600, Tells::Nothing);
    let limiter = per_minute(600);
    let (plans, answers) =
        (provider.clone().with_rate_limit(&limiter), provider.clone().with_rate_limit(&limiter));
    let started = Instant::now();
    let (one, two) = tokio::join!(ask(&plans, 500), ask(&answers, 500));
    assert!(one.iter().chain(&two).all(Result::is_ok));
    let rate = 1_000.0 / started.elapsed().as_secs_f64() * 60.0;
    assert!((588.0..=600.0).contains(&rate), "{rate}");
    assert_eq!(provider.refused(), 0);
}

#[tokio::test(start_paused = true)]
async fn few_a_minute_are_kept_to_as_well_and_turns_go_by_arrival() {
    let provider = Provider::new(20, Tells::Nothing);
    let model = provider.clone().with_rate_limit(&per_minute(20));
    let started = Instant::now();
    assert!(ask(&model, 60).await.iter().all(Result::is_ok));
    assert_eq!(provider.refused(), 0);
    assert!((177..=182).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let order: Vec<_> = (0..60).map(|at| at.to_string()).collect();
    assert_eq!(provider.log.lock().unwrap().answered, order);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_as_they_are_used() {
    let provider = Provider::new(10_000, Tells::Nothing);
    let limiter = RateLimiter::new(RateLimiterConfig::default().tokens_per_minute(60_000));
    let model = provider.clone().with_rate_limit(&limiter);
    ask(&model, 20).await;
    let started = Instant::now();
    // 1 000 tokens each, whatever was expected of the first ones.
    ask(&model, 120).await;
    let seconds = started.elapsed().as_secs_f64();
    assert!((115.0..=125.0).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_says_is_left_goes_out_and_no_more() {
    let provider = Provider::new(100, Tells::Headers);
    let model = provider.clone().with_rate_limit(&RateLimiter::default());
    let started = Instant::now();
    assert!(ask(&model, 90).await.iter().all(Result::is_ok));
    assert!(started.elapsed() < Duration::from_secs(2), "a burst that the provider takes: {started:?}");
    assert!(ask(&model, 210).await.iter().all(Result::is_ok));
    assert_eq!((provider.refused(), provider.answered()), (0, 300));
    assert!((120..=125).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_only_refuses_is_learnt_from_by_all_at_once() {
    for first_calls in [Some(8), None] {
        for (tells, most) in [(Tells::RetryAfter, 0.02), (Tells::Nothing, 0.1), (Tells::Headers, 0.02)] {
            let provider = Provider::new(300, tells);
            let config = RateLimiterConfig::default().first_calls(first_calls);
            let limited = provider.clone().with_rate_limit(&RateLimiter::new(config));
            let model = limited.with_retry(RetryPolicy::default());
            assert!(ask(&model, 1_000).await.iter().all(Result::is_ok), "{tells:?}");
            let share = provider.refused() as f64 / 1_000.0;
            assert!(share < most, "{tells:?}: {share}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_to_be_limited_goes_out_at_once() {
    let provider = Provider::new(10_000, Tells::Nothing);
    let model = provider.clone().with_rate_limit(&RateLimiter::of_account("a test"));
    let started = Instant::now();
    assert!(ask(&model, 1_000).await.iter().all(Result::is_ok));
    assert_eq!(started.elapsed(), provider.takes);
}

/// Refuses the tenth call and answers all others, after so long.
#[derive(Debug, Default)]
struct RefusingOnce {
    calls: Mutex<usize>,
    takes: Duration,
}

#[async_trait]
impl LanguageModel for RefusingOnce {
    fn name(&self) -> &str {
        "refusing once"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        let call = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        if call != 10 {
            tokio::time::sleep(self.takes).await;
        }
        match call {
            10 => Err(Error::new(ErrorKind::RateLimited { retry_after: None }, "too many requests")),
            _ => Ok("yes".into()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_halves_what_was_used_and_the_rate_rises_again() {
    let given = RateLimiterConfig::default().requests_per_minute(60_000);
    for config in [given, RateLimiterConfig::default().first_calls(None)] {
        let provider = Arc::new(RefusingOnce::default());
        let limited = provider.clone().with_rate_limit(&RateLimiter::new(config));
        let model = limited.with_retry(RetryPolicy::default());
        // Ten calls at once are 300 a minute, as uses are counted.
        let _ = tokio::time::timeout(Duration::from_secs(11), ask(&model, 1_000)).await;
        let calls = *provider.calls.lock().unwrap();
        assert!((30..=45).contains(&calls), "10 s after the pause at 150 a minute: {calls}");
        let started = Instant::now();
        assert!(ask(&model, 5_000).await.iter().all(Result::is_ok));
        let seconds = started.elapsed().as_secs();
        assert!((120..=330).contains(&seconds), "without an end to its rise: {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_let_in_are_not_waited_for() {
    let provider = Arc::new(RefusingOnce { takes: MINUTE, ..RefusingOnce::default() });
    let limited = provider.with_rate_limit(&RateLimiter::of_account("a slow provider"));
    let model = limited.with_retry(RetryPolicy::default());
    assert!(ask(&model, 10).await.iter().all(Result::is_ok));
    let started = Instant::now();
    assert!(ask(&model, 16).await.iter().all(Result::is_ok));
    assert!(started.elapsed() < MINUTE + Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_refusal_makes_all_wait_and_a_pause_too_long_is_for_the_caller() {
    let refused = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        Err(Error::new(ErrorKind::RateLimited { retry_after }, "too many"))
    };
    let scripted = crate::testing::ScriptedModel::results([
        refused(30),
        Ok("1".into()),
        refused(86_400),
        Ok("2".into()),
    ]);
    let model = scripted.with_rate_limit(&RateLimiter::default());
    let (request, started) = (Request::prompt("?"), Instant::now());
    let elapsed = || started.elapsed().as_secs();
    assert!(model.complete(&request).await.is_err(), "the refused call is its caller's");
    assert_eq!(collect(model.stream(&request)).await.unwrap().text, "1");
    assert!((30..=33).contains(&elapsed()), "{}", elapsed());
    assert!(model.complete(&request).await.is_err());
    assert_eq!(model.complete(&request).await.unwrap().text, "2");
    assert!(elapsed() < 100, "{}", elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_not_the_models_time_and_who_gives_up_leaves_its_place() {
    let provider = Provider::new(1_000, Tells::Nothing);
    let model = provider.clone().with_rate_limit(&per_minute(6));
    let request = Request::prompt("?").timeout(Duration::from_secs(1));
    model.complete(&request).await.unwrap();
    let mut given_up = Box::pin(model.complete(&request));
    assert!((&mut given_up).now_or_never().is_none());
    let started = Instant::now();
    let mut next = Box::pin(model.complete(&request));
    assert!((&mut next).now_or_never().is_none());
    drop(given_up);
    next.await.unwrap();
    assert!((9..=11).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(provider.answered(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_begins_slowly() {
    let config = RateLimiterConfig::default().requests_per_minute(600).ramp_interval(MINUTE);
    let provider = Provider::new(10_000, Tells::Nothing);
    let model = provider.clone().with_rate_limit(&RateLimiter::new(config));
    let asking = ask(&model, 2_000);
    let _ = tokio::time::timeout(Duration::from_secs(10), asking).await;
    let first = provider.answered();
    assert!((15..=30).contains(&first), "{first}");
}

/// Begins a reply, says that nothing is left for 30 s, and never ends.
#[derive(Debug)]
struct Stalling;

#[async_trait]
impl LanguageModel for Stalling {
    fn name(&self) -> &str {
        "stalling"
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        collect(self.stream(request)).await
    }

    fn stream<'a>(&'a self, _: &'a Request) -> ResponseStream<'a> {
        let reset_after = Some(Duration::from_secs(30));
        let requests = RateLimit { limit: Some(10), remaining: Some(0), reset_after };
        let limits = Box::new(RateLimits { requests, ..RateLimits::default() });
        let pieces = [Ok(Delta::Text("a".into())), Ok(Delta::RateLimits(limits))];
        stream::iter(pieces).chain(stream::pending()).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_stopped_teaches_what_it_said_until_then() {
    let (model, request) = (Stalling.with_rate_limit(&RateLimiter::default()), Request::prompt("?"));
    let started = Instant::now();
    for _ in 0..2 {
        let pieces: Vec<_> = model.stream(&request).take(2).collect().await;
        assert_eq!(pieces.len(), 2);
    }
    assert_eq!(started.elapsed(), Duration::from_secs(30));
}

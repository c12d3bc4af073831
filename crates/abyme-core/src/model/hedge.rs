//! A model whose slow calls are asked a second time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{begun, complete_at_once, resumed, stream_at_once},
    stream::{Delta, ResponseStream},
    usage::Usage,
};
use crate::error::{Error, ErrorKind, Result};

/// Calls whose times are remembered.
const REMEMBERED: usize = 200;

/// When a slow call is asked a second time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HedgePolicy {
    /// How long a call may take before it is asked a second time. Default: what
    /// [`percentile`](Self::percentile) of the last 200 took.
    #[serde(with = "crate::seconds::option", skip_serializing_if = "Option::is_none")]
    pub hedge_timeout: Option<Duration>,
    /// The part of the last calls that were faster than one that counts as slow. Default 0.95.
    pub percentile: f64,
    /// Calls that have to have answered before times are compared. Default 20.
    pub min_calls: usize,
    /// The most of all calls that may be asked twice, so that a provider that is slow as a whole is not asked
    /// twice as much. Default 0.1.
    pub max_share: f64,
}

impl Default for HedgePolicy {
    fn default() -> Self {
        Self { hedge_timeout: None, percentile: 0.95, min_calls: 20, max_share: 0.1 }
    }
}

impl HedgePolicy {
    /// Sets how long a call may take before it is asked a second time.
    pub fn hedge_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.hedge_timeout = time.into();
        self
    }

    /// Sets the part of the last calls that were faster than one that counts as slow.
    pub fn percentile(mut self, percentile: f64) -> Self {
        self.percentile = percentile;
        self
    }

    /// Sets how many calls have to have answered before times are compared.
    pub fn min_calls(mut self, calls: usize) -> Self {
        self.min_calls = calls;
        self
    }

    /// Sets the most of all calls that may be asked twice.
    pub fn max_share(mut self, share: f64) -> Self {
        self.max_share = share;
        self
    }
}

/// A model whose slow calls are asked a second time; the answer that comes first counts. Made by
/// [`with_hedge`](crate::LanguageModelExt::with_hedge). Clones share what they know of its times.
///
/// Both are paid: the call that is dropped is counted with the tokens of its request, and what it wrote until
/// then is not known. A stream is asked a second time until its first piece has come.
#[derive(Clone, Debug)]
pub struct Hedged<M> {
    model: M,
    policy: HedgePolicy,
    seen: Arc<Mutex<Calls>>,
}

/// The calls so far.
#[derive(Debug, Default)]
struct Calls {
    calls: u64,
    hedges: u64,
    times: VecDeque<Duration>,
}

/// How a call came to its end: its outcome, and what its twin used.
type CallEnd<T> = (Result<T>, Twin);

/// The other one of two calls.
enum Twin {
    /// There was no second call.
    None,
    /// It was dropped without an answer.
    Dropped,
    /// It failed, and used this.
    Failed(Usage),
}

impl<M> Hedged<M> {
    pub(super) fn new(model: M, policy: HedgePolicy) -> Self {
        Self { model, policy, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Calls> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the next call may take before it is slow.
    fn slow_after(&self) -> Option<Duration> {
        let mut seen = self.seen();
        seen.calls += 1;
        if self.policy.hedge_timeout.is_some() {
            return self.policy.hedge_timeout;
        }
        let count = seen.times.len();
        let mut times: Vec<_> = seen.times.iter().copied().collect();
        drop(seen);
        if count < self.policy.min_calls.max(1) {
            return None;
        }
        let at = ((count as f64 * self.policy.percentile) as usize).min(count - 1);
        Some(*times.select_nth_unstable(at).1)
    }

    /// Whether one more may be asked twice.
    fn may_hedge(&self) -> bool {
        let mut seen = self.seen();
        let may = (seen.hedges + 1) as f64 <= (seen.calls as f64 * self.policy.max_share).max(1.0);
        seen.hedges += u64::from(may);
        may
    }

    fn answered_after(&self, time: Duration) {
        let mut seen = self.seen();
        if seen.times.len() >= REMEMBERED {
            seen.times.pop_front();
        }
        seen.times.push_back(time);
    }

    /// Makes a call, and a second one if the first is slow.
    async fn run<'f, T>(&self, call: impl Fn() -> BoxFuture<'f, Result<T>>) -> CallEnd<T> {
        let started = Instant::now();
        let mut first = call();
        let in_time = match self.slow_after() {
            Some(slow_after) => timeout(slow_after, &mut first).await.ok(),
            None => Some((&mut first).await),
        };
        let ended = match in_time {
            Some(result) => (result, Twin::None),
            None if !self.may_hedge() => (first.await, Twin::None),
            None => {
                tracing::debug!(seconds = started.elapsed().as_secs_f64(), "asking a slow call again");
                either(first, call()).await
            }
        };
        if ended.0.is_ok() {
            self.answered_after(started.elapsed());
        }
        ended
    }
}

/// The first of two calls that succeeds.
async fn either<T>(first: BoxFuture<'_, Result<T>>, second: BoxFuture<'_, Result<T>>) -> CallEnd<T> {
    let (result, other) = futures_util::future::select(first, second).await.factor_first();
    let error = match result {
        Ok(value) => return (Ok(value), Twin::Dropped),
        Err(error) => error,
    };
    let used = error.usage().copied();
    match other.await {
        Ok(value) => (Ok(value), Twin::Failed(used.unwrap_or_else(Usage::call))),
        Err(other) => {
            let used = used.into_iter().chain(other.usage().copied()).reduce(|a, b| a + b);
            (Err(used.into_iter().fold(other, Error::with_usage)), Twin::None)
        }
    }
}

impl Twin {
    /// What both calls used, of which this one answered.
    fn with(&self, model: &dyn LanguageModel, mut response: Response) -> Response {
        let mut usage = match self {
            Twin::None => return response,
            Twin::Failed(usage) => *usage,
            Twin::Dropped => Usage { input_tokens: response.usage.input_tokens, ..Usage::call() },
        };
        let known = Usage { output_tokens: usage.output_tokens.or(Some(0)), ..usage };
        usage.cost = usage.cost.or_else(|| model.price()?.of(&known));
        response.usage.calls = response.usage.calls.max(1);
        response.usage.cost = response.usage.cost.or_else(|| model.price()?.of(&response.usage));
        response.usage += usage;
        response
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Hedged<M> {
    // A call takes its turn before it: what waits is not slow.
    forward!(this => this.model;
        name price reports_cost max_input_tokens rate_limiter secrets stopped_early);

    fn check(&self) -> Result<()> {
        let HedgePolicy { percentile, max_share, .. } = self.policy;
        if !(0.0..=1.0).contains(&percentile) || !(0.0..=1.0).contains(&max_share) {
            let message =
                format!("a percentile of {percentile} or a share of {max_share} is not within 0 to 1");
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.model.check()
    }

    fn limits_each_try(&self) -> bool {
        true
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let (result, twin) = self.run(|| Box::pin(complete_at_once(&self.model, request))).await;
        result.map(|response| twin.with(&self.model, response))
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let began = async move {
            let (began, twin) = self.run(|| Box::pin(begun(stream_at_once(&self.model, request)))).await;
            let (first, rest) = began?;
            let with = move |piece| match piece {
                Delta::Done(response) => Delta::Done(twin.with(&self.model, response)),
                piece => piece,
            };
            let rest: ResponseStream<'a> = match first {
                // A model that answers at once is done with its first piece.
                Delta::Done(_) => return Ok((with(first), rest)),
                _ => rest.map(move |piece| piece.map(&with)).boxed(),
            };
            Ok((first, rest))
        };
        resumed(began).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::{LanguageModelExt, Price, collect};

    /// Answers after so many seconds, one after the other; 0 is a failure after a second.
    #[derive(Debug)]
    struct Timed {
        seconds: Vec<u64>,
        calls: AtomicU64,
    }

    fn timed(seconds: impl IntoIterator<Item = u64>) -> Arc<Timed> {
        Arc::new(Timed { seconds: seconds.into_iter().collect(), calls: AtomicU64::new(0) })
    }

    #[async_trait]
    impl LanguageModel for Timed {
        fn name(&self) -> &str {
            "timed"
        }

        async fn complete(&self, _: &Request) -> Result<Response> {
            let seconds = self.seconds[self.calls.fetch_add(1, Ordering::Relaxed) as usize];
            tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
            match seconds {
                0 => Err(Error::new(ErrorKind::Server, "no")),
                _ => Ok(Response::new(seconds.to_string()).usage(Usage::tokens(10, 5))),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_faster_of_two_answers_counts_and_both_are_paid() {
        let slow = timed([100, 2, 1]);
        let policy = HedgePolicy::default().hedge_timeout(Duration::from_secs(5));
        let model = slow.clone().with_price(Price::per_million(1e6, 1e6)).with_hedge(policy);
        let (request, started) = (Request::prompt("?"), Instant::now());
        let answer = model.complete(&request).await.unwrap();
        assert_eq!((answer.text.as_str(), started.elapsed().as_secs()), ("2", 7));
        assert_eq!((answer.usage.calls, answer.usage.total_tokens()), (2, Some(25)));
        assert_eq!(answer.usage.cost, Some(25.0));
        let fast = collect(model.stream(&request)).await.unwrap();
        assert_eq!((fast.usage.calls, slow.calls.load(Ordering::Relaxed)), (1, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_asked_again_until_its_first_piece_and_a_failed_twin_is_no_failure() {
        let policy = HedgePolicy::default().hedge_timeout(Duration::from_secs(5));
        let request = Request::prompt("?");
        let answer = collect(timed([100, 3]).with_hedge(policy.clone()).stream(&request)).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.usage.calls), ("3", 2));
        let answer = timed([20, 0]).with_hedge(policy.clone()).complete(&request).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.usage.calls), ("20", 2));
        let error = timed([6, 0, 0, 0]);
        error.calls.fetch_add(1, Ordering::Relaxed);
        assert!(error.with_hedge(policy).complete(&request).await.is_err(), "an error is not hedged");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_is_learnt_and_few_calls_are_asked_twice() {
        let usual = std::iter::repeat_n(1, 20);
        let model = timed(usual.chain(std::iter::repeat_n(50, 100)));
        let hedged = model.clone().with_hedge(HedgePolicy::default());
        for _ in 0..60 {
            hedged.complete(&Request::prompt("?")).await.unwrap();
        }
        let hedges = model.calls.load(Ordering::Relaxed) - 60;
        assert!((2..=6).contains(&hedges), "{hedges}");
    }

    #[test]
    fn defaults_are_pinned() {
        let json = serde_json::to_value(HedgePolicy::default()).unwrap();
        assert_eq!(json, serde_json::json!({ "percentile": 0.95, "min_calls": 20, "max_share": 0.1 }));
    }
}

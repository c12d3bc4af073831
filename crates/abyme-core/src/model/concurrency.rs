//! A model with so many calls in flight at most.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{complete_once, stream_once},
    rate_limiter::RateLimiter,
    stream::ResponseStream,
};
use crate::error::{Error, ErrorKind, Result};

/// A model with so many calls in flight at most, whose clones share them. Made by
/// [`with_max_concurrent_calls`](crate::LanguageModelExt::with_max_concurrent_calls).
#[derive(Clone, Debug)]
pub struct ConcurrencyLimited<M> {
    model: M,
    most: usize,
    calls: Arc<Semaphore>,
}

impl<M> ConcurrencyLimited<M> {
    pub(super) fn new(model: M, most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { model, most, calls: Arc::new(Semaphore::new(most)) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for ConcurrencyLimited<M> {
    forward!(this => this.model; name price reports_cost max_input_tokens secrets stopped_early);

    fn check(&self) -> Result<()> {
        if self.most == 0 {
            let message =
                format!("model `{}` may have no call in flight, so none could be made", self.name());
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.model.check()
    }

    /// A call takes its turn here, among those that may be in flight.
    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    fn limits_each_try(&self) -> bool {
        true
    }

    // The semaphore is never closed; a closed one would only mean that nothing is limited.
    async fn complete(&self, request: &Request) -> Result<Response> {
        let _permit = self.calls.acquire().await.ok();
        complete_once(&self.model, request).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let pieces = stream::once(self.calls.acquire()).flat_map(move |permit| {
            stream_once(&self.model, request).inspect(move |_| {
                let _held = &permit;
            })
        });
        pieces.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;
    use crate::model::{LanguageModelExt, collect};

    /// Answers after a second, and counts.
    #[derive(Debug, Default)]
    struct Slow {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    #[async_trait]
    impl LanguageModel for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        async fn complete(&self, _: &Request) -> Result<Response> {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            Ok("done".into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_are_in_flight_than_allowed_and_waiting_is_not_the_models_time() {
        let slow = Arc::new(Slow::default());
        let model = slow.clone().with_max_concurrent_calls(3);
        let request = Request::prompt("?").timeout(Duration::from_millis(1_100));
        let started = Instant::now();
        let calls = join_all((0..9).map(async |at| match at % 2 {
            0 => model.clone().complete(&request).await,
            _ => collect(model.stream(&request)).await,
        }));
        assert!(calls.await.iter().all(Result::is_ok));
        assert_eq!((slow.most.load(Ordering::Relaxed), started.elapsed().as_secs()), (3, 3));
        assert!(model.with_max_concurrent_calls(0).check().is_err());
    }
}

//! Every wrapper of models keeps the contract that it was given, clause by clause.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use abyme::{
    HedgePolicy, LanguageModel, LanguageModelExt, Price, RateLimiter, RateLimiterConfig, Recording, Replay,
    Request, Response, ResponseCache, ResponseStream, Result, RetryPolicy,
};
use abyme_conformance::{
    Suite,
    model::{ModelNeed, WrapperHarness},
};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tempfile::TempDir;

/// A folder for cassettes. Clones are the same one.
#[derive(Clone, Debug)]
struct Folder(Arc<(TempDir, AtomicU64)>);

impl Folder {
    fn new() -> Self {
        Self(Arc::new((tempfile::tempdir().unwrap(), AtomicU64::new(0))))
    }

    fn next(&self) -> PathBuf {
        let (folder, count) = &*self.0;
        folder.path().join(format!("{}.jsonl", count.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Answers from a recording of each call, which it makes first.
#[derive(Debug)]
struct Replaying<M> {
    model: Arc<M>,
    folder: Folder,
}

#[async_trait]
impl<M: LanguageModel> LanguageModel for Replaying<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let path = self.folder.next();
        let recording = Recording::create(&path)?;
        let _ = self.model.clone().with_recording(&recording).complete(request).await;
        recording.finish()?;
        let replay = Replay::open(&path)?;
        let answer = replay.model(self.name()).complete(request).await;
        replay.finish()?;
        answer
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let replayed = async {
            let path = self.folder.next();
            let recording = Recording::create(&path)?;
            let recorded = self.model.clone().with_recording(&recording);
            recorded.stream(request).for_each(async |_| ()).await;
            recording.finish()?;
            let replay = Replay::open(&path)?;
            let pieces: Vec<_> = replay.model(self.name()).stream(request).collect().await;
            replay.finish()?;
            Ok(pieces)
        };
        let pieces = stream::once(replayed)
            .flat_map(|replayed| stream::iter(replayed.unwrap_or_else(|error| vec![Err(error)])));
        pieces.boxed()
    }
}

fn main() -> ExitCode {
    let retries = RetryPolicy::default().max_retries(2).initial_backoff(Duration::from_millis(1));
    let retries = retries.max_requested_backoff(Duration::from_millis(10));
    let (folder, other) = (Folder::new(), Folder::new());
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
            model.with_hedge(HedgePolicy::default().hedge_timeout(Duration::from_secs(60)))
        })),
        Suite::of_model(WrapperHarness::new("cached", |model| model.with_cache(&ResponseCache::in_memory())))
            .xfail("a_stream_ends_with_what_a_call_returns", "the second of two equal requests uses nothing"),
        Suite::of_model(WrapperHarness::new("recorded", move |model| {
            model.with_recording(&Recording::create(folder.next()).unwrap())
        })),
        Suite::of_model(
            WrapperHarness::new("replayed", move |model| Replaying {
                model: Arc::new(model),
                folder: other.clone(),
            })
            .lacks([ModelNeed::Pieces]),
        ),
    ])
}

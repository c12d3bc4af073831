//! A model whose replies are kept.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{
    cache::ResponseCache,
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{complete_once, limits_each_try, stream_once},
    rate_limiter::RateLimiter,
    stream::{Delta, ResponseStream, pieces},
};
use crate::error::Result;

/// A model whose replies are kept for requests that come again. Made by
/// [`with_cache`](crate::LanguageModelExt::with_cache).
#[derive(Clone, Debug)]
pub struct Cached<M> {
    model: M,
    cache: ResponseCache,
}

impl<M> Cached<M> {
    pub(super) fn new(model: M, cache: ResponseCache) -> Self {
        Self { model, cache }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Cached<M> {
    forward!(this => this.model; name check price reports_cost max_input_tokens secrets);

    fn limits_each_try(&self) -> bool {
        limits_each_try(&self.model)
    }

    /// A reply that is kept waits for no turn. Calls of the model do, here.
    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    /// Keeps the reply for streams of the same request; a call for a whole one is not answered with it.
    async fn stopped_early(&self, request: &Request, reply: &Response) {
        if let Some(key) = self.cache.key(self.name(), request) {
            self.cache.put(&stopped(&key), reply).await;
        }
        self.model.stopped_early(request, reply).await;
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        match self.cache.key(self.name(), request) {
            Some(key) => self.cache.get_or_ask(key, complete_once(&self.model, request)).await,
            None => complete_once(&self.model, request).await,
        }
    }

    /// A kept reply comes in one piece. Streams of the same request are not shared.
    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let Some(key) = self.cache.key(self.name(), request) else {
            return stream_once(&self.model, request);
        };
        let found = async move {
            let found = match self.cache.get(&key).await {
                None => self.cache.get(&stopped(&key)).await,
                whole => whole,
            };
            (key, found)
        };
        let answer = stream::once(found).flat_map(move |(key, found)| match found {
            Some(response) => stream::iter(pieces(response).map(Ok)).boxed(),
            None => {
                let kept = stream_once(&self.model, request).then(move |piece| {
                    let key = key.clone();
                    async move {
                        if let Ok(Delta::Done(response)) = &piece {
                            self.cache.put(&key, response).await;
                        }
                        piece
                    }
                });
                kept.boxed()
            }
        });
        answer.boxed()
    }
}

/// What a reply to a request of this key is kept by where it was stopped.
fn stopped(key: &str) -> String {
    format!("{key}-stopped")
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        model::{FinishReason, LanguageModelExt, Usage, collect},
        testing::ScriptedModel,
    };

    fn answering() -> ScriptedModel {
        ScriptedModel::from_fn(|request| {
            let text = format!("re: {}", request.messages[0].content);
            Ok(Response::new(text).usage(Usage::tokens(10, 5).cost(0.5)))
        })
    }

    #[tokio::test]
    async fn a_request_that_comes_again_costs_nothing() {
        let (model, request) = (answering(), Request::prompt("?"));
        let cached = model.clone().with_cache(&ResponseCache::in_memory());
        assert_eq!(cached.complete(&request).await.unwrap().usage.cost, Some(0.5));
        let again = cached.complete(&request).await.unwrap();
        assert_eq!((again.text.as_str(), again.usage), ("re: ?", Usage::nothing()));
        assert_eq!(collect(cached.stream(&request)).await.unwrap(), again);
        let other = Request::prompt("!");
        assert_eq!(collect(cached.stream(&other)).await.unwrap().usage.cost, Some(0.5));
        assert_eq!(cached.complete(&other).await.unwrap().usage.calls, 0);
        assert_eq!(model.requests().len(), 2);
        cached.complete(&request.clone().temperature(1.0)).await.unwrap();
        cached.complete(&request.temperature(1.0)).await.unwrap();
        assert_eq!(model.requests().len(), 4, "draws are never shared");
    }

    #[tokio::test]
    async fn the_same_request_in_flight_goes_out_once_and_is_paid_once() {
        let (model, request) = (answering(), Request::prompt("?"));
        let cached = model.clone().with_cache(&ResponseCache::in_memory());
        let answers = join_all((0..20).map(|_| cached.complete(&request))).await;
        let paid: Usage = answers
            .into_iter()
            .map(|answer| answer.unwrap().usage)
            .fold(Usage::default(), |sum, usage| sum + usage);
        assert_eq!((model.requests().len(), paid.calls, paid.cost), (1, 1, Some(0.5)));
    }

    #[tokio::test]
    async fn what_is_cut_or_failed_is_not_kept() {
        let cut = Response::new("so").finish_reason(FinishReason::Length);
        let model =
            ScriptedModel::results([Ok(cut), Err(Error::new(ErrorKind::Server, "503")), Ok("whole".into())]);
        let cached = model.with_cache(&ResponseCache::in_memory());
        let request = Request::prompt("?");
        assert_eq!(cached.complete(&request).await.unwrap().text, "so");
        assert!(cached.complete(&request).await.unwrap_err().is_temporary());
        assert_eq!(cached.complete(&request).await.unwrap().text, "whole");
    }

    #[tokio::test]
    async fn a_reply_that_was_stopped_answers_streams_alone() {
        let (model, request) = (answering(), Request::prompt("?"));
        let cached = model.clone().with_cache(&ResponseCache::in_memory());
        drop(cached.stream(&request).next().await.unwrap());
        assert_eq!(collect(cached.stream(&request)).await.unwrap().text, "re: ?", "dropped, and not stopped");
        let other = Request::prompt("!");
        cached.stopped_early(&other, &"re".into()).await;
        let kept = collect(cached.stream(&other)).await.unwrap();
        assert_eq!((kept.text.as_str(), kept.usage), ("re", Usage::nothing()));
        assert_eq!(cached.complete(&other).await.unwrap().text, "re: !");
        assert_eq!(collect(cached.stream(&other)).await.unwrap().text, "re: !", "the whole one is better");
    }

    #[tokio::test]
    async fn a_directory_is_shared_with_later_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (model, request) = (answering(), Request::prompt("?"));
        for calls in [1, 0, 0] {
            let cache = ResponseCache::on_disk(folder.path()).unwrap();
            let cached = model.clone().with_cache(&cache);
            assert_eq!(cached.complete(&request).await.unwrap().usage.calls, calls);
            assert_eq!(collect(cached.stream(&request)).await.unwrap().usage.calls, 0);
        }
        assert_eq!(model.requests().len(), 1);
    }
}

//! A model whose failed calls are tried again.

use async_trait::async_trait;
use futures_util::StreamExt;

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{begun, complete_once, resumed, stream_once},
    rate_limiter::RateLimiter,
    retry::RetryPolicy,
    stream::ResponseStream,
};
use crate::error::Result;

/// A model whose failed calls are tried again. Made by
/// [`with_retry`](crate::LanguageModelExt::with_retry).
///
/// [`Request::timeout`] limits each try. What this wrapper gives up on is
/// [`permanent`](crate::Error::permanent), so that no layer above tries it again.
#[derive(Clone, Debug)]
pub struct Retrying<M> {
    model: M,
    policy: RetryPolicy,
}

impl<M> Retrying<M> {
    pub(super) fn new(model: M, policy: RetryPolicy) -> Self {
        Self { model, policy }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Retrying<M> {
    forward!(this => this.model; name check price reports_cost max_input_tokens secrets stopped_early);

    /// Each try takes its turn here.
    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    fn limits_each_try(&self) -> bool {
        true
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        self.policy.run(|_| complete_once(&self.model, request)).await
    }

    /// A stream is tried again until its first piece has come.
    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        resumed(self.policy.run(|_| begun(stream_once(&self.model, request)))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        model::{Delta, LanguageModelExt, Price, Usage},
        testing::ScriptedModel,
    };

    #[tokio::test(start_paused = true)]
    async fn a_wrapped_model_tries_temporary_failures_again() {
        let failure = || Err(Error::new(ErrorKind::Server, "503"));
        let scripted =
            ScriptedModel::results([failure(), failure(), Ok("answer".into()), failure(), failure()]);
        let model = scripted.clone().with_retry(RetryPolicy::default().max_retries(2));
        assert_eq!(model.complete(&Request::prompt("?")).await.unwrap().text, "answer");
        let once = scripted.with_retry(RetryPolicy::default().max_retries(1));
        let error = once.complete(&Request::prompt("?")).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Server && !error.is_temporary());
        assert_eq!((once.name(), once.model.requests().len()), ("scripted", 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_the_answer_in_pieces_and_tried_again_before_its_first() {
        let scripted = ScriptedModel::results([
            Err(Error::new(ErrorKind::Server, "503")),
            Ok(Response::new("4").reasoning("2 and 2").usage(Usage::tokens(10, 5))),
        ]);
        let model = scripted.with_retry(RetryPolicy::default()).with_price(Price::per_million(1e6, 1e6));
        let request = Request::prompt("2 + 2?");
        let pieces: Vec<_> = model.stream(&request).map(Result::unwrap).collect().await;
        let [Delta::Reasoning(reasoning), Delta::Text(text), Delta::Done(response)] = &pieces[..] else {
            panic!("{pieces:?}")
        };
        assert_eq!((reasoning, text), (&response.reasoning, &response.text));
        assert_eq!(response.usage.cost, Some(15.0));
    }
}

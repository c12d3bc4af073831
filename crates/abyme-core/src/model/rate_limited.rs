//! A model whose calls wait for their turn with a rate limiter.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{complete_once, stream_once},
    rate_limiter::{RateLimiter, Streamed},
    stream::ResponseStream,
};
use crate::error::Result;

/// A model whose calls wait for their turn. Made by
/// [`with_rate_limit`](crate::LanguageModelExt::with_rate_limit).
#[derive(Clone, Debug)]
pub struct RateLimited<M> {
    model: M,
    limiter: RateLimiter,
}

impl<M> RateLimited<M> {
    pub(super) fn new(model: M, limiter: RateLimiter) -> Self {
        Self { model, limiter }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for RateLimited<M> {
    forward!(this => this.model; name price reports_cost max_input_tokens secrets stopped_early);

    fn check(&self) -> Result<()> {
        self.limiter.check()?;
        self.model.check()
    }

    fn limits_each_try(&self) -> bool {
        true
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let admission = self.limiter.admission(self.name(), request).await;
        let result = complete_once(&self.model, request).await;
        admission.learn(result.as_ref());
        result
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let admission = self.limiter.admission(self.name(), request);
        let pieces = stream::once(admission).flat_map(move |admission| {
            let mut streamed = Streamed::from(admission);
            stream_once(&self.model, request).inspect(move |piece| streamed.see(piece))
        });
        pieces.boxed()
    }
}

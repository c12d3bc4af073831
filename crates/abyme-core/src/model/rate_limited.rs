//! A model whose calls wait for their turn with a rate limiter.

use async_trait::async_trait;

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{complete_in_turn, stream_in_turn},
    rate_limiter::RateLimiter,
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

    /// The limiter that was given takes the place of the model's own.
    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        complete_in_turn(&self.limiter, &self.model, request).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        stream_in_turn(self.limiter.clone(), &self.model, request)
    }
}

//! What every language model can do: be wrapped.

#[cfg(feature = "cache")]
use super::{cache::ResponseCache, cached::Cached};
use super::{
    cassette::{Recorded, Recording},
    concurrency::ConcurrencyLimited,
    fallback::Fallback,
    hedge::{HedgePolicy, Hedged},
    input_limited::InputLimited,
    language_model::LanguageModel,
    price::Price,
    priced::Priced,
    rate_limited::RateLimited,
    rate_limiter::RateLimiter,
    retry::RetryPolicy,
    retrying::Retrying,
};

/// What every model can do besides its contract. Implemented for all models; not to be implemented by hand.
pub trait LanguageModelExt: LanguageModel + Sized {
    /// A model that tries failed calls again as `policy` says, for a model that is used without an
    /// [`Rlm`](crate::Rlm).
    ///
    /// ```
    /// use abyme_core::{LanguageModel, LanguageModelExt, Request, RetryPolicy, testing::ScriptedModel};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> abyme_core::Result<()> {
    /// let model = ScriptedModel::replies(["Paris"]).with_retry(RetryPolicy::default().max_retries(5));
    /// assert_eq!(model.complete(&Request::prompt("The capital of France?")).await?.text, "Paris");
    /// # Ok(()) }
    /// ```
    fn with_retry(self, policy: RetryPolicy) -> Retrying<Self> {
        Retrying::new(self, policy)
    }

    /// A model whose calls cost what `price` says, where the provider does not say what they cost. A limit on
    /// cost needs that: see [`Limits::max_cost`](crate::Limits::max_cost). A
    /// [`PriceTable`](crate::PriceTable) knows many prices.
    ///
    /// ```
    /// use abyme_core::{
    ///     LanguageModel, LanguageModelExt, Price, Request, Response, Usage, testing::ScriptedModel,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> abyme_core::Result<()> {
    /// let model = ScriptedModel::replies([Response::new("Paris").usage(Usage::tokens(1_000, 500))])
    ///     .with_price(Price::per_million(2.0, 8.0));
    /// let response = model.complete(&Request::prompt("The capital of France?")).await?;
    /// assert_eq!(response.usage.cost, Some(0.006));
    /// # Ok(()) }
    /// ```
    fn with_price(self, price: Price) -> Priced<Self> {
        Priced::new(self, price)
    }

    /// A model whose requests have so many tokens at most: see
    /// [`max_input_tokens`](LanguageModel::max_input_tokens).
    ///
    /// ```
    /// use abyme_core::{LanguageModel, LanguageModelExt, testing::ScriptedModel};
    ///
    /// let model = ScriptedModel::replies(["Paris"]).with_max_input_tokens(8_000);
    /// assert_eq!(model.max_input_tokens(), Some(8_000));
    /// ```
    fn with_max_input_tokens(self, tokens: u64) -> InputLimited<Self> {
        InputLimited::new(self, tokens)
    }

    /// A model whose calls go out as fast as `limiter` lets them, together with all others of that limiter.
    ///
    /// ```
    /// use abyme_core::{LanguageModelExt, RateLimiter, RateLimiterConfig, testing::ScriptedModel};
    ///
    /// let limiter = RateLimiter::new(RateLimiterConfig::default().tokens_per_minute(200_000));
    /// let model = ScriptedModel::replies(["Paris"]).with_rate_limit(&limiter);
    /// ```
    fn with_rate_limit(self, limiter: &RateLimiter) -> RateLimited<Self> {
        RateLimited::new(self, limiter.clone())
    }

    /// A model with so many calls in flight at most, in all runs together. Further ones wait in the order in
    /// which they came, which is not the model's time. A run has a limit of its own
    /// ([`Limits::max_concurrent_calls`](crate::Limits::max_concurrent_calls)).
    ///
    /// ```
    /// use abyme_core::{LanguageModelExt, testing::ScriptedModel};
    ///
    /// let model = ScriptedModel::replies(["Paris"]).with_max_concurrent_calls(4);
    /// ```
    fn with_max_concurrent_calls(self, calls: usize) -> ConcurrencyLimited<Self> {
        ConcurrencyLimited::new(self, calls)
    }

    /// A model in whose place `other` answers while it cannot.
    ///
    /// ```
    /// use abyme_core::{
    ///     Error, ErrorKind, LanguageModel, LanguageModelExt, Request, testing::ScriptedModel,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> abyme_core::Result<()> {
    /// let down = ScriptedModel::results([Err(Error::new(ErrorKind::Server, "503"))]);
    /// let model = down.with_fallback(ScriptedModel::replies(["Paris"]));
    /// assert_eq!(model.complete(&Request::prompt("The capital of France?")).await?.text, "Paris");
    /// # Ok(()) }
    /// ```
    fn with_fallback<B: LanguageModel>(self, other: B) -> Fallback<Self, B> {
        Fallback::new(self, other)
    }

    /// A model whose replies are kept in `cache` for requests that come again, which then cost nothing. The
    /// last wrapper, as a rule: a reply that is kept waits for no turn.
    ///
    /// ```
    /// use abyme_core::{
    ///     LanguageModel, LanguageModelExt, Request, ResponseCache, testing::ScriptedModel,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> abyme_core::Result<()> {
    /// let model = ScriptedModel::replies(["Paris"]).with_cache(&ResponseCache::in_memory());
    /// let request = Request::prompt("The capital of France?");
    /// model.complete(&request).await?;
    /// assert_eq!(model.complete(&request).await?.usage.calls, 0);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "cache")]
    fn with_cache(self, cache: &ResponseCache) -> Cached<Self> {
        Cached::new(self, cache.clone())
    }

    /// A model whose calls are recorded in a cassette: see [`Recording`].
    fn with_recording(self, recording: &Recording) -> Recorded<Self> {
        Recorded::new(self, recording.clone())
    }

    /// A model whose slow calls are asked a second time. Both are paid.
    ///
    /// ```
    /// use abyme_core::{HedgePolicy, LanguageModelExt, testing::ScriptedModel};
    ///
    /// let model = ScriptedModel::replies(["Paris"]).with_hedge(HedgePolicy::default());
    /// ```
    fn with_hedge(self, policy: HedgePolicy) -> Hedged<Self> {
        Hedged::new(self, policy)
    }
}

impl<M: LanguageModel> LanguageModelExt for M {}

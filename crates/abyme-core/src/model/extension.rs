//! What every language model can do: be wrapped.

use super::{
    input_limited::InputLimited, language_model::LanguageModel, price::Price, priced::Priced,
    retry::RetryPolicy, retrying::Retrying,
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
}

impl<M: LanguageModel> LanguageModelExt for M {}

//! The trait for language models, and what every implementation of it can do.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{
    message::{Request, Response},
    price::Price,
    retry::RetryPolicy,
    stream::{Delta, ResponseStream, of_one_piece},
};
use crate::error::{Error, ErrorKind, Result};

/// A language model behind any API.
///
/// # Contract
/// - **M1** One call answers one request; the model keeps no conversation.
/// - **M2** One call is one try. The caller decides what is tried again: the loop does so by its
///   [`RetryPolicy`], and a model that is used alone can be wrapped by
///   [`with_retry`](LanguageModelExt::with_retry). Errors carry a kind that says whose fault it is;
///   [`Error::is_temporary`](crate::Error::is_temporary) says whether the same call may succeed later. A
///   model that retries by itself marks what it gave up on as [`permanent`](crate::Error::permanent).
/// - **M3** Unknown usage is unknown, never 0.
/// - **M4** A reply that the length limit or a content filter cut is returned with its
///   [`FinishReason`](crate::FinishReason), not as an error, also where nothing is left of it. So is a reply
///   without any text: one of thoughts alone, or a call in the provider's own form
///   ([`Response::native_call`]).
/// - **M5** The call ends within [`Request::timeout`], where that is set, with an error of kind
///   [`ModelTimeout`](crate::ErrorKind::ModelTimeout). The loop sets it, and cuts off a model that ignores it
///   a moment later. Dropping the future cancels the call.
/// - **M6** No key appears in an error, in `Debug` or in a log.
/// - **M7** [`stream`](Self::stream) answers a request as [`complete`](Self::complete) does, in pieces: their
///   texts add up to that of the response which the stream ends with. Dropping the stream ends the
///   generation. What M5 says of a call holds for the whole stream.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no language model",
    note = "pass a model such as `OpenAi::new(\"gpt-5-mini\")`, or `OpenAi::from_env()?`",
    note = "a model of your own implements `LanguageModel`; it can be passed as a value, a `Box` or an `Arc`"
)]
pub trait LanguageModel: Send + Sync + fmt::Debug {
    /// The model's name, for trajectories and messages.
    fn name(&self) -> &str;

    /// Checks whether the model could be called at all: a key is there, the address is valid. Sends nothing.
    /// `Rlm`'s builder calls it, so that a wrong configuration surfaces before a run.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) or [`ErrorKind::Auth`](crate::ErrorKind::Auth).
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What the model's tokens cost, where that is known. The loop puts it in place of a cost that the
    /// provider did not report, and a limit on cost reserves calls by it. Default: not known.
    fn price(&self) -> Option<Price> {
        None
    }

    /// Whether the provider reports with each reply what the call cost ([`Usage::cost`](crate::Usage::cost)).
    /// A limit on cost needs that, or a [`price`](Self::price). Default: no.
    fn reports_cost(&self) -> bool {
        false
    }

    /// The most tokens of a request, where that is known. A prompt that is clearly longer is refused before
    /// it is sent, with advice on how to split it.
    fn max_input_tokens(&self) -> Option<u64> {
        None
    }

    /// Answers a request, with one try.
    ///
    /// # Errors
    /// With the kinds of the provider's group: see [`ErrorKind`](crate::ErrorKind).
    async fn complete(&self, request: &Request) -> Result<Response>;

    /// Answers a request piece by piece, with one try. Default: the answer of [`complete`](Self::complete) as
    /// one piece.
    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        of_one_piece(self.complete(request))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: LanguageModel + ?Sized> LanguageModel for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn price(&self) -> Option<Price> {
        (**self).price()
    }

    fn reports_cost(&self) -> bool {
        (**self).reports_cost()
    }

    fn max_input_tokens(&self) -> Option<u64> {
        (**self).max_input_tokens()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        (**self).complete(request).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        (**self).stream(request)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: LanguageModel + ?Sized> LanguageModel for Box<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn price(&self) -> Option<Price> {
        (**self).price()
    }

    fn reports_cost(&self) -> bool {
        (**self).reports_cost()
    }

    fn max_input_tokens(&self) -> Option<u64> {
        (**self).max_input_tokens()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        (**self).complete(request).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        (**self).stream(request)
    }
}

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
        Retrying { model: self, policy }
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
        Priced { model: self, price }
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
        InputLimited { model: self, tokens }
    }
}

impl<M: LanguageModel> LanguageModelExt for M {}

/// A model whose failed calls are tried again. Made by [`LanguageModelExt::with_retry`].
///
/// [`Request::timeout`] limits each try. What this wrapper gives up on is
/// [`permanent`](crate::Error::permanent).
#[derive(Clone, Debug)]
pub struct Retrying<M> {
    model: M,
    policy: RetryPolicy,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Retrying<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn check(&self) -> Result<()> {
        self.model.check()
    }

    fn price(&self) -> Option<Price> {
        self.model.price()
    }

    fn reports_cost(&self) -> bool {
        self.model.reports_cost()
    }

    fn max_input_tokens(&self) -> Option<u64> {
        self.model.max_input_tokens()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        self.policy.run(|_| self.model.complete(request)).await
    }

    /// A stream is tried again until its first piece has come.
    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let first = self.policy.run(|_| async {
            let mut stream = self.model.stream(request);
            match stream.next().await {
                Some(Ok(first)) => Ok((first, stream)),
                Some(Err(error)) => Err(error),
                None => Err(Error::new(ErrorKind::MalformedReply, "the reply's stream was empty")),
            }
        });
        let rest = stream::once(first).flat_map(|began| match began {
            Ok((first, rest)) => stream::once(async { Ok(first) }).chain(rest).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        });
        rest.boxed()
    }
}

/// A model with a price. Made by [`LanguageModelExt::with_price`].
#[derive(Clone, Debug)]
pub struct Priced<M> {
    model: M,
    price: Price,
}

impl<M: LanguageModel> Priced<M> {
    fn with_cost(&self, mut response: Response) -> Response {
        response.usage.cost = response.usage.cost.or_else(|| self.price.of(&response.usage));
        response
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Priced<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn check(&self) -> Result<()> {
        self.model.check()
    }

    fn price(&self) -> Option<Price> {
        Some(self.price)
    }

    fn reports_cost(&self) -> bool {
        self.model.reports_cost()
    }

    fn max_input_tokens(&self) -> Option<u64> {
        self.model.max_input_tokens()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        Ok(self.with_cost(self.model.complete(request).await?))
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let priced = self.model.stream(request).map(|delta| match delta {
            Ok(Delta::Done(response)) => Ok(Delta::Done(self.with_cost(response))),
            other => other,
        });
        priced.boxed()
    }
}

/// A model with a limit on its requests. Made by [`LanguageModelExt::with_max_input_tokens`].
#[derive(Clone, Debug)]
pub struct InputLimited<M> {
    model: M,
    tokens: u64,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for InputLimited<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn check(&self) -> Result<()> {
        self.model.check()
    }

    fn price(&self) -> Option<Price> {
        self.model.price()
    }

    fn reports_cost(&self) -> bool {
        self.model.reports_cost()
    }

    fn max_input_tokens(&self) -> Option<u64> {
        Some(self.tokens)
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        self.model.complete(request).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        self.model.stream(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Usage, collect},
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

    #[tokio::test]
    async fn a_stream_that_ends_early_is_a_malformed_reply() {
        let cut = stream::iter([Ok(Delta::Text("2 +".into()))]).boxed();
        assert_eq!(collect(cut).await.unwrap_err().kind(), ErrorKind::MalformedReply);
    }
}

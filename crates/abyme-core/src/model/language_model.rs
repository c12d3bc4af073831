//! The trait for language models.

use std::fmt;

use async_trait::async_trait;

use super::{
    message::{Request, Response},
    price::Price,
    rate_limiter::RateLimiter,
    stream::{ResponseStream, of_one_piece},
};
use crate::error::Result;

/// A language model behind any API.
///
/// # Contract
/// - **M1** One call answers one request; the model keeps no conversation.
/// - **M2** One call is one try. The caller decides what is tried again: the loop does so by its
///   [`RetryPolicy`](crate::RetryPolicy), and a model that is used alone can be wrapped by
///   [`with_retry`](crate::LanguageModelExt::with_retry). Errors carry a kind that says whose fault it is;
///   [`Error::is_temporary`](crate::Error::is_temporary) says whether the same call may succeed later. A
///   model that retries by itself marks what it gave up on as [`permanent`](crate::Error::permanent).
/// - **M3** Unknown usage is unknown, never 0.
/// - **M4** A reply that the length limit or a content filter cut is returned with its
///   [`FinishReason`](crate::FinishReason), not as an error, also where nothing is left of it. So is a reply
///   without any text: one of thoughts alone, or a call in the provider's own form
///   ([`Response::native_call`]).
/// - **M5** The call ends within [`Request::timeout`], where that is set, with an error of kind
///   [`ModelTimeout`](crate::ErrorKind::ModelTimeout). The loop sets it, and cuts off a model that ignores it
///   a moment later. Dropping the future cancels the call. A wrapper whose calls wait for their turn, or hold
///   several tries, gives the time to each try, cuts it off itself, and says so
///   ([`limits_each_try`](Self::limits_each_try)).
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

    /// Whether [`Request::timeout`] limits each try that a call holds, in place of the call: because it waits
    /// for its turn before, or tries several times. Such a model cuts its tries off by itself, and the loop
    /// limits the call by the run's time alone. Default: no.
    fn limits_each_try(&self) -> bool {
        false
    }

    /// The limiter at which each try of a call takes its turn. The loop, and wrappers that make tries, wait
    /// there before one, and tell what came of it; the model itself does not. Clients name that of their
    /// [account](RateLimiter::of_account), so that all runs of the process wait together once a provider
    /// refuses one. A wrapper that waits by itself names none. Default: none.
    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    /// The keys that the model's requests carry, for what has to keep them out of a file: a
    /// [`Recording`](crate::Recording). They are for no other eyes. Default: none.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
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

    /// Hears that a stream of this request was stopped at `reply`, because nothing that follows would matter
    /// to the caller. The loop says so once a reply's cell is complete. A model that keeps replies may
    /// answer the next such stream with it. Default: nothing happens.
    async fn stopped_early(&self, request: &Request, reply: &Response) {
        let _ = (request, reply);
    }
}

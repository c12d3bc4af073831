//! Replies that come in pieces.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};

use super::{message::Response, rate_limit::RateLimits, usage::Usage};
use crate::error::{Error, ErrorKind, Result};

/// A reply as it comes: pieces, then one [`Delta::Done`] or one error, and nothing after either.
///
/// Nothing is sent before the first poll. Dropping the stream ends the generation.
pub type ResponseStream<'a> = Pin<Box<dyn Stream<Item = Result<Delta>> + Send + 'a>>;

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Delta {
    /// The next piece of the text. All of them together are [`Response::text`].
    Text(String),
    /// The next piece of the model's reasoning. All of them together are [`Response::reasoning`].
    Reasoning(String),
    /// What the call has used until now, in place of what was said before.
    Usage(Usage),
    /// What the provider says of its limits. It comes after the first piece, so that a caller that stops a
    /// stream knows it too.
    RateLimits(Box<RateLimits>),
    /// The whole reply, as [`complete`](super::LanguageModel::complete) would have returned it.
    Done(Response),
}

/// The stream of a model that answers at once: the pieces of one finished response.
pub fn pieces(response: Response) -> impl Iterator<Item = Delta> {
    let reasoning = Some(response.reasoning.clone()).filter(|piece| !piece.is_empty()).map(Delta::Reasoning);
    let text = Some(response.text.clone()).filter(|piece| !piece.is_empty()).map(Delta::Text);
    [reasoning, text, Some(Delta::Done(response))].into_iter().flatten()
}

/// The stream of a call that answers at once.
pub(super) fn of_one_piece<'a>(
    call: impl Future<Output = Result<Response>> + Send + 'a,
) -> ResponseStream<'a> {
    Box::pin(stream::once(call).flat_map(|answer| {
        let pieces: Vec<_> = match answer {
            Ok(response) => pieces(response).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(pieces)
    }))
}

/// The whole reply of a stream.
///
/// ```
/// use abyme_core::{LanguageModel, Request, model, testing::ScriptedModel};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> abyme_core::Result<()> {
/// let request = Request::prompt("The capital of France?");
/// let response = model::collect(ScriptedModel::replies(["Paris"]).stream(&request)).await?;
/// assert_eq!(response.text, "Paris");
/// # Ok(()) }
/// ```
///
/// # Errors
/// That of the stream; [`ErrorKind::MalformedReply`] if it ends without a [`Delta::Done`].
pub async fn collect(mut stream: ResponseStream<'_>) -> Result<Response> {
    while let Some(delta) = stream.next().await {
        if let Delta::Done(response) = delta? {
            return Ok(response);
        }
    }
    Err(Error::new(ErrorKind::MalformedReply, "the reply's stream ended before the reply did"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_ends_early_is_a_malformed_reply() {
        let cut = stream::iter([Ok(Delta::Text("2 +".into()))]).boxed();
        assert_eq!(collect(cut).await.unwrap_err().kind(), ErrorKind::MalformedReply);
    }
}

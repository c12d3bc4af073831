//! One try of a model call, in its turn and cut off at its time limit, for callers of a model that might
//! ignore both: the loop, and the wrappers that make tries.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    language_model::LanguageModel,
    message::{Request, Response},
    rate_limiter::{RateLimiter, Streamed},
    stream::{Delta, ResponseStream},
};
use crate::error::{Error, ErrorKind, Result};

/// How long after its time limit a model may still answer, before the call is dropped. Models keep the limit
/// themselves, and their errors say more.
const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// When a try that begins now is cut off. `None`: not here.
fn cut_off(model: &dyn LanguageModel, request: &Request) -> Option<(Instant, Duration)> {
    let limit = request.timeout.filter(|_| !model.limits_each_try())?;
    Some((Instant::now().checked_add(limit.saturating_add(ANSWER_GRACE))?, limit))
}

/// Whether a call of [`complete_once`] or [`stream_once`] may take longer than one try.
pub(crate) fn limits_each_try(model: &dyn LanguageModel) -> bool {
    model.limits_each_try() || model.rate_limiter().is_some()
}

/// [`complete`](LanguageModel::complete), once the model's own limiter lets it out, and cut off a moment
/// after [`Request::timeout`], which begins then.
pub(crate) async fn complete_once(model: &dyn LanguageModel, request: &Request) -> Result<Response> {
    match model.rate_limiter() {
        Some(limiter) => complete_in_turn(&limiter, model, request).await,
        None => complete_at_once(model, request).await,
    }
}

/// [`stream`](LanguageModel::stream), in the same way.
pub(crate) fn stream_once<'a>(model: &'a dyn LanguageModel, request: &'a Request) -> ResponseStream<'a> {
    match model.rate_limiter() {
        Some(limiter) => stream_in_turn(limiter, model, request),
        None => stream_at_once(model, request),
    }
}

/// [`complete_once`] with this limiter.
pub(super) async fn complete_in_turn(
    limiter: &RateLimiter,
    model: &dyn LanguageModel,
    request: &Request,
) -> Result<Response> {
    let admission = limiter.admission(model.name(), request).await;
    let result = complete_at_once(model, request).await;
    admission.learn(result.as_ref());
    result
}

/// [`stream_once`] with this limiter.
pub(super) fn stream_in_turn<'a>(
    limiter: RateLimiter,
    model: &'a dyn LanguageModel,
    request: &'a Request,
) -> ResponseStream<'a> {
    let admission = async move { limiter.admission(model.name(), request).await };
    let pieces = stream::once(admission).flat_map(move |admission| {
        let mut streamed = Streamed::from(admission);
        stream_at_once(model, request).inspect(move |piece| streamed.see(piece))
    });
    pieces.boxed()
}

/// [`complete_once`] without a wait.
pub(super) async fn complete_at_once(model: &dyn LanguageModel, request: &Request) -> Result<Response> {
    let call = model.complete(request);
    match cut_off(model, request) {
        Some((at, limit)) => timeout_at(at, call).await.unwrap_or_else(|_| Err(timed_out(model, limit))),
        None => call.await,
    }
}

/// [`stream_once`] without a wait.
pub(super) fn stream_at_once<'a>(model: &'a dyn LanguageModel, request: &'a Request) -> ResponseStream<'a> {
    // The time begins with the first poll, as the call does.
    let cut = stream::once(async move { cut_off(model, request) }).flat_map(move |cut| {
        let pieces = model.stream(request);
        let Some((at, limit)) = cut else { return pieces };
        let cut = stream::unfold(Some(pieces), move |pieces| async move {
            let mut pieces = pieces?;
            match timeout_at(at, pieces.next()).await {
                Ok(piece) => piece.map(|piece| (piece, Some(pieces))),
                Err(_) => Some((Err(timed_out(model, limit)), None)),
            }
        });
        cut.boxed()
    });
    cut.boxed()
}

/// A stream whose first piece has come.
pub(super) type OpenStream<'a> = (Delta, ResponseStream<'a>);

/// Begins a stream and waits for its first piece, up to which a failed one can be tried again.
pub(super) async fn begun(mut stream: ResponseStream<'_>) -> Result<OpenStream<'_>> {
    match stream.next().await {
        Some(first) => Ok((first?, stream)),
        None => Err(Error::new(ErrorKind::MalformedReply, "the reply's stream was empty")),
    }
}

/// The stream that begins as `began` says.
pub(super) fn resumed<'a>(
    began: impl Future<Output = Result<OpenStream<'a>>> + Send + 'a,
) -> impl Stream<Item = Result<Delta>> + Send + 'a {
    stream::once(began).flat_map(|began| match began {
        Ok((first, rest)) => stream::once(async { Ok(first) }).chain(rest).boxed(),
        Err(error) => stream::once(async { Err(error) }).boxed(),
    })
}

/// The error of a try that was cut off.
pub(crate) fn timed_out(model: &dyn LanguageModel, limit: Duration) -> Error {
    let message = format!("model `{}` did not answer within {:.1} s", model.name(), limit.as_secs_f64());
    Error::new(ErrorKind::ModelTimeout, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::collect;

    /// A model that answers nothing, whatever its time limit.
    #[derive(Debug)]
    struct Hanging;

    #[async_trait::async_trait]
    impl LanguageModel for Hanging {
        fn name(&self) -> &str {
            "hanging"
        }

        async fn complete(&self, _: &Request) -> Result<Response> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_ignores_its_time_limit_is_cut_off() {
        let request = Request::prompt("?").timeout(Duration::from_secs(3));
        let started = Instant::now();
        let error = complete_once(&Hanging, &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelTimeout);
        let error = collect(stream_once(&Hanging, &request)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelTimeout);
        assert_eq!(started.elapsed(), (Duration::from_secs(3) + ANSWER_GRACE) * 2);
    }
}

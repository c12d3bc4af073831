//! One try of a model call, cut off at its time limit, for callers of a model that might ignore it: the
//! loop, and the wrappers whose calls hold more than one try.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    language_model::LanguageModel,
    message::{Request, Response},
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

/// [`complete`](LanguageModel::complete), cut off a moment after [`Request::timeout`].
pub(crate) async fn complete_once(model: &dyn LanguageModel, request: &Request) -> Result<Response> {
    let call = model.complete(request);
    match cut_off(model, request) {
        Some((at, limit)) => timeout_at(at, call).await.unwrap_or_else(|_| Err(timed_out(model, limit))),
        None => call.await,
    }
}

/// [`stream`](LanguageModel::stream), cut off a moment after [`Request::timeout`].
pub(crate) fn stream_once<'a>(model: &'a dyn LanguageModel, request: &'a Request) -> ResponseStream<'a> {
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
pub(super) async fn begun<'a>(model: &'a dyn LanguageModel, request: &'a Request) -> Result<OpenStream<'a>> {
    let mut stream = stream_once(model, request);
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

//! A model in whose place another one answers while it cannot.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    one_try::{OpenStream, begun, complete_at_once, complete_once, resumed, stream_at_once, stream_once},
    price::Price,
    rate_limiter::RateLimiter,
    stream::{Delta, ResponseStream},
    usage::Usage,
};
use crate::error::{Error, ErrorKind, Result};

/// How long the second model answers after the first one failed.
const DEFAULT_BACKOFF: Duration = Duration::from_secs(60);

/// Which errors of the first model the second one is asked after.
type Falls = dyn Fn(&Error) -> bool + Send + Sync;

/// A model in whose place another one answers while it cannot. Made by
/// [`with_fallback`](crate::LanguageModelExt::with_fallback).
///
/// The second model is asked when the first one does not answer as it should: it is refused by a rate limit
/// or a quota, runs into its time limit, fails, or cannot be reached ([`when`](Self::when) sets other
/// errors). A wrong key, a request that is wrong or too long, and a refusal of its content are errors as
/// ever. For a while then ([`backoff`](Self::backoff)) the second one answers alone, so that a dead provider
/// costs its time limit once and prompt caches go on to be used. A request that names a model itself
/// ([`Request::model`]) does not fall back.
///
/// [`Request::timeout`] limits each of the two. What both used is counted, each by its own price. The name is
/// the first one's; [`Response::model`] says which model answered. A stream falls back until its first
/// piece.
#[derive(Clone)]
pub struct Fallback<A, B> {
    first: A,
    second: B,
    backoff: Duration,
    falls: Arc<Falls>,
    /// Until when the first one is not asked.
    rests: Arc<Mutex<Option<Instant>>>,
}

impl<A: fmt::Debug, B: fmt::Debug> fmt::Debug for Fallback<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Fallback");
        shown.field("first", &self.first).field("second", &self.second).field("backoff", &self.backoff);
        shown.finish_non_exhaustive()
    }
}

impl<A, B> Fallback<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second, backoff: DEFAULT_BACKOFF, falls: Arc::new(is_down), rests: Arc::default() }
    }

    /// Sets how long the second model answers alone after the first one failed, or longer where the first
    /// one's provider asks for that. Default 60 s; zero asks the first one every time.
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets after which errors of the first model the second one is asked.
    pub fn when(mut self, falls: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        self.falls = Arc::new(falls);
        self
    }

    fn rests(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first_asked(&self, request: &Request) -> bool {
        request.model.is_some() || self.rests().is_none_or(|until| Instant::now() >= until)
    }

    /// Whether the second one is asked after this error of the first one, which then rests.
    fn falls(&self, request: &Request, error: &Error) -> bool {
        let falls = request.model.is_none() && (self.falls)(error);
        if falls && !self.backoff.is_zero() {
            let rest = error.retry_after().unwrap_or_default().max(self.backoff);
            *self.rests() = Instant::now().checked_add(rest);
        }
        falls
    }
}

impl<A: LanguageModel, B: LanguageModel> Fallback<A, B> {
    /// The error of the second one, with what is to know of the first.
    fn both_failed(&self, first: Option<Error>, mut second: Error) -> Error {
        let Some(first) = first else { return second };
        let used = first.usage().into_iter().chain(second.usage()).copied().reduce(|a, b| a + b);
        second = used.into_iter().fold(second, Error::with_usage);
        let (a, b) = (self.first.name(), self.second.name());
        second.context(format!("model `{a}` failed ({first}), and so did `{b}` in its place"))
    }

    /// What the first one used is paid for too.
    fn with_failed(&self, mut response: Response, first: Option<&Error>) -> Response {
        let failed = first.and_then(Error::usage).map(|usage| costed(&self.first, *usage));
        response.usage = costed(&self.second, response.usage) + failed.unwrap_or_default();
        response
    }

    async fn begin<'a>(&'a self, request: &'a Request) -> Result<(OpenStream<'a>, Option<Error>, bool)> {
        let mut failed = None;
        if self.is_first_asked(request) {
            match begun(stream_at_once(&self.first, request)).await {
                Ok(begun) => return Ok((begun, None, true)),
                Err(error) if !self.falls(request, &error) => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        match begun(stream_once(&self.second, request)).await {
            Ok(begun) => Ok((begun, failed, false)),
            Err(error) => Err(self.both_failed(failed, error)),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<A: LanguageModel, B: LanguageModel> LanguageModel for Fallback<A, B> {
    forward!(this => this.first; name max_input_tokens);

    /// Which of the two it was is not known any more, and a reply of the one is none of the other.
    async fn stopped_early(&self, _: &Request, _: &Response) {}

    fn check(&self) -> Result<()> {
        self.first.check()?;
        self.second.check()
    }

    /// The higher one, for estimates. Replies say what they cost by the price of the model that answered.
    fn price(&self) -> Option<Price> {
        let (first, second) = (self.first.price()?, self.second.price()?);
        let of_both = |price: &Price| price.input + price.output;
        Some(if of_both(&first) < of_both(&second) { second } else { first })
    }

    fn reports_cost(&self) -> bool {
        let knows = |model: &dyn LanguageModel| model.reports_cost() || model.price().is_some();
        knows(&self.first) && knows(&self.second)
    }

    /// Calls do not wait for the first model, because the second one is there. Those of that one wait here.
    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    fn limits_each_try(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        [self.first.secrets(), self.second.secrets()].concat()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let mut failed = None;
        if self.is_first_asked(request) {
            match complete_at_once(&self.first, request).await {
                Ok(mut response) => {
                    response.usage = costed(&self.first, response.usage);
                    return Ok(response);
                }
                Err(error) if !self.falls(request, &error) => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        match complete_once(&self.second, request).await {
            Ok(response) => Ok(self.with_failed(response, failed.as_ref())),
            Err(error) => Err(self.both_failed(failed, error)),
        }
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let began = async move {
            let ((first_piece, rest), failed, is_first) = self.begin(request).await?;
            let pieces = futures_util::stream::once(async { Ok(first_piece) }).chain(rest);
            let mut pieces: ResponseStream<'a> = Box::pin(pieces.map(move |piece| {
                piece.map(|piece| match piece {
                    Delta::Done(mut response) if is_first => {
                        response.usage = costed(&self.first, response.usage);
                        Delta::Done(response)
                    }
                    Delta::Done(response) => Delta::Done(self.with_failed(response, failed.as_ref())),
                    piece => piece,
                })
            }));
            match pieces.next().await {
                Some(first) => Ok((first?, pieces)),
                None => Err(Error::new(ErrorKind::MalformedReply, "the reply's stream was empty")),
            }
        };
        resumed(began).boxed()
    }
}

/// Whether a provider does not answer as it should, and another one may.
fn is_down(error: &Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind(),
        RateLimited { .. } | QuotaExceeded | ModelTimeout | Server | Connection | MalformedReply
    )
}

/// What a call used, with its cost where the model's price says it.
fn costed(model: &dyn LanguageModel, mut usage: Usage) -> Usage {
    usage.cost = usage.cost.or_else(|| model.price()?.of(&usage));
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{LanguageModelExt, collect},
        testing::ScriptedModel,
    };

    fn failing(kind: ErrorKind) -> ScriptedModel {
        ScriptedModel::from_fn(move |_| Err(Error::new(kind, "no").with_usage(Usage::tokens(10, 0))))
    }

    fn answering() -> ScriptedModel {
        let reply = || Response::new("4").usage(Usage::tokens(10, 5));
        ScriptedModel::from_fn(move |_| Ok(reply())).with_name("second")
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_model_answers_while_the_first_one_is_down_and_both_are_paid() {
        let (first, second) = (failing(ErrorKind::Server), answering());
        let model = first
            .clone()
            .with_price(Price::per_million(2e6, 2e6))
            .with_fallback(second.clone().with_price(Price::per_million(1e6, 1e6)));
        let request = Request::prompt("2 + 2?");
        let answer = model.complete(&request).await.unwrap();
        assert_eq!((answer.usage.calls, answer.usage.cost), (2, Some(20.0 + 15.0)));
        let answer = collect(model.stream(&request)).await.unwrap();
        assert_eq!((answer.usage.calls, answer.usage.cost, first.requests().len()), (1, Some(15.0), 1));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(collect(model.stream(&request)).await.unwrap().usage.cost, Some(35.0));
        assert_eq!((first.requests().len(), second.requests().len()), (2, 3));
        assert_eq!(model.price().unwrap().input, 2e6, "estimates are by the higher one");
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_falls_back_or_does_not() {
        use ErrorKind::*;
        let asked = async |kind, request: &Request| {
            let second = answering();
            let _ = failing(kind).with_fallback(second.clone()).complete(request).await;
            second.requests().len()
        };
        let request = Request::prompt("?");
        for kind in [RateLimited { retry_after: None }, QuotaExceeded, ModelTimeout, Server, Connection] {
            assert_eq!(asked(kind, &request).await, 1, "{kind:?}");
        }
        for kind in [Auth, BadRequest, ContextTooLong, ContentRefused, Cancelled] {
            assert_eq!(asked(kind, &request).await, 0, "{kind:?}");
        }
        assert_eq!(asked(Server, &request.model("other".to_owned())).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn where_both_fail_the_error_names_both() {
        let model = failing(ErrorKind::Auth).with_fallback(failing(ErrorKind::Server).with_name("second"));
        let model = model.when(|error| error.kind() == ErrorKind::Auth).backoff(Duration::ZERO);
        let error = model.complete(&Request::prompt("?")).await.unwrap_err();
        let message = "model `scripted` failed (no), and so did `second` in its place: no";
        assert_eq!((error.message(), error.kind()), (message, ErrorKind::Server));
        assert_eq!(error.usage().unwrap().input_tokens, Some(20));
        assert!(error.is_temporary(), "the second one may answer later");
    }
}

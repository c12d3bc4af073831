//! A model around another one, with one deliberate fault.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme::{
    Delta, Error, ErrorKind, FinishReason, LanguageModel, LanguageModelExt, Message, Request, Response,
    ResponseStream, Result, RetryPolicy, Role, Usage,
    model::{collect, pieces},
};
use abyme_conformance::model::KEY;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};

/// One way to be wrong. What it does not name is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    // Of what is sent.
    SendsSystemAsUser,
    SendsRepliesAsUser,
    DropsSeparators,
    CutsPrompts,
    RefusesEmptyTexts,
    SendsNoOptions,
    KeepsTheConversation,
    RefusesItsConfiguration,
    /// Calls that are in flight together share the request of the last.
    MixesCalls,
    // Of what comes back.
    SaysBadRequest,
    SaysServer,
    SwallowsErrors,
    TriesAgain,
    TriesFinalErrorsAgain,
    StaysBroken,
    CountsUnknownAsNothing,
    CountsNothing,
    CountsNoCalls,
    HidesTheEnd,
    SaysLength,
    SaysLengthWhenTooLarge,
    FailsWhenCut,
    PutsThoughtsIntoText,
    DropsNativeCalls,
    CutsReplies,
    DropsReplacements,
    TakesMemory,
    // Of time.
    IgnoresTheLimit,
    TimesOutAtOnce,
    FinishesDroppedCalls,
    SendsBeforeItIsPolled,
    // Of secrets.
    TellsTheKey,
    ShowsTheKey,
    // Of streams.
    LosesAPiece,
    LosesAThought,
    EndsTwice,
    GoesOnAfterTheEnd,
    EndsOtherwise,
    HoldsPiecesBack,
    TakesEveryEndForAReply,
    GoesOnAfterAnError,
    CountsTooMuchAtFirst,
}

impl Fault {
    /// Whether streams hand on pieces as they come.
    pub(crate) fn keeps_pieces(self) -> bool {
        use Fault::*;
        self.is_of_streams() || matches!(self, ShowsTheKey | RefusesItsConfiguration)
    }

    fn is_of_streams(self) -> bool {
        use Fault::*;
        matches!(
            self,
            LosesAPiece
                | LosesAThought
                | EndsTwice
                | GoesOnAfterTheEnd
                | EndsOtherwise
                | HoldsPiecesBack
                | TakesEveryEndForAReply
                | GoesOnAfterAnError
                | CountsTooMuchAtFirst
        )
    }
}

/// A model with a fault.
#[derive(Clone)]
pub(crate) struct Faulty<M> {
    model: Arc<M>,
    fault: Fault,
    seen: Arc<Mutex<Vec<Message>>>,
    is_broken: Arc<AtomicBool>,
}

impl<M: fmt::Debug> fmt::Debug for Faulty<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.fault == Fault::ShowsTheKey { KEY } else { "" };
        write!(f, "Faulty({:?}, {key:?})", self.model)
    }
}

impl<M: LanguageModel + 'static> Faulty<M> {
    pub(crate) fn new(model: M, fault: Fault) -> Self {
        Self { model: Arc::new(model), fault, seen: Arc::default(), is_broken: Arc::default() }
    }

    /// The request as it goes on.
    fn change(&self, request: &mut Request) {
        match self.fault {
            Fault::SendsSystemAsUser => rename(request, Role::System),
            Fault::SendsRepliesAsUser => rename(request, Role::Assistant),
            Fault::DropsSeparators => {
                for message in &mut request.messages {
                    message.content = message.content.replace('\u{2028}', "");
                }
            }
            Fault::CutsPrompts => {
                for message in &mut request.messages {
                    message.content = message.content.chars().take(1_000_000).collect();
                }
            }
            Fault::SendsNoOptions => {
                *request = Request::new(request.messages.clone()).timeout(request.timeout)
            }
            Fault::KeepsTheConversation => {
                let mut seen = self.seen.lock().unwrap();
                seen.extend(request.messages.clone());
                request.messages.clone_from(&seen);
            }
            Fault::MixesCalls => self.seen.lock().unwrap().clone_from(&request.messages),
            Fault::IgnoresTheLimit => request.timeout = None,
            _ => {}
        }
    }

    async fn call(&self, request: &Request) -> Result<Response> {
        let policy = RetryPolicy::default().max_retries(1).initial_backoff(Duration::from_millis(1));
        match self.fault {
            Fault::RefusesEmptyTexts if request.messages.iter().any(|message| message.content.is_empty()) => {
                Err(Error::new(ErrorKind::BadRequest, "a text is empty"))
            }
            Fault::StaysBroken if self.is_broken.load(Ordering::SeqCst) => {
                Err(Error::new(ErrorKind::Connection, "it failed before"))
            }
            Fault::TimesOutAtOnce if request.timeout.is_some() => {
                Err(Error::new(ErrorKind::ModelTimeout, "there is a limit"))
            }
            Fault::MixesCalls => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let messages = self.seen.lock().unwrap().clone();
                let mut mixed = request.clone();
                mixed.messages = messages;
                self.model.complete(&mixed).await
            }
            Fault::TriesAgain => match self.model.clone().with_retry(policy).complete(request).await {
                // As one that does not know that it was the last try.
                Err(error) => Err(Error::new(error.kind(), error.to_string())),
                response => response,
            },
            Fault::TriesFinalErrorsAgain => match self.model.complete(request).await {
                Err(error) if !error.is_temporary() => self.model.complete(request).await,
                other => other,
            },
            Fault::FinishesDroppedCalls => {
                let (model, request) = (self.model.clone(), request.clone());
                tokio::spawn(async move { model.complete(&request).await }).await.unwrap()
            }
            Fault::TakesMemory => {
                let memory = std::hint::black_box(vec![1_u8; 200 << 20]);
                let answer = self.model.complete(request).await;
                drop(memory);
                answer
            }
            _ => self.model.complete(request).await,
        }
    }

    /// The answer as it comes back.
    fn answer(&self, answer: Result<Response>) -> Result<Response> {
        let mut response = match (answer, self.fault) {
            (Ok(response), _) => response,
            (Err(_), Fault::SaysBadRequest) => return Err(Error::new(ErrorKind::BadRequest, "it failed")),
            (Err(_), Fault::SaysServer) => return Err(Error::new(ErrorKind::Server, "it failed")),
            (Err(_), Fault::SwallowsErrors) => return Ok(Response::new("")),
            (Err(error), Fault::SaysLengthWhenTooLarge) if error.message().contains("max_body_bytes") => {
                return Ok(Response::new("").finish_reason(FinishReason::Length));
            }
            (Err(error), Fault::TellsTheKey) => return Err(error.context(KEY)),
            (Err(error), _) => {
                self.is_broken.store(true, Ordering::SeqCst);
                return Err(error);
            }
        };
        let usage = &mut response.usage;
        match self.fault {
            Fault::CountsUnknownAsNothing => {
                usage.input_tokens = usage.input_tokens.or(Some(0));
                usage.output_tokens = usage.output_tokens.or(Some(0));
            }
            Fault::CountsNothing => *usage = Usage::call(),
            Fault::CountsNoCalls => usage.calls = 0,
            Fault::HidesTheEnd => response.finish_reason = FinishReason::Stop,
            Fault::SaysLength => response.finish_reason = FinishReason::Length,
            Fault::FailsWhenCut if response.finish_reason != FinishReason::Stop => {
                return Err(Error::new(ErrorKind::MalformedReply, "the reply is cut"));
            }
            Fault::PutsThoughtsIntoText => {
                response.text = format!("{}{}", std::mem::take(&mut response.reasoning), response.text);
            }
            Fault::DropsNativeCalls => response.native_call = None,
            Fault::CutsReplies => response.text = response.text.chars().take(100_000).collect(),
            Fault::DropsReplacements => response.text = response.text.replace('\u{fffd}', ""),
            _ => {}
        }
        Ok(response)
    }

    fn streamed<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let inner = self.model.stream(request);
        let mut lost = false;
        match self.fault {
            Fault::LosesAPiece => Box::pin(inner.filter(move |delta| {
                let loses = !lost && matches!(delta, Ok(Delta::Text(_)));
                lost |= loses;
                async move { !loses }
            })),
            Fault::LosesAThought => Box::pin(inner.filter(move |delta| {
                let loses = !lost && matches!(delta, Ok(Delta::Reasoning(_)));
                lost |= loses;
                async move { !loses }
            })),
            Fault::EndsTwice => Box::pin(inner.flat_map(|delta| {
                let again = match &delta {
                    Ok(done @ Delta::Done(_)) => Some(Ok(done.clone())),
                    _ => None,
                };
                stream::iter(std::iter::once(delta).chain(again))
            })),
            Fault::GoesOnAfterTheEnd => Box::pin(inner.flat_map(|delta| {
                let more = matches!(delta, Ok(Delta::Done(_))).then(|| Ok(Delta::Text(String::new())));
                stream::iter(std::iter::once(delta).chain(more))
            })),
            Fault::EndsOtherwise => Box::pin(inner.map(|delta| match delta {
                Ok(Delta::Done(response)) => Ok(Delta::Done(response.model("another".to_owned()))),
                delta => delta,
            })),
            Fault::HoldsPiecesBack => {
                let all = async move { inner.collect::<Vec<_>>().await };
                Box::pin(stream::once(all).flat_map(stream::iter))
            }
            Fault::TakesEveryEndForAReply => Box::pin(
                inner.map(|delta| delta.or_else(|_| Ok(Delta::Done(Response::new("what there was"))))),
            ),
            Fault::GoesOnAfterAnError => Box::pin(inner.flat_map(|delta| {
                let more = delta.is_err().then(|| Ok(Delta::Text(String::new())));
                stream::iter(std::iter::once(delta).chain(more))
            })),
            Fault::CountsTooMuchAtFirst => {
                Box::pin(stream::iter([Ok(Delta::Usage(Usage::tokens(1_000, 1_000)))]).chain(inner))
            }
            _ => inner,
        }
    }
}

#[async_trait]
impl<M: LanguageModel + 'static> LanguageModel for Faulty<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn check(&self) -> Result<()> {
        match self.fault {
            Fault::RefusesItsConfiguration => Err(Error::new(ErrorKind::Config, "it is not configured")),
            _ => self.model.check(),
        }
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let mut request = request.clone();
        self.change(&mut request);
        let answer = self.call(&request).await;
        self.answer(answer)
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        if self.fault.is_of_streams() {
            return self.streamed(request);
        }
        if self.fault.keeps_pieces() {
            return self.model.stream(request);
        }
        if self.fault == Fault::SendsBeforeItIsPolled {
            let (model, request) = (self.model.clone(), request.clone());
            let call = tokio::spawn(async move { collect(model.stream(&request)).await });
            return Box::pin(stream::once(async { call.await.unwrap() }).flat_map(parts));
        }
        Box::pin(stream::once(self.complete(request)).flat_map(parts))
    }
}

/// The stream of a finished call.
fn parts(answer: Result<Response>) -> stream::Iter<std::vec::IntoIter<Result<Delta>>> {
    let parts: Vec<_> = match answer {
        Ok(response) => pieces(response).map(Ok).collect(),
        Err(error) => vec![Err(error)],
    };
    stream::iter(parts)
}

fn rename(request: &mut Request, role: Role) {
    for message in request.messages.iter_mut().filter(|message| message.role == role) {
        message.role = Role::User;
    }
}

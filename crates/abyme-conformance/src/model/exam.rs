//! The model that a case examines, with the short methods in which cases are written.

use std::{
    fmt::{self, Display},
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme_core::{
    Blame, Error, LanguageModel, Request, Response, Result,
    model::{Delta, collect},
};
use futures_util::StreamExt;

use super::{
    harness::ModelHarness,
    provider::{KEY, Provider},
    scenario::Scenario,
};
use crate::result::fail;

/// The longest wait for anything that has to come. Only a model that is wrong makes a case wait for it.
const WAIT: Duration = Duration::from_secs(10);

/// Makes the models that a case asks for.
pub(crate) struct Exam {
    harness: Arc<dyn ModelHarness>,
}

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Complete,
    Stream,
}

/// Both ways to ask a model.
pub(crate) const WAYS: [Way; 2] = [Way::Complete, Way::Stream];

/// A model and its provider.
pub(crate) struct ModelUnderTest {
    // In this order, so that the model is dropped first.
    pub(crate) model: Box<dyn LanguageModel>,
    pub(crate) provider: Provider,
    /// In a lock, so that what is only `Send` can be shared with it.
    _guard: Mutex<Box<dyn Send>>,
}

impl Exam {
    pub(crate) fn new(harness: Arc<dyn ModelHarness>) -> Self {
        Self { harness }
    }

    /// A model whose provider does this.
    pub(crate) async fn of(&self, scenario: Scenario) -> ModelUnderTest {
        let provider = Provider::new(scenario);
        match self.harness.model(provider.clone()).await {
            Ok((model, guard)) => ModelUnderTest { model, provider, _guard: Mutex::new(guard) },
            Err(error) => fail(format!("no model could be made: {error:?}")),
        }
    }
}

impl ModelUnderTest {
    /// What comes of a request.
    pub(crate) async fn ask(&self, way: Way, request: &Request) -> Result<Response> {
        let answer = async {
            match way {
                Way::Complete => self.model.complete(request).await,
                Way::Stream => collect(self.model.stream(request)).await,
            }
        };
        let answer = self.in_time(way, answer).await;
        if let Err(error) = &answer {
            self.check_error(way, error);
        }
        answer
    }

    /// The answer to a request that has one.
    pub(crate) async fn answer(&self, way: Way, request: &Request) -> Response {
        match self.ask(way, request).await {
            Ok(response) => response,
            Err(error) => fail(format!("{way:?}: expected an answer, got {error:?}")),
        }
    }

    /// The error of a request that has to fail.
    pub(crate) async fn error(&self, way: Way, request: &Request) -> Error {
        match self.ask(way, request).await {
            Ok(response) => fail(format!("{way:?}: expected an error, got {response:?}")),
            Err(error) => error,
        }
    }

    /// All that a stream gives, to its end.
    pub(crate) async fn deltas(&self, request: &Request) -> Vec<Result<Delta>> {
        self.in_time(Way::Stream, self.model.stream(request).collect()).await
    }

    /// The pieces of a stream that ends well, and the response at its end.
    pub(crate) async fn pieces(&self, request: &Request) -> (Vec<Delta>, Response) {
        let mut pieces = Vec::new();
        for delta in self.deltas(request).await {
            match delta {
                Ok(delta) => pieces.push(delta),
                Err(error) => fail(format!("expected a whole stream, got {error:?} after {pieces:?}")),
            }
        }
        let done = pieces.iter().position(|piece| matches!(piece, Delta::Done(_)));
        match done.map(|index| pieces.remove(index)) {
            Some(Delta::Done(response)) => (pieces, response),
            _ => fail(format!("expected a response at the end of {pieces:?}")),
        }
    }

    /// Waits for something that has to come.
    pub(crate) async fn in_time<T>(&self, what: impl fmt::Debug, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(WAIT, future).await {
            Ok(result) => result,
            Err(_) => fail(format!("{what:?}: nothing came of it within {WAIT:?} ({:?})", self.provider)),
        }
    }

    /// What holds for every error of a model, whatever its kind.
    fn check_error(&self, way: Way, error: &Error) {
        let text = error.to_string();
        if text.is_empty() || text.contains('\n') || text.chars().count() > 4000 {
            fail(format!("{way:?}: the message of an error is one line that a person reads: {text:?}"));
        }
        if !matches!(error.blame(), Blame::Model | Blame::Caller) {
            fail(format!("{way:?}: this kind is not for models: {error:?}"));
        }
        hides_key(format!("{way:?}: an error"), &format!("{text} {error:?} {error:#?}"));
    }
}

/// Checks that a text does not hold the key.
#[track_caller]
pub(crate) fn hides_key(what: impl Display, text: &str) {
    if text.contains(KEY) || text.contains(&KEY[10..]) {
        fail(format!("{what} shows the key: {text}"));
    }
}

/// Fails the case if `holds` is false.
#[track_caller]
pub(crate) fn check(holds: bool, message: impl Display) {
    if !holds {
        fail(message);
    }
}

/// Fails the case if the two differ.
#[track_caller]
pub(crate) fn check_eq<T: PartialEq + fmt::Debug>(what: impl Display, left: T, expected: T) {
    if left != expected {
        fail(format!("{what}: expected {expected:?}, got {left:?}"));
    }
}

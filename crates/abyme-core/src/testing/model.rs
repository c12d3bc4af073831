//! A model that answers from a script.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    model::{LanguageModel, Request, Response},
};

type ModelScript = dyn Fn(&Request) -> Result<Response> + Send + Sync;

/// A model that answers from a list of replies, or from a closure over the request, and keeps the requests.
/// Clones share both.
///
/// ```
/// use abyme_core::{LanguageModel, Request, testing::ScriptedModel};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let model = ScriptedModel::replies(["first", "second"]);
/// assert_eq!(model.complete(&Request::prompt("?")).await.unwrap().text, "first");
/// assert_eq!(model.requests().len(), 1);
/// # });
/// ```
#[derive(Clone)]
pub struct ScriptedModel {
    name: String,
    answer: Arc<ModelScript>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ScriptedModel {
    /// Answers with these replies, one after the other; after the last one every request is an error.
    pub fn replies<R: Into<Response>>(replies: impl IntoIterator<Item = R>) -> Self {
        Self::results(replies.into_iter().map(|reply| Ok(reply.into())))
    }

    /// Answers with these replies and errors, one after the other.
    pub fn results(results: impl IntoIterator<Item = Result<Response>>) -> Self {
        let results: Mutex<VecDeque<_>> = Mutex::new(results.into_iter().collect());
        Self::from_fn(move |_| {
            lock(&results).pop_front().unwrap_or_else(|| {
                Err(Error::new(ErrorKind::BadRequest, "the script has no reply left for this request"))
            })
        })
    }

    /// Answers with what a closure makes of the request.
    pub fn from_fn(answer: impl Fn(&Request) -> Result<Response> + Send + Sync + 'static) -> Self {
        Self { name: "scripted".to_owned(), answer: Arc::new(answer), requests: Arc::default() }
    }

    /// Sets the model's name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }
}

#[async_trait]
impl LanguageModel for ScriptedModel {
    fn name(&self) -> &str {
        &self.name
    }

    /// Its script says what each call costs.
    fn reports_cost(&self) -> bool {
        true
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        lock(&self.requests).push(request.clone());
        (self.answer)(request)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

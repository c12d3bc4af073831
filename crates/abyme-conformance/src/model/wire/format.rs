//! What a stand-in server has to know of the format that it speaks.

use abyme_core::{ErrorKind, Request};
use serde_json::{Value, json};

use crate::model::scenario::Reply;

/// The format in which a provider takes requests and gives replies. The server does the rest.
pub trait WireFormat: Send + Sync + 'static {
    /// The request in the body of one to `path`, and whether it asks for a stream. Parts that the provider
    /// would refuse are an error.
    ///
    /// # Errors
    /// What is wrong with the request.
    fn request(&self, path: &str, body: &Value) -> Result<Received, String>;

    /// A whole reply.
    fn reply(&self, reply: &Reply) -> Value;

    /// The events of a streamed reply.
    fn events(&self, reply: &Reply) -> Events;

    /// A failure of this kind, which says `words`.
    fn failure(&self, kind: ErrorKind, words: &str) -> Failure;

    /// The event that says so in the middle of a stream.
    fn failure_event(&self, kind: ErrorKind, words: &str) -> String {
        data(&self.failure(kind, words).body)
    }
}

/// A request as the provider understands it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The request.
    pub request: Request,
    /// Whether it asks for a stream.
    pub streams: bool,
}

impl Received {
    /// A request, and whether it asks for a stream.
    pub fn new(request: Request, streams: bool) -> Self {
        Self { request, streams }
    }
}

/// The events of a reply: each with the empty line at its end.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Events {
    /// What comes before the first piece.
    pub start: String,
    /// The pieces of reasoning, then those of the text.
    pub pieces: Vec<String>,
    /// What comes after the last: calls, the reason of the end, what was used.
    pub end: String,
}

impl Events {
    /// These events.
    pub fn new(start: impl Into<String>, pieces: Vec<String>, end: impl Into<String>) -> Self {
        Self { start: start.into(), pieces, end: end.into() }
    }

    /// All of them.
    pub fn all(&self) -> String {
        format!("{}{}{}", self.start, self.pieces.concat(), self.end)
    }

    /// As far as the first piece.
    pub fn beginning(&self) -> String {
        format!("{}{}", self.start, self.pieces.first().map_or("", String::as_str))
    }
}

/// An answer that says that something failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Its status. Some providers say 200 when they refuse a content.
    pub status: u16,
    /// Its headers, besides those of every answer.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Value,
}

impl Failure {
    /// A failure without further headers.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds the wait that `kind` names, as `Retry-After`.
    pub(crate) fn waiting(self, kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::RateLimited { retry_after: Some(wait) } => {
                self.header("retry-after", wait.as_secs().to_string())
            }
            _ => self,
        }
    }
}

/// An event without a name.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// An event with a name.
pub(crate) fn named(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

/// `whole` without `part`, where both count something.
pub(crate) fn without(whole: &Value, part: &Value) -> Value {
    match (whole.as_u64(), part.as_u64()) {
        (Some(whole), Some(part)) => json!(whole.saturating_sub(part)),
        _ => whole.clone(),
    }
}

/// The most tokens of a reply, in a field that holds a number.
pub(crate) fn tokens(value: Option<&Value>) -> Option<u32> {
    value.and_then(Value::as_u64).and_then(|tokens| u32::try_from(tokens).ok())
}

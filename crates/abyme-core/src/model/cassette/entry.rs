//! The lines of a cassette.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        language_model::LanguageModel,
        message::{Request, Response},
        price::Price,
        stream::Delta,
        usage::Usage,
    },
};

/// The version of the format.
const VERSION: u64 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct CassetteHeader {
    abyme_cassette: u64,
}

impl CassetteHeader {
    pub(super) fn new() -> Self {
        Self { abyme_cassette: VERSION }
    }
}

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) call: u64,
    pub(super) model: String,
    #[serde(flatten)]
    pub(super) facts: Facts,
    pub(super) request: Request,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pieces: Option<Vec<Piece>>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What a model says of itself, by which a run decides.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) price: Option<Price>,
    pub(super) reports_cost: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_input_tokens: Option<u64>,
}

/// The facts of a model whose cassette does not name them.
impl Default for Facts {
    fn default() -> Self {
        Self { price: None, reports_cost: true, max_input_tokens: None }
    }
}

impl Facts {
    pub(super) fn of(model: &dyn LanguageModel) -> Self {
        Self {
            price: model.price(),
            reports_cost: model.reports_cost(),
            max_input_tokens: model.max_input_tokens(),
        }
    }
}

/// A piece of a streamed reply before its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Piece {
    Text(String),
    Reasoning(String),
    Usage(Usage),
}

impl From<Piece> for Delta {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Text(text) => Delta::Text(text),
            Piece::Reasoning(text) => Delta::Reasoning(text),
            Piece::Usage(usage) => Delta::Usage(usage),
        }
    }
}

/// How a call came to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Response(Box<Response>),
    Error(RecordedFailure),
    Dropped {},
}

/// An error of a model, without what it told of its limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordedFailure {
    kind: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::seconds::option")]
    retry_after: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    permanent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// The kinds of errors that models have, by the names that they have in a cassette.
const KINDS: &[(&str, ErrorKind)] = &[
    ("config", ErrorKind::Config),
    ("quota_exceeded", ErrorKind::QuotaExceeded),
    ("model_timeout", ErrorKind::ModelTimeout),
    ("auth", ErrorKind::Auth),
    ("context_too_long", ErrorKind::ContextTooLong),
    ("bad_request", ErrorKind::BadRequest),
    ("content_refused", ErrorKind::ContentRefused),
    ("server", ErrorKind::Server),
    ("connection", ErrorKind::Connection),
    ("malformed_reply", ErrorKind::MalformedReply),
    ("cancelled", ErrorKind::Cancelled),
    ("internal", ErrorKind::Internal),
];
const RATE_LIMITED: &str = "rate_limited";

impl From<&Error> for RecordedFailure {
    fn from(error: &Error) -> Self {
        let known = KINDS.iter().find(|(_, kind)| *kind == error.kind());
        let kind = match error.kind() {
            ErrorKind::RateLimited { .. } => RATE_LIMITED,
            _ => known.map_or("internal", |(name, _)| name),
        };
        Self {
            kind: kind.to_owned(),
            message: error.message().to_owned(),
            retry_after: error.retry_after(),
            permanent: error.kind().is_temporary() && !error.is_temporary(),
            usage: error.usage().copied(),
        }
    }
}

impl RecordedFailure {
    fn kind(&self) -> Option<ErrorKind> {
        match self.kind == RATE_LIMITED {
            true => Some(ErrorKind::RateLimited { retry_after: self.retry_after }),
            false => Some(KINDS.iter().find(|(name, _)| *name == self.kind)?.1),
        }
    }
}

impl From<RecordedFailure> for Error {
    fn from(failure: RecordedFailure) -> Self {
        let error = Error::new(failure.kind().unwrap_or(ErrorKind::Internal), failure.message);
        let error = failure.usage.into_iter().fold(error, Error::with_usage);
        if failure.permanent { error.permanent() } else { error }
    }
}

/// Reads the calls of a cassette in the order in which they began; `name` is for messages.
///
/// # Errors
/// [`ErrorKind::Io`] with the line.
pub(super) fn read(name: &str, text: &str) -> Result<Vec<Entry>> {
    let damaged = |line: usize, why: String| {
        let message = format!("the cassette {name} is damaged in line {line}: {why}; record it again");
        Error::new(ErrorKind::Io, message)
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().and_then(|(_, line)| serde_json::from_str::<CassetteHeader>(line).ok());
    match header {
        Some(CassetteHeader { abyme_cassette: VERSION }) => {}
        Some(CassetteHeader { abyme_cassette: other }) => {
            let message = format!("the cassette {name} is of version {other}; this program reads {VERSION}");
            return Err(Error::new(ErrorKind::Io, message));
        }
        None => {
            let message =
                format!("{name} is no cassette: its first line is not {{\"abyme_cassette\":{VERSION}}}");
            return Err(Error::new(ErrorKind::Io, message));
        }
    }
    let mut entries = Vec::new();
    for (at, line) in lines {
        let entry: Entry = serde_json::from_str(line).map_err(|error| damaged(at + 1, error.to_string()))?;
        if let Outcome::Error(failure) = &entry.outcome
            && failure.kind().is_none()
        {
            return Err(damaged(at + 1, format!("there is no kind of error `{}`", failure.kind)));
        }
        entries.push(entry);
    }
    entries.sort_by_key(|entry| entry.call);
    Ok(entries)
}

//! The one error type of the workspace: what happened, whose fault it is, and whether another try helps.

use std::{any::Any, convert::Infallible, error::Error as StdError, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{RateLimits, Usage};

/// Shorthand for results of this workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure on the host, in a session, or at a model's provider.
///
/// A Python exception is *not* an `Error`: it is part of an [`Observation`](crate::Observation), for the
/// model to read. `Display` is one line; `Debug` is a report with context and the chain of causes.
///
/// ```
/// use abyme_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::InvalidInput, "input `query` is missing")
///     .operation("Rlm::run")
///     .with("signature", "docs, query -> answer");
/// assert_eq!(error.to_string(), "input `query` is missing");
/// assert!(!error.is_temporary());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    permanent: bool,
    usage: Option<Usage>,
    rate_limits: Option<RateLimits>,
    /// The record of the run until the error: a `Trajectory`, whose type this file cannot name because
    /// trajectories use errors.
    record: Option<Arc<dyn Any + Send + Sync>>,
}

/// The kind of an error. Retries and budgets decide on this, never on a message.
///
/// `serde` writes the name of the kind in `snake_case`, as a record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    // The caller's.
    /// A builder or a configuration cannot work as given.
    Config,
    /// There is no configuration at all: no model in the environment.
    NotConfigured,
    /// Inputs do not fit the signature, or a name cannot be used.
    InvalidInput,
    /// A signature does not parse.
    Signature,
    /// Outputs do not have the requested types.
    OutputType,
    /// The backend does not have the requested capability (see `Capabilities`).
    Unsupported,
    /// A file or stream of the caller's could not be read or written.
    Io,

    // The session's.
    /// A backend cannot run on this machine as things are: no `python3`, no daemon, no permission.
    Unavailable,
    /// The session is over: shut down, crashed, or killed. Its state is lost; nothing restarts by itself.
    SessionEnded,
    /// Code in the session raised an exception where its caller asked for a value: see
    /// [`Observation::check`](crate::Observation::check) and
    /// [`Session::eval`](crate::Session::eval). In a run, exceptions are for the model and never errors.
    Python,
    /// The session sent bytes that are no message of the protocol. It was ended.
    Protocol,

    // The model's provider's.
    /// Too many requests. The provider may say how long to wait.
    RateLimited {
        /// The pause that `Retry-After` names.
        #[serde(default, with = "crate::seconds::option")]
        #[cfg_attr(test, schemars(with = "Option<f64>"))]
        retry_after: Option<Duration>,
    },
    /// The account has no quota left. Waiting does not help.
    QuotaExceeded,
    /// No answer within the time limit of the call.
    ModelTimeout,
    /// The key is missing, wrong, or not allowed to use this model.
    Auth,
    /// The request is longer than the model's context.
    ContextTooLong,
    /// The provider does not accept the request as it is.
    BadRequest,
    /// The provider or the model refused to answer this content.
    ContentRefused,
    /// The provider failed (5xx).
    Server,
    /// No connection, or it broke.
    Connection,
    /// The provider's answer is not a completion.
    MalformedReply,

    // The run's.
    /// The caller cancelled the run.
    Cancelled,
    /// A limit of the run is used up, and the model gave no outputs that fit.
    LimitReached,
    /// A run that was replayed does not do what its record says.
    Differs,
    /// A bug in Abyme. Please report it.
    Internal,
}

impl ErrorKind {
    /// Whether errors of this kind pass by themselves, so that the same call may succeed later.
    pub fn is_temporary(self) -> bool {
        use ErrorKind::*;
        matches!(self, RateLimited { .. } | ModelTimeout | Server | Connection | MalformedReply)
    }
}

/// Whose fault an error is, so that a program can decide what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The program or person that called Abyme.
    Caller,
    /// The interpreter's backend or the code that ran in it.
    Session,
    /// The model or its provider.
    Model,
    /// A limit that the caller set.
    Limit,
    /// Abyme itself.
    Abyme,
}

impl Error {
    /// An error of `kind` that says `message` (lower case, no full stop, names what it is about).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            context: Vec::new(),
            source: None,
            permanent: false,
            usage: None,
            rate_limits: None,
            record: None,
        }))
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        use ErrorKind::*;
        match self.0.kind {
            Config | NotConfigured | InvalidInput | Signature | OutputType | Unsupported | Io | Cancelled
            | Differs => Blame::Caller,
            Unavailable | SessionEnded | Python | Protocol => Blame::Session,
            RateLimited { .. }
            | QuotaExceeded
            | ModelTimeout
            | Auth
            | ContextTooLong
            | BadRequest
            | ContentRefused
            | Server
            | Connection
            | MalformedReply => Blame::Model,
            LimitReached => Blame::Limit,
            Internal => Blame::Abyme,
        }
    }

    /// Whether the same call may succeed if it is tried again.
    pub fn is_temporary(&self) -> bool {
        !self.0.permanent && self.0.kind.is_temporary()
    }

    /// Whether the session this came from can no longer be used.
    pub fn is_session_lost(&self) -> bool {
        matches!(self.0.kind, ErrorKind::SessionEnded | ErrorKind::Protocol)
    }

    /// The pause that the provider asks for before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            ErrorKind::RateLimited { retry_after } => retry_after,
            _ => None,
        }
    }

    /// Names the operation that failed.
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Adds a fact to the report. Never a secret.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Sets the cause, for `std::error::Error::source`.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Marks a temporary error as final, so that an outer layer does not try again after an inner one.
    pub fn permanent(mut self) -> Self {
        self.0.permanent = true;
        self
    }

    /// Puts `prefix: ` before the message, to say what the failed operation was for.
    pub fn context(mut self, prefix: impl fmt::Display) -> Self {
        self.0.message = format!("{prefix}: {}", self.0.message);
        self
    }

    /// Sets what the failed model call used all the same, where the provider says so.
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.0.usage = Some(usage);
        self
    }

    /// What the failed model call used, where the provider says so. What a whole run used is in its
    /// [trajectory](Self::trajectory).
    pub fn usage(&self) -> Option<&Usage> {
        self.0.usage.as_ref()
    }

    /// Sets what the provider said of its limits with the failure.
    pub fn with_rate_limits(mut self, limits: RateLimits) -> Self {
        self.0.rate_limits = Some(limits);
        self
    }

    /// What the provider said of its limits with the failure.
    pub fn rate_limits(&self) -> Option<&RateLimits> {
        self.0.rate_limits.as_ref()
    }

    /// The same failure for another that waited for the call: what is known of it, without what it used,
    /// which is counted once.
    #[cfg(feature = "cache")]
    pub(crate) fn told(&self) -> Self {
        let mut told = Self::new(self.kind(), self.message());
        (told.0.operation, told.0.context) = (self.0.operation, self.0.context.clone());
        told.0.permanent = self.0.permanent;
        told
    }

    /// Sets the record of the run. See `trajectory.rs`, which gives it its type back.
    pub(crate) fn with_record(mut self, record: Arc<dyn Any + Send + Sync>) -> Self {
        self.0.record = Some(record);
        self
    }

    pub(crate) fn record(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.0.record.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.0.message, self.0.kind)?;
        if let Some(operation) = self.0.operation {
            write!(f, "\n  in: {operation}")?;
        }
        for (key, value) in &self.0.context {
            write!(f, "\n  {key}: {value}")?;
        }
        let mut cause = self.0.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        if self.0.record.is_some() {
            write!(f, "\n  (the trajectory so far is kept in this error)")?;
        }
        Ok(())
    }
}

/// For conversions that cannot fail.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_retry_is_no_longer_temporary() {
        let error = Error::new(ErrorKind::Server, "503 from the provider");
        assert!(error.is_temporary());
        assert!(!error.permanent().is_temporary());
    }

    #[test]
    fn the_report_lists_context_and_causes() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Io, "cannot read a.txt")
            .operation("read")
            .with("path", "a.txt")
            .with_source(cause);
        assert_eq!(
            format!("{error:?}"),
            "cannot read a.txt (Io)\n  in: read\n  path: a.txt\n  caused by: disk on fire"
        );
    }
}

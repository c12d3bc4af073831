//! What a request is refused with, in the form that OpenAI's clients know.

use std::{fmt, time::Duration};

use abyme_core::{Error, ErrorKind};
use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{self, HeaderName},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Most characters of a message. What is wrong with a request may be quoted, and may be long.
const MAX_MESSAGE_CHARS: usize = 500;
/// Tells OpenAI's clients whether to try again, which they would do by the status otherwise.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error`, `insufficient_quota` or
    /// `server_error`.
    kind: &'static str,
    code: &'static str,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = match message.char_indices().nth(MAX_MESSAGE_CHARS) {
            None => message,
            Some((end, _)) => format!("{} ...", &message[..end]),
        };
        Self { status, kind, code, param: None, message, retry_after: None }
    }

    /// The request cannot be answered as it is.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", message)
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: StatusCode, code: &'static str) -> Self {
        (self.status, self.code) = (status, code);
        self
    }

    /// Says which part of the request is wrong.
    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn wrong_token(is_missing: bool) -> Self {
        let message = match is_missing {
            true => "no token: send it in the header `Authorization: Bearer TOKEN` (your client's API key)",
            false => "the token is not one of this server's",
        };
        // With the type that OpenAI has here, LiteLLM takes it for any bad request.
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", message)
    }

    /// A limit of the key or the server is reached for now.
    pub(crate) fn later(code: &'static str, message: impl Into<String>, after: Duration) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code, message);
        Self { retry_after: Some(after), ..refusal }
    }

    /// The budget of the key is used up, and comes back after a time.
    pub(crate) fn budget(message: impl Into<String>, after: Duration) -> Self {
        let kind = "insufficient_quota";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, kind, kind, message);
        Self { retry_after: Some(after), ..refusal }
    }

    pub(crate) fn closing() -> Self {
        let message = "the server is about to end";
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "closing", message);
        Self { retry_after: Some(Duration::from_secs(5)), ..refusal }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error", message)
    }

    /// The client went away: nobody reads this, but records and figures.
    pub(crate) fn cancelled() -> Self {
        let message = "the client closed its connection";
        Self::invalid(message).status(StatusCode::REQUEST_TIMEOUT, "cancelled")
    }

    /// The run failed.
    pub(crate) fn failed_run(error: &Error) -> Self {
        use ErrorKind::*;
        let (status, code) = match error.kind() {
            InvalidInput => return Self::invalid(error.message()),
            ContentRefused => return Self { code: "content_filter", ..Self::invalid(error.message()) },
            RateLimited { .. } => {
                let after = error.retry_after().unwrap_or(Duration::from_secs(10));
                return Self::later("model_rate_limited", error.message(), after);
            }
            LimitReached => (StatusCode::INTERNAL_SERVER_ERROR, "run_limit_reached"),
            ModelTimeout => (StatusCode::GATEWAY_TIMEOUT, "model_timeout"),
            QuotaExceeded | Auth | ContextTooLong | BadRequest | Server | Connection | MalformedReply => {
                (StatusCode::BAD_GATEWAY, "model_failed")
            }
            Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "interpreter_unavailable"),
            SessionEnded | Protocol => (StatusCode::INTERNAL_SERVER_ERROR, "session_lost"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        };
        // The run has tried again already where that could help.
        Self::new(status, "server_error", code, error.message())
    }

    /// The object that OpenAI's clients read.
    pub(crate) fn object(&self) -> Value {
        json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.object().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after {
            headers
                .insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
        }
        // A run costs money: it is repeated only where that may help.
        let should_retry = self.retry_after.is_some() && self.kind != "insufficient_quota";
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(if should_retry { "true" } else { "false" }));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

//! genai's errors, by kind. None is shown as genai writes it: some hold the whole request.

use abyme_core::{Error, ErrorKind, Result};
use abyme_model_http::{Exchange, Head, HeaderMap, Reply, StatusCode, Unusable};
use genai::{Error as Genai, webc};
use serde_json::json;

/// The error that genai's is.
pub(crate) fn error(failed: Genai, exchange: &Exchange, host: &str) -> Error {
    let of = |kind: ErrorKind, message: String| Error::new(kind, message);
    match failed {
        Genai::HttpError { status, headers, body, .. } => answered(exchange, status, *headers, body),
        Genai::WebModelCall { webc_error, .. } | Genai::WebAdapterCall { webc_error, .. } => {
            of_web(webc_error, exchange, host)
        }
        // An error event inside of a stream. The status of the answer is 200, so it has to say itself what it
        // is.
        Genai::ChatResponse { body, .. } => {
            // Of some providers genai hands on what is in the field alone.
            let body = if body.get("error").is_some() { body } else { json!({ "error": body }) };
            answered(exchange, StatusCode::OK, HeaderMap::new(), body.to_string())
        }
        Genai::WebStream { error: cause, .. } => match cause.downcast::<Genai>() {
            Ok(inner) => error(*inner, exchange, host),
            Err(other) => match other.downcast::<webc::StreamTimeout>() {
                Ok(timeout) => {
                    of(ErrorKind::ModelTimeout, format!("{host} sent nothing for too long ({timeout})"))
                }
                Err(other) => broken(&*other, host),
            },
        },
        Genai::StreamParse { serde_error, .. } => {
            of(ErrorKind::MalformedReply, format!("an event of {host} is not JSON")).with_source(serde_error)
        }
        Genai::ChatResponseGeneration { .. }
        | Genai::NoChatResponse { .. }
        | Genai::InvalidJsonResponseElement { .. }
        | Genai::JsonValueExt(_)
        | Genai::SerdeJson(_) => {
            of(ErrorKind::MalformedReply, format!("the answer of {host} is not a completion"))
        }
        Genai::RequiresApiKey { .. } | Genai::NoAuthResolver { .. } | Genai::NoAuthData { .. } => {
            of(ErrorKind::Auth, format!("no API key for {host}"))
        }
        Genai::Resolver { .. } => {
            of(ErrorKind::Auth, format!("the key for {host}, or another variable that it needs, is not set"))
        }
        Genai::ChatReqHasNoMessages { .. }
        | Genai::LastChatMessageIsNotUser { .. }
        | Genai::MessageRoleNotSupported { .. }
        | Genai::MessageContentTypeNotSupported { .. }
        | Genai::JsonModeWithoutInstruction
        | Genai::CacheBreakpointNoEligibleContent { .. } => {
            of(ErrorKind::BadRequest, format!("{host} cannot be asked this conversation: {failed}"))
        }
        other => of(ErrorKind::Config, format!("{host} cannot be asked: {}", name(&other))),
    }
}

/// Whether it is of an answer that is no text. An error of genai's own is of a failed status, with its page.
pub(crate) fn is_no_text(failed: &Genai) -> bool {
    matches!(failed, Genai::WebStream { error, .. }
        if !error.is::<Genai>() && deepest(&**error).contains(NO_TEXT))
}

/// What the deepest cause says of bytes that are no text.
const NO_TEXT: &str = "utf-8";

/// The first words of an error's `Debug`: which one it is, without what it holds.
fn name(error: &Genai) -> String {
    let shown = format!("{error:?}");
    shown.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn of_web(failed: webc::Error, exchange: &Exchange, host: &str) -> Error {
    match failed {
        webc::Error::ResponseFailedStatus { status, body, headers } => {
            answered(exchange, status, *headers, body)
        }
        webc::Error::ResponseFailedNotJson { body, .. }
        | webc::Error::ResponseFailedInvalidJson { body, .. } => {
            answered(exchange, StatusCode::OK, HeaderMap::new(), body)
        }
        webc::Error::JsonValueExt(_) => {
            Error::new(ErrorKind::MalformedReply, format!("the answer of {host} is not a completion"))
        }
        webc::Error::Reqwest(cause) => broken(&cause.without_url(), host),
    }
}

/// The error of an answer that is no reply.
fn answered(exchange: &Exchange, status: StatusCode, headers: HeaderMap, body: String) -> Error {
    let reply = Reply { head: Head { status, headers }, body: body.into_bytes(), is_cut: false };
    let read: Result<_> = exchange.response(&reply, |answer| {
        let error = abyme_model_http::ProviderError::find(answer);
        Err(error.map_or_else(|| Unusable::malformed("it has no text"), Unusable::failed))
    });
    match read {
        Err(error) => error,
        Ok(_) => Error::new(ErrorKind::MalformedReply, "the answer is not a completion"),
    }
}

/// The error of a connection that failed.
fn broken(cause: &(dyn std::error::Error + 'static), host: &str) -> Error {
    let deepest = deepest(cause);
    if deepest.contains(NO_TEXT) {
        return Error::new(ErrorKind::MalformedReply, format!("the answer of {host} is no text: {deepest}"));
    }
    let kind = match deepest.contains("timed out") {
        true => ErrorKind::ModelTimeout,
        false => ErrorKind::Connection,
    };
    Error::new(kind, format!("the connection to {host} failed: {deepest}"))
}

/// What the deepest cause says. The others may hold an address, and in it what nobody should see.
fn deepest(cause: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(cause), |cause| cause.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

//! Turns an answer that is not a completion into an error: its kind, and what the user reads.

use std::time::{Duration, SystemTime};

use abyme_core::{Error, ErrorKind, Response, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::Value;

use crate::{
    secret::Mask,
    transport::Reply,
    wire::{self, ProviderError, Unusable},
};

/// What an answer belongs to, for messages.
pub(crate) struct Exchange<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) model: &'a str,
    pub(crate) mask: &'a Mask,
}

impl Exchange<'_> {
    /// The completion in `reply`, or an error that says what it is instead.
    pub(crate) fn response(&self, reply: &Reply) -> Result<Response> {
        let body = String::from_utf8_lossy(&reply.body);
        let body = body.trim_start_matches('\u{feff}').trim();
        let json = serde_json::from_str::<Value>(body);
        let outcome = if !reply.status.is_success() {
            Err(self.failure(reply, json.ok().as_ref(), body))
        } else {
            match json {
                Ok(answer) => wire::completion(&answer).map_err(|unusable| self.unusable(unusable, reply)),
                Err(error) => Err(self.not_json(reply, body).with_source(error)),
            }
        };
        outcome.map_err(|mut error| {
            error = error.with("status", reply.status.as_u16());
            if let Some(id) = self.request_id(&reply.headers) {
                error = error.with("request id", id);
            }
            if body.is_empty() { error } else { error.with("body", self.mask.clean(body, HEAD)) }
        })
    }

    /// The provider's id of this request, for questions to the provider.
    pub(crate) fn request_id(&self, headers: &HeaderMap) -> Option<String> {
        let mut ids = REQUEST_IDS.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
        ids.next().map(|id| self.mask.clean(id, 100))
    }

    /// The error of an answer whose status is one.
    fn failure(&self, reply: &Reply, json: Option<&Value>, body: &str) -> Error {
        let status = reply.status.as_u16();
        if reply.status.is_redirection() {
            return self.redirected(reply);
        }
        let mut error = json.and_then(ProviderError::find_in_failure).unwrap_or_default();
        let readable = !error.message.is_empty();
        if !readable {
            body.clone_into(&mut error.message);
        }
        let failure = self.provider_failure(status, &error, &reply.headers);
        match status {
            404 | 405 if !readable => {
                failure.with("hint", format_args!("is the base URL right? it led to {}", self.path))
            }
            _ => failure,
        }
    }

    fn provider_failure(&self, status: u16, error: &ProviderError, headers: &HeaderMap) -> Error {
        let kind = kind(status, error, headers);
        let host = self.host;
        let what = match kind {
            ErrorKind::Auth => format!("check the API key for {host} ({status})"),
            ErrorKind::RateLimited { .. } => format!("{host} was asked too often ({status})"),
            ErrorKind::QuotaExceeded => format!("the quota of the account at {host} is used up ({status})"),
            ErrorKind::ContextTooLong => format!("the request is too long for `{}` ({status})", self.model),
            ErrorKind::ContentRefused => format!("{host} refused the content ({status})"),
            ErrorKind::Server => format!("{host} failed ({status})"),
            _ => format!("{host} does not accept the request ({status})"),
        };
        let said = self.mask.clean(&error.message, HEAD);
        Error::new(kind, if said.is_empty() { what } else { format!("{what}: {said}") })
    }

    fn redirected(&self, reply: &Reply) -> Error {
        let to = reply.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = self.mask.clean(to.split('?').next().unwrap_or_default(), 200);
        let status = reply.status.as_u16();
        let message =
            format!("{} redirects to {to} ({status}): set that as the base URL if you trust it", self.host);
        Error::new(ErrorKind::BadRequest, message)
    }

    fn unusable(&self, unusable: Unusable, reply: &Reply) -> Error {
        match unusable {
            Unusable::Failed(error) => {
                // The status of the answer is 200, so the error itself has to say what it is.
                self.provider_failure(error.status.unwrap_or_else(|| implied(&error)), &error, &reply.headers)
            }
            Unusable::Refused(refusal) => {
                let refusal = self.mask.clean(&refusal, HEAD);
                Error::new(
                    ErrorKind::ContentRefused,
                    format!("`{}` refused to answer: {refusal}", self.model),
                )
            }
            Unusable::Malformed(what) => {
                let what = self.mask.clean(&what, HEAD);
                let message = format!("the answer of {} is not a completion: {what}", self.host);
                Error::new(ErrorKind::MalformedReply, message)
                    .with("content type", self.content_type(&reply.headers))
            }
        }
    }

    fn not_json(&self, reply: &Reply, body: &str) -> Error {
        let content_type = self.content_type(&reply.headers);
        let head = if body.is_empty() { "nothing".to_owned() } else { self.mask.clean(body, 80) };
        let message = format!("{} answered with {content_type} that is not JSON: {head}", self.host);
        Error::new(ErrorKind::MalformedReply, message)
    }

    fn content_type(&self, headers: &HeaderMap) -> String {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        content_type.map_or_else(|| "no content type".to_owned(), |value| self.mask.clean(value, 100))
    }
}

/// The kind of a failure. Codes decide before the status, and words only where providers have no code.
fn kind(status: u16, error: &ProviderError, headers: &HeaderMap) -> ErrorKind {
    let coded = |codes: &[&str]| error.codes.iter().any(|code| codes.contains(&code.as_str()));
    let message = error.message.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    match status {
        402 => ErrorKind::QuotaExceeded,
        400..=499 if coded(QUOTA) => ErrorKind::QuotaExceeded,
        400 | 403 | 422 if coded(REFUSED) || says(REFUSED_WORDS) => ErrorKind::ContentRefused,
        401 | 403 => ErrorKind::Auth,
        400 if coded(&["invalid_api_key"]) || says(&["incorrect api key", "api key not valid"]) => {
            ErrorKind::Auth
        }
        400 | 413 | 422 | 500 if coded(TOO_LONG) || says(TOO_LONG_WORDS) => ErrorKind::ContextTooLong,
        // A single request is above a minute's allowance: waiting does not help.
        413 | 429 if says(&["request too large"]) => ErrorKind::ContextTooLong,
        429 => ErrorKind::RateLimited {
            retry_after: retry_after(headers, SystemTime::now()).or_else(|| wait(error.retry_after?)),
        },
        408 | 409 | 425 | 500.. => ErrorKind::Server,
        _ => ErrorKind::BadRequest,
    }
}

/// The status that an error without one should have had.
fn implied(error: &ProviderError) -> u16 {
    let coded = |part: &str| error.codes.iter().any(|code| code.contains(part));
    match () {
        () if coded("rate_limit") || coded("insufficient_quota") => 429,
        () if coded("authentication") || coded("invalid_api_key") || coded("permission") => 401,
        () if coded("invalid_request") || coded("context_length") || coded("content_") => 400,
        () if coded("not_found") => 404,
        () => 500,
    }
}

/// How long a provider asks to wait. What makes no sense is ignored.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = header("retry-after-ms").and_then(|value| wait(value.parse::<f64>().ok()? / 1000.0));
    milliseconds.or_else(|| {
        let value = header(RETRY_AFTER.as_str())?;
        match value.parse::<f64>() {
            Ok(seconds) => wait(seconds),
            Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
        }
    })
}

fn wait(seconds: f64) -> Option<Duration> {
    // Nothing waits for years; the bound only keeps the number representable.
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(1e9)))
}

/// Most characters of a provider's words in an error.
const HEAD: usize = 500;

const REQUEST_IDS: &[&str] = &["x-request-id", "request-id", "x-generation-id", "apim-request-id", "cf-ray"];

const QUOTA: &[&str] = &["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"];

const REFUSED: &[&str] =
    &["content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"];

const REFUSED_WORDS: &[&str] = &[
    "content management policy",
    "content policy",
    "your input was flagged",
    "requires moderation",
    "content exists risk",
];

const TOO_LONG: &[&str] =
    &["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"];

const TOO_LONG_WORDS: &[&str] = &[
    "context length",                             // OpenAI, vLLM, Mistral, DeepSeek
    "context window",                             // LiteLLM, Anthropic
    "context size",                               // llama.cpp
    "context limit",                              // Anthropic
    "prompt is too long",                         // Anthropic
    "input is too long",                          // Bedrock
    "maximum prompt length",                      // xAI
    "exceeds the maximum number of tokens",       // Gemini
    "reduce the length of the messages",          // Groq
    "`inputs` tokens + `max_new_tokens` must be", // Together, TGI
];

#[cfg(test)]
mod tests;

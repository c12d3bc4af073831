//! Turns an answer that is not a completion into an error: its kind, and what the user reads.

use std::{borrow::Cow, time::SystemTime};

use abyme_core::{Error, ErrorKind, Response, Result, Usage};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use serde_json::Value;

use crate::{
    demands::{Demands, Sent},
    event_stream, retry_hint,
    secret::Mask,
    transport::Reply,
    wire::{self, ProviderError, Unusable},
};

/// What an answer belongs to, for messages.
pub(crate) struct Exchange<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// The model as it is called there.
    pub(crate) model: &'a str,
    /// The model as the user wrote it.
    pub(crate) written: &'a str,
    /// Whether the request carries a key.
    pub(crate) has_key: bool,
    pub(crate) mask: &'a Mask,
}

impl Exchange<'_> {
    /// The completion in `reply`, or an error that says what it is instead.
    pub(crate) fn response(&self, reply: &Reply) -> Result<Response> {
        let body = text(reply);
        let body = &*body;
        let with_cost = |mut usage: Usage| {
            usage.cost = usage.cost.or_else(|| cost_in(&reply.headers));
            usage
        };
        let outcome = if !reply.status.is_success() {
            Err(self.failure(reply, wire::json(body).ok().as_ref(), body))
        } else {
            match self.answer(reply, body) {
                Ok(answer) => wire::completion(&answer).map_err(|unusable| {
                    // The provider counts an answer that is of no use.
                    let error = self.unusable(unusable, reply);
                    let usage = answer.get("usage").map(|told| with_cost(wire::usage(Some(told))));
                    usage.into_iter().fold(error, Error::with_usage)
                }),
                Err(error) => Err(self.not_json(reply, body).with_source(error)),
            }
        };
        let mut response = outcome.map_err(|mut error| {
            error = error.with("status", reply.status.as_u16());
            if let Some(id) = self.request_id(&reply.headers) {
                error = error.with("request id", id);
            }
            if body.is_empty() { error } else { error.with("body", self.mask.clean(body, HEAD)) }
        })?;
        response.usage = with_cost(response.usage);
        Ok(response)
    }

    /// The answer as JSON, also if it came as a stream.
    fn answer(&self, reply: &Reply, body: &str) -> Result<Value> {
        if event_stream::is_event_stream(&reply.headers, body)
            && let Some(answer) = event_stream::completion(body)
        {
            return Ok(answer);
        }
        wire::json(body)
    }

    /// `demands` and what `reply` demands besides, if it is a refusal of something that the request held and
    /// can do without.
    pub(crate) fn demands(&self, reply: &Reply, demands: Demands, sent: Sent) -> Option<Demands> {
        // 500 is what servers say whose chat template failed.
        if !matches!(reply.status.as_u16(), 400 | 422 | 500) {
            return None;
        }
        let body = text(reply);
        let error = wire::json(&body).ok().as_ref().and_then(ProviderError::find_in_failure);
        let error =
            error.unwrap_or_else(|| ProviderError { message: body.into_owned(), ..Default::default() });
        demands.with(&error, sent)
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
        if matches!(status, 404 | 405) && !readable {
            let said = self.mask.clean(&error.message, 200);
            error.message = format!("{said} (is the base URL right? it led to {})", self.path);
        }
        if status == 407 {
            let message =
                format!("the proxy to {} wants a login (407): set it in the proxy's URL", self.host);
            return Error::new(ErrorKind::Config, message);
        }
        self.provider_failure(status, &error, &reply.headers)
    }

    fn provider_failure(&self, status: u16, error: &ProviderError, headers: &HeaderMap) -> Error {
        let kind = kind(status, error, headers);
        let host = self.host;
        let what = match kind {
            ErrorKind::Auth => format!("check the API key for {host} ({status})"),
            ErrorKind::RateLimited { .. } if status == 429 => {
                format!("{host} was asked too often ({status})")
            }
            ErrorKind::RateLimited { .. } => format!("{host} asks to come back later ({status})"),
            ErrorKind::QuotaExceeded => format!("the quota of the account at {host} is used up ({status})"),
            ErrorKind::ContextTooLong => format!("the request is too long for `{}` ({status})", self.model),
            ErrorKind::ContentRefused => format!("{host} refused the content ({status})"),
            ErrorKind::Server => format!("{host} failed ({status})"),
            _ => format!("{host} does not accept the request ({status})"),
        };
        let said = self.mask.clean(&error.message, HEAD);
        let mut message = if said.is_empty() { what } else { format!("{what}: {said}") };
        let unknown_model = kind == ErrorKind::BadRequest && self.is_about_model(error);
        if let Some(prefix) =
            self.written.strip_suffix(self.model).filter(|prefix| unknown_model && !prefix.is_empty())
        {
            let (written, model) = (self.written, self.model);
            message = format!(
                "{message} (the model `{written}` was asked for as `{model}`; if the name there begins with \
                 `{prefix}`, write `{prefix}{written}`)"
            );
        }
        if error.message.to_lowercase().contains(NO_DATABASE) {
            message.push_str(
                " (so says a LiteLLM proxy without a database to a key that is not its master key)",
            );
        }
        let is_bare = said.is_empty() || said.eq_ignore_ascii_case("internal server error");
        if status == 500 && is_bare && !self.has_key {
            message.push_str(" (no key was sent, and a LiteLLM proxy answers this way without one)");
        }
        Error::new(kind, message)
    }

    /// Whether a refusal is about the model's name.
    fn is_about_model(&self, error: &ProviderError) -> bool {
        let message = error.message.to_lowercase();
        error.codes.iter().any(|code| code.contains("model_not_found"))
            || message.contains("model") && UNKNOWN.iter().any(|phrase| message.contains(phrase))
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

/// What a proxy says in a header that the call cost.
fn cost_in(headers: &HeaderMap) -> Option<f64> {
    COSTS.iter().find_map(|name| {
        let cost = headers.get(*name)?.to_str().ok()?;
        wire::number(&Value::from(cost))
    })
}

/// The kind of a failure. Codes decide before the status, and words only where providers have no code.
fn kind(status: u16, error: &ProviderError, headers: &HeaderMap) -> ErrorKind {
    let coded = |codes: &[&str]| error.codes.iter().any(|code| codes.contains(&code.as_str()));
    let message = error.message.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    let asked_wait = || {
        let now = SystemTime::now();
        let in_body = || error.retry_after.and_then(retry_hint::wait);
        retry_hint::in_headers(headers, now).or_else(in_body).or_else(|| retry_hint::in_words(&message))
    };
    match status {
        402 => ErrorKind::QuotaExceeded,
        400..=499 if coded(QUOTA) || says(QUOTA_WORDS) => ErrorKind::QuotaExceeded,
        400 if coded(&["no_db_connection"]) || says(&[NO_DATABASE]) => ErrorKind::Auth,
        400 | 403 | 422 if coded(REFUSED) || says(REFUSED_WORDS) => ErrorKind::ContentRefused,
        401 | 403 => ErrorKind::Auth,
        400 if coded(&["invalid_api_key"]) || says(&["incorrect api key", "api key not valid"]) => {
            ErrorKind::Auth
        }
        400 | 413 | 422 | 500 if coded(TOO_LONG) || says(TOO_LONG_WORDS) => ErrorKind::ContextTooLong,
        // A single request is above a minute's allowance: waiting does not help.
        413 | 429 if says(&["request too large"]) => ErrorKind::ContextTooLong,
        429 => ErrorKind::RateLimited { retry_after: asked_wait() },
        // Busy, or not ready yet, and it says for how long.
        503 | 529 if let Some(wait) = asked_wait() => ErrorKind::RateLimited { retry_after: Some(wait) },
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

/// The body as text, without a byte order mark.
fn text(reply: &Reply) -> Cow<'_, str> {
    match String::from_utf8_lossy(&reply.body) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_start_matches('\u{feff}').trim()),
        Cow::Owned(text) => Cow::Owned(text.trim_start_matches('\u{feff}').trim().to_owned()),
    }
}

/// Most characters of a provider's words in an error.
const HEAD: usize = 500;

const REQUEST_IDS: &[&str] = &["x-request-id", "request-id", "x-generation-id", "apim-request-id", "cf-ray"];

/// Headers that say what a call cost, in US dollars.
const COSTS: &[&str] = &["x-litellm-response-cost"];

const QUOTA: &[&str] =
    &["insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded"];

const QUOTA_WORDS: &[&str] = &[
    "budget has been exceeded", // LiteLLM
    "exceededbudget",           // LiteLLM, of a user or a team
    "exceeded budget",
    "credit balance is too low", // Anthropic
    "insufficient balance",      // DeepSeek
    "insufficient credits",      // OpenRouter
];

/// LiteLLM without a database, to a key that it does not know.
const NO_DATABASE: &str = "no connected db";

const UNKNOWN: &[&str] =
    &["not found", "unknown", "does not exist", "not exist", "invalid model", "no such", "not a valid model"];

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

//! Turns an answer that is not a completion into an error: its kind, and what the user reads.

use std::{borrow::Cow, time::SystemTime};

use abyme_core::{Error, ErrorKind, Response, Result, Usage};
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderMap, LOCATION},
};
use serde_json::Value;

use crate::{
    answer::{Unusable, Why},
    client::HttpClient,
    json::{json, number},
    provider_error::ProviderError,
    rate_limits, retry_hint,
    secret::Mask,
    transport::{Head, Reply},
    url::origin_of,
};

/// What an answer belongs to: for reading it, and for messages about what it is instead.
#[derive(Clone, Debug)]
pub struct Exchange {
    host: String,
    origin: String,
    path: String,
    model: String,
    written: String,
    has_key: bool,
    mask: Mask,
    most: usize,
}

impl Exchange {
    /// A request of `client` to `path`, for the model that is called `model` there.
    pub fn new(client: &HttpClient, path: &str, model: &str) -> Self {
        Self {
            host: client.host().to_owned(),
            origin: client.origin().to_owned(),
            path: path.to_owned(),
            model: model.to_owned(),
            written: model.to_owned(),
            has_key: client.has_key(),
            mask: client.mask().clone(),
            most: client.max_body_bytes(),
        }
    }

    /// Sets the model's name as the user wrote it, for an advice on names that the server does not know.
    pub fn written(mut self, name: &str) -> Self {
        name.clone_into(&mut self.written);
        self
    }

    /// What `read` makes of the JSON in `reply`, or an error that says what the reply is instead.
    ///
    /// # Errors
    /// With the kinds of the provider's group.
    pub fn response(
        &self,
        reply: &Reply,
        read: impl FnOnce(&Value) -> Result<Response, Unusable>,
    ) -> Result<Response> {
        self.response_of(reply, |body| match json(body) {
            Ok(answer) => Ok(read(&answer)),
            Err(error) => Err(error),
        })
    }

    /// Like [`response`](Self::response), for a body that `read` may find in another form than JSON. An `Err`
    /// says that it is in none.
    ///
    /// # Errors
    /// With the kinds of the provider's group.
    pub fn response_of(
        &self,
        reply: &Reply,
        read: impl FnOnce(&str) -> Result<Result<Response, Unusable>>,
    ) -> Result<Response> {
        if reply.head.status.is_success() && reply.is_cut {
            return Err(self.with_head(self.too_large(), &reply.head));
        }
        let body = &*text(reply);
        if !reply.head.status.is_success() {
            let error = self.failure(reply, json(body).ok().as_ref(), body);
            return Err(self.with_body(self.with_head(error, &reply.head), body));
        }
        match read(body) {
            Ok(outcome) => self.finish(&reply.head, outcome, body),
            Err(error) => {
                let error = self.not_json(reply, body).with_source(error);
                Err(self.with_body(self.with_head(error, &reply.head), body))
            }
        }
    }

    /// What `read` makes of the JSON in `reply`, where that is no reply of a model.
    ///
    /// # Errors
    /// With the kinds of the provider's group.
    pub fn read<T>(&self, reply: &Reply, read: impl FnOnce(&Value) -> Result<T, Unusable>) -> Result<T> {
        let mut found = None;
        self.response(reply, |answer| {
            found = Some(read(answer)?);
            Ok(Response::default())
        })?;
        found.ok_or_else(|| Error::new(ErrorKind::Internal, "an answer was not read"))
    }

    /// What was read of an answer, with what its head says besides. `body` is shown in an error.
    pub(crate) fn finish(
        &self,
        head: &Head,
        outcome: Result<Response, Unusable>,
        body: &str,
    ) -> Result<Response> {
        let with_cost = |mut usage: Usage| {
            usage.cost = usage.cost.or_else(|| cost_in(&head.headers));
            usage
        };
        match outcome {
            Ok(mut response) => {
                response.usage = with_cost(response.usage);
                response.request_id = response.request_id.or_else(|| head.request_id(&self.mask));
                response.rate_limits =
                    rate_limits::in_headers(&head.headers, SystemTime::now()).map(Box::new);
                Ok(response)
            }
            Err(unusable) => {
                let (why, usage) = unusable.into_parts();
                let error = self.unusable(why, head);
                let error = self.with_body(self.with_head(error, head), body);
                Err(usage.map(with_cost).into_iter().fold(error, Error::with_usage))
            }
        }
    }

    /// `error` with what a head says: the facts to ask the provider about it, and its limits.
    pub(crate) fn with_head(&self, error: Error, head: &Head) -> Error {
        let error = error.with("status", head.status.as_u16());
        let error = match rate_limits::in_headers(&head.headers, SystemTime::now()) {
            Some(limits) => error.with_rate_limits(limits),
            None => error,
        };
        match head.request_id(&self.mask) {
            Some(id) => error.with("request id", id),
            None => error,
        }
    }

    fn with_body(&self, error: Error, body: &str) -> Error {
        if body.is_empty() { error } else { error.with("body", self.mask.clean(body, HEAD)) }
    }

    pub(crate) fn warn_too_large(&self) {
        tracing::warn!("{}: the rest is not read", self.larger());
    }

    /// The error of an answer that was larger than may be read before any text of a reply came. It would be
    /// so again, and would be paid for again.
    pub fn too_large(&self) -> Error {
        let message = format!("{}, and no text came until there", self.larger());
        Error::new(ErrorKind::MalformedReply, message).permanent()
    }

    fn larger(&self) -> String {
        let most = match self.most {
            most if most >= 1 << 20 && most.is_multiple_of(1 << 20) => format!("{} MiB", most >> 20),
            most => format!("{most} bytes"),
        };
        format!("the answer of {} is larger than {most} (`max_body_bytes`)", self.host)
    }

    /// What a refusal says, if `reply` is one of something in the request; a client may do without it then.
    pub fn refusal(&self, reply: &Reply) -> Option<ProviderError> {
        // 404 is what OpenAI says of another API, and 500 what servers say whose chat template failed.
        if !matches!(reply.head.status.as_u16(), 400 | 404 | 422 | 500) {
            return None;
        }
        let body = text(reply);
        let error = json(&body).ok().as_ref().and_then(ProviderError::find_in_failure);
        Some(error.unwrap_or_else(|| ProviderError { message: body.into_owned(), ..Default::default() }))
    }

    /// The error of an answer whose status is one.
    fn failure(&self, reply: &Reply, json: Option<&Value>, body: &str) -> Error {
        let status = reply.head.status.as_u16();
        if reply.head.status.is_redirection() {
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
        self.provider_failure(status, &error, &reply.head.headers)
    }

    fn provider_failure(&self, status: u16, error: &ProviderError, headers: &HeaderMap) -> Error {
        let kind = kind(status, error, headers);
        let host = &self.host;
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
        if let Some(prefix) = self
            .written
            .strip_suffix(self.model.as_str())
            .filter(|prefix| unknown_model && !prefix.is_empty())
        {
            let (written, model) = (&self.written, &self.model);
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
        let to = reply.head.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = self.mask.clean(to.split('?').next().unwrap_or_default(), 200);
        let (host, status) = (&self.host, reply.head.status.as_u16());
        let is_path = to.starts_with('/') && !to.starts_with("//");
        let stays = is_path || Url::parse(&to).is_ok_and(|to| origin_of(&to) == self.origin);
        let message = match status {
            // Those that stay at the host were followed, as long as it made sense.
            307 | 308 if stays => {
                format!("{host} redirects in a circle, at last to {to} ({status}): check the base URL")
            }
            _ => {
                let to = if is_path { format!("{}{to}", self.origin) } else { to };
                format!("{host} redirects to {to} ({status}): set that as the base URL if you trust it")
            }
        };
        Error::new(ErrorKind::BadRequest, message)
    }

    fn unusable(&self, why: Why, head: &Head) -> Error {
        match why {
            Why::Failed(error) => {
                // The status of the answer is 200, so the error itself has to say what it is.
                self.provider_failure(error.status.unwrap_or_else(|| implied(&error)), &error, &head.headers)
            }
            Why::Refused(refusal) => {
                let refusal = self.mask.clean(&refusal, HEAD);
                Error::new(
                    ErrorKind::ContentRefused,
                    format!("`{}` refused to answer: {refusal}", self.model),
                )
            }
            Why::Malformed(what) => {
                let what = self.mask.clean(&what, HEAD);
                let message = format!("the answer of {} is not a completion: {what}", self.host);
                Error::new(ErrorKind::MalformedReply, message)
                    .with("content type", self.content_type(&head.headers))
            }
        }
    }

    fn not_json(&self, reply: &Reply, body: &str) -> Error {
        let content_type = self.content_type(&reply.head.headers);
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
        number(&Value::from(cost))
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
        // Gemini names the quota. One of a day is not there again in the seconds that it asks to wait.
        429 if error.codes.iter().any(|code| code.contains("perday")) => ErrorKind::QuotaExceeded,
        400..=499 if coded(QUOTA) || says(QUOTA_WORDS) => ErrorKind::QuotaExceeded,
        400 if coded(&["no_db_connection"]) || says(&[NO_DATABASE]) => ErrorKind::Auth,
        400 | 403 | 422 if coded(REFUSED) || says(REFUSED_WORDS) => ErrorKind::ContentRefused,
        401 | 403 => ErrorKind::Auth,
        400 if coded(&["invalid_api_key", "api_key_invalid"])
            || says(&["incorrect api key", "api key not valid"]) =>
        {
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
        () if coded("rate_limit") || coded("insufficient_quota") || coded("resource_exhausted") => 429,
        () if coded("billing") => 402,
        () if coded("too_large") => 413,
        () if coded("authentication")
            || coded("unauthenticated")
            || coded("invalid_api_key")
            || coded("permission") =>
        {
            401
        }
        () if coded("invalid_") || coded("precondition") || coded("context_length") || coded("content_") => {
            400
        }
        () if coded("not_found") => 404,
        // Anthropic's status for it.
        () if coded("overloaded") => 529,
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
    "contentpolicyviolation",   // LiteLLM, whatever the provider says
    "content filtering policy", // Anthropic
    "your input was flagged",
    "requires moderation",
    "content exists risk",
];

const TOO_LONG: &[&str] =
    &["context_length_exceeded", "exceed_context_size_error", "string_above_max_length", "request_too_large"];

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

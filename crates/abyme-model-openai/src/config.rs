//! What to talk to, as whom, and how patiently.

use std::{collections::BTreeMap, fmt, time::Duration};

use abyme_core::{Error, ErrorKind, Result, RetryPolicy};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    provider::Endpoint,
    secret::{Mask, Secret},
};

/// The configuration of an [`OpenAiModel`](crate::OpenAiModel).
///
/// `Debug` does not show keys and serialising leaves them out; deserialising reads them.
///
/// ```
/// use std::time::Duration;
///
/// use abyme_model_openai::{OpenAiConfig, OpenAiModel};
///
/// let config = OpenAiConfig::new("openrouter/openai/gpt-5-mini")
///     .api_key("sk-or-...")
///     .max_tokens(8_000)
///     .timeout(Duration::from_secs(120))
///     .extra("reasoning", serde_json::json!({"effort": "low"}));
/// let model = OpenAiModel::from_config(config)?;
/// # Ok::<(), abyme_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// The model, with or without a provider's prefix as LiteLLM writes it (`openai/`, `openrouter/`, ...).
    ///
    /// Without a [`base_url`](Self::base_url) the prefix chooses the endpoint and is not sent; no prefix means
    /// OpenAI. With one, the prefix is dropped if it is a provider's name, and kept if it belongs to the model's
    /// (`meta-llama/Llama-3`). No default.
    pub model: String,
    /// Where the API is, up to the part before `/chat/completions`. Default: the endpoint of the provider that the
    /// model's name begins with, else `https://api.openai.com/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The key. Servers that are not well known may do without. No default.
    #[serde(skip_serializing)]
    pub api_key: Option<Secret>,
    /// The organization to bill, for accounts of more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// More headers of each request.
    #[serde(skip_serializing)]
    pub headers: BTreeMap<String, Secret>,
    /// Most tokens of a reply, unless the request says. Sent to OpenAI as `max_completion_tokens`, to all others as
    /// `max_tokens`; either name in [`extra_body`](Self::extra_body) takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature, unless the request says. Default: the model's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// More fields of each request's body. They win over ours; one that is `null` leaves ours out.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest time of one try, all in all; a request's own limit counts if it is less. Default 300 s.
    pub timeout: Duration,
    /// Longest wait for the first byte of the answer. Default: as long as [`timeout`](Self::timeout).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<Duration>,
    /// Longest silence once an answer has begun. Default 60 s.
    pub idle_timeout: Duration,
    /// Largest answer in bytes, after decompression. Default 64 MiB.
    pub max_body_bytes: usize,
    /// How failed calls are tried again.
    pub retry: RetryPolicy,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            base_url: None,
            api_key: None,
            organization: None,
            headers: BTreeMap::new(),
            max_tokens: None,
            temperature: None,
            extra_body: Map::new(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(300),
            first_byte_timeout: None,
            idle_timeout: Duration::from_secs(60),
            max_body_bytes: 64 << 20,
            retry: RetryPolicy::default(),
        }
    }
}

impl OpenAiConfig {
    /// The defaults, with this model. Reads nothing from the environment: see [`from_env`](Self::from_env).
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Sets the model.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets where the API is.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sets the key.
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the organization to bill.
    pub fn organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// Adds a header to each request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets the most tokens of a reply.
    pub fn max_tokens(mut self, tokens: impl Into<Option<u32>>) -> Self {
        self.max_tokens = tokens.into();
        self
    }

    /// Sets the sampling temperature.
    pub fn temperature(mut self, temperature: impl Into<Option<f64>>) -> Self {
        self.temperature = temperature.into();
        self
    }

    /// Adds a field to each request's body.
    pub fn extra(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra_body.insert(field.into(), value.into());
        self
    }

    /// Replaces the fields added to each request's body.
    pub fn extra_body(mut self, fields: Map<String, Value>) -> Self {
        self.extra_body = fields;
        self
    }

    /// Sets the longest wait for a connection.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the longest time of one try.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the longest wait for the first byte of the answer.
    pub fn first_byte_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.first_byte_timeout = limit.into();
        self
    }

    /// Sets the longest silence once an answer has begun.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// Sets the largest answer.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets how failed calls are tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Where requests go, once everything that can be checked without asking has been.
    pub(crate) fn check(&self) -> Result<Endpoint> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if self.model.trim().is_empty() {
            return wrong("no model is configured: set `model`, for example `gpt-5-mini`");
        }
        if self.temperature.is_some_and(|temperature| !temperature.is_finite()) {
            return wrong("the temperature is not a finite number");
        }
        if let Some(field) = RESERVED.iter().find(|field| self.extra_body.contains_key(**field)) {
            return wrong(&format!("`extra_body` must not set `{field}`"));
        }
        let endpoint = Endpoint::resolve(self.base_url.as_deref(), &self.model)?;
        let variables = endpoint.provider.map_or(&[] as &[_], |provider| provider.key_variables);
        if self.api_key.is_none() && !variables.is_empty() && !self.headers.keys().any(|name| is_key(name)) {
            let message = format!(
                "no API key for {}: set `{}` or `ABYME_API_KEY` in the environment or in `.env`",
                endpoint.host, variables[0]
            );
            return Err(Error::new(ErrorKind::Auth, message));
        }
        Ok(endpoint)
    }

    /// The headers of each request.
    pub(crate) fn header_map(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.api_key {
            let message = "the API key holds a line break, a space or another character that no key has";
            let sendable =
                !key.expose().is_empty() && key.expose().bytes().all(|byte| byte.is_ascii_graphic());
            let value = sendable.then(|| secret_value(&format!("Bearer {}", key.expose()))).flatten();
            let value = value.ok_or_else(|| Error::new(ErrorKind::Config, message))?;
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let organization = self.organization.iter().map(|value| ("OpenAI-Organization", value.as_str()));
        let others = self.headers.iter().map(|(name, value)| (name.as_str(), value.expose()));
        for (name, value) in organization.chain(others) {
            let wrong =
                || Error::new(ErrorKind::Config, format!("header `{}` cannot be sent", name.escape_debug()));
            let name = HeaderName::try_from(name).map_err(|_| wrong())?;
            headers.insert(name, secret_value(value).ok_or_else(wrong)?);
        }
        Ok(headers)
    }

    /// The mask of every secret in here.
    pub(crate) fn mask(&self) -> Mask {
        Mask::new(self.api_key.iter().chain(self.headers.values()).cloned())
    }
}

impl fmt::Debug for OpenAiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query can hold a key, and what comes before an `@` a password.
        let base_url = self.base_url.as_deref().map(|url| {
            let url = url.split(['?', '#']).next().unwrap_or_default();
            url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("***@{host}"))
        });
        f.debug_struct("OpenAiConfig")
            .field("model", &self.model)
            .field("base_url", &base_url)
            .field("api_key", &self.api_key)
            .field("organization", &self.organization)
            .field("headers", &self.headers)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .field("extra_body", &self.extra_body)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("first_byte_timeout", &self.first_byte_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("retry", &self.retry)
            .finish()
    }
}

fn secret_value(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a header says who asks, so that no API key is needed.
fn is_key(name: &str) -> bool {
    ["authorization", "api-key", "x-api-key", "x-goog-api-key"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Fields of the body that have a place of their own, or would change the form of the answer.
const RESERVED: &[&str] = &["model", "messages", "stream"];

#[cfg(test)]
mod tests;

//! The configuration as plain data, and its checks before anything is sent.

use std::{collections::BTreeMap, fmt, time::Duration};

use abyme_core::{Error, ErrorKind, Price, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    provider::Endpoint,
    secret::{Mask, Secret},
};

/// The plain data of an [`OpenAi`](crate::OpenAi), whose setters say what each field is for.
///
/// `Debug` hides secrets and serialising leaves them out; deserialising reads them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) api_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) headers: BTreeMap<String, Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
    #[serde(skip_serializing_if = "SystemRole::is_default")]
    pub(crate) system_role: SystemRole,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) extra_body: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reports_cost: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_input_tokens: Option<u64>,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) connect_timeout: Duration,
    #[serde(with = "abyme_core::seconds::option", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Duration>,
    #[serde(with = "abyme_core::seconds::option", skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte_timeout: Option<Duration>,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) idle_timeout: Duration,
    pub(crate) max_body_bytes: usize,
}

/// How messages of the system are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SystemRole {
    /// In their own role, which most models have.
    #[default]
    Own,
    /// At the beginning of the user's message that follows, for models whose chat template has no system.
    InUserMessage,
}

impl SystemRole {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            base_url: None,
            api_key: None,
            organization: None,
            headers: BTreeMap::new(),
            max_tokens: None,
            temperature: None,
            system_role: SystemRole::Own,
            extra_body: Map::new(),
            price: None,
            reports_cost: None,
            max_input_tokens: None,
            connect_timeout: Duration::from_secs(10),
            timeout: None,
            first_byte_timeout: None,
            idle_timeout: Duration::from_secs(60),
            max_body_bytes: 8 << 20,
        }
    }
}

impl Config {
    /// The defaults, with this model.
    pub(crate) fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Whether it sets an endpoint or a key: then no URL and no key of the environment may be mixed with it.
    pub(crate) fn names_endpoint_or_key(&self) -> bool {
        self.base_url.is_some() || self.has_key()
    }

    /// Whether requests carry a key, in whatever header.
    pub(crate) fn has_key(&self) -> bool {
        self.api_key.is_some() || self.headers.keys().any(|name| is_key(name))
    }

    /// Checks what can be checked without a request. Returns where requests go.
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
        if !variables.is_empty() && !self.has_key() {
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

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query can hold a key, and what comes before an `@` a password.
        let base_url = self.base_url.as_deref().map(|url| {
            let url = url.split(['?', '#']).next().unwrap_or_default();
            url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("***@{host}"))
        });
        f.debug_struct("OpenAi")
            .field("model", &self.model)
            .field("base_url", &base_url)
            .field("api_key", &self.api_key)
            .field("organization", &self.organization)
            .field("headers", &self.headers)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .field("system_role", &self.system_role)
            .field("extra_body", &self.extra_body)
            .field("price", &self.price)
            .field("reports_cost", &self.reports_cost)
            .field("max_input_tokens", &self.max_input_tokens)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("first_byte_timeout", &self.first_byte_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish()
    }
}

fn secret_value(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a header carries a key, so that no API key is needed.
fn is_key(name: &str) -> bool {
    ["authorization", "api-key", "x-api-key", "x-goog-api-key"]
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
}

/// Fields of the body that are set otherwise, or would change the form of the answer.
const RESERVED: &[&str] = &["model", "messages", "stream"];

#[cfg(test)]
mod tests;

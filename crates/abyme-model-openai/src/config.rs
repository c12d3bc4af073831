//! The configuration as plain data, and its checks before anything is sent.

use std::fmt;

use abyme_core::{Error, ErrorKind, Price, Result};
use abyme_model_http::{Headers, HttpConfig, Secret, shown};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::provider::{Api, Endpoint};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_version: Option<String>,
    #[serde(skip_serializing_if = "Api::is_default")]
    pub(crate) api: Api,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_effort: Option<String>,
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
    #[serde(flatten)]
    pub(crate) http: HttpConfig,
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
            project: None,
            api_version: None,
            api: Api::ChatCompletions,
            reasoning_effort: None,
            max_tokens: None,
            temperature: None,
            system_role: SystemRole::Own,
            extra_body: Map::new(),
            price: None,
            reports_cost: None,
            max_input_tokens: None,
            http: HttpConfig::default(),
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
        self.api_key.is_some() || self.http.has_key()
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
        let version = self.api_version.as_deref();
        let endpoint = Endpoint::resolve(self.base_url.as_deref(), &self.model, version)?;
        let variables = endpoint.key_variables();
        if !variables.is_empty() && !self.has_key() {
            let message = format!(
                "no API key for {}: set `{}` or `ABYME_API_KEY` in the environment or in `.env`",
                endpoint.host, variables[0]
            );
            return Err(Error::new(ErrorKind::Auth, message));
        }
        Ok(endpoint)
    }

    /// The headers of each request to `endpoint`, without the user's own.
    pub(crate) fn headers(&self, endpoint: &Endpoint) -> Result<Headers> {
        let mut headers = Headers::default();
        if let Some(key) = &self.api_key {
            let (name, scheme) =
                if endpoint.is_azure { ("api-key", "") } else { ("authorization", "Bearer ") };
            headers = headers.key(name, scheme, key)?;
        }
        for (name, value) in [("OpenAI-Organization", &self.organization), ("OpenAI-Project", &self.project)]
        {
            if let Some(value) = value {
                headers = headers.add(name, value)?;
            }
        }
        Ok(headers)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("model", &self.model)
            .field("base_url", &self.base_url.as_deref().map(shown))
            .field("api_key", &self.api_key)
            .field("organization", &self.organization)
            .field("project", &self.project)
            .field("api_version", &self.api_version)
            .field("api", &self.api)
            .field("reasoning_effort", &self.reasoning_effort)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .field("system_role", &self.system_role)
            .field("extra_body", &self.extra_body)
            .field("price", &self.price)
            .field("reports_cost", &self.reports_cost)
            .field("max_input_tokens", &self.max_input_tokens)
            .field("http", &self.http)
            .finish()
    }
}

/// Fields of the body that are set otherwise, or would change the form of the answer.
const RESERVED: &[&str] = &["model", "messages", "input", "stream"];

#[cfg(test)]
mod tests;

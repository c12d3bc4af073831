//! The configuration as plain data, and its checks before anything is sent.

use abyme_core::{Error, ErrorKind, Result};
use abyme_model_http::{Headers, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::provider::{Api, Endpoint};

/// The configuration of an [`OpenAi`](crate::OpenAi), whose setters say what each field is for.
pub(crate) type Config = ModelConfig<Options>;

/// What only this client can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
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
    #[serde(skip_serializing_if = "SystemRole::is_default")]
    pub(crate) system_role: SystemRole,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reports_cost: Option<bool>,
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

/// Checks what can be checked without a request. Returns where requests go.
pub(crate) fn check(config: &Config) -> Result<Endpoint> {
    if config.model.trim().is_empty() {
        let message = "no model is configured: set `model`, for example `gpt-5-mini`";
        return Err(Error::new(ErrorKind::Config, message));
    }
    config.check(RESERVED)?;
    let version = config.options.api_version.as_deref();
    let endpoint = Endpoint::resolve(config.base_url.as_deref(), &config.model, version)?;
    let variables = endpoint.key_variables();
    if !variables.is_empty() && !config.has_key() {
        let message = format!(
            "no API key for {}: set `{}` or `ABYME_API_KEY` in the environment or in `.env`",
            endpoint.host, variables[0]
        );
        return Err(Error::new(ErrorKind::Auth, message));
    }
    Ok(endpoint)
}

/// The headers of each request to `endpoint`, without the user's own.
pub(crate) fn headers(config: &Config, endpoint: &Endpoint) -> Result<Headers> {
    let mut headers = Headers::default();
    if let Some(key) = &config.api_key {
        let (name, scheme) = if endpoint.is_azure { ("api-key", "") } else { ("authorization", "Bearer ") };
        headers = headers.key(name, scheme, key)?;
    }
    for (name, value) in
        [("OpenAI-Organization", &config.options.organization), ("OpenAI-Project", &config.options.project)]
    {
        if let Some(value) = value {
            headers = headers.add(name, value)?;
        }
    }
    Ok(headers)
}
/// Fields of the body that are set otherwise, or would change the form of the answer.
const RESERVED: &[&str] = &["model", "messages", "input", "stream"];

#[cfg(test)]
mod tests;

//! The configuration as plain data, and what a model's name says.

use std::fmt;

use abyme_core::{Error, ErrorKind, Price, Result};
use abyme_model_http::{HttpConfig, Secret, Url, base_url, shown};
use genai::{ModelIden, adapter::AdapterKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The plain data of a [`Genai`](crate::Genai), whose setters say what each field is for.
///
/// `Debug` hides secrets and serialising leaves them out; deserialising reads them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) api_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) extra_body: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_input_tokens: Option<u64>,
    #[serde(flatten)]
    pub(crate) http: HttpConfig,
}

/// Whether models whose names begin with `prefix` and a `/` can be asked by this crate: `bedrock`, `vertex`,
/// `cohere` and the other names of genai's providers.
///
/// ```
/// assert!(abyme_model_genai::is_provider("cohere") && !abyme_model_genai::is_provider("nonesuch"));
/// ```
pub fn is_provider(prefix: &str) -> bool {
    adapter(prefix).is_some()
}

fn adapter(prefix: &str) -> Option<AdapterKind> {
    // Custom ones are configured by variables of the environment that no one else reads.
    let known =
        |name: &str| AdapterKind::from_lower_str(name).filter(|kind| !matches!(kind, AdapterKind::Custom(_)));
    match prefix {
        "bedrock" => known("bedrock_api"),
        "vertex_ai" => known("vertex"),
        other => known(other),
    }
}

/// The provider and the name there of a model that is written as `provider/name`.
pub(crate) fn identify(written: &str) -> Result<ModelIden> {
    let wrong = |why: String| Err(Error::new(ErrorKind::Config, why));
    let named = written.split_once('/').filter(|(_, name)| !name.trim().is_empty());
    let Some((prefix, name)) = named else {
        return wrong(format!("model `{written}` names no provider: write `cohere/command-a`, for example"));
    };
    match adapter(prefix) {
        Some(kind) => Ok(ModelIden::new(kind, name)),
        None => {
            let known: Vec<_> = AdapterKind::all().iter().map(AdapterKind::as_lower_str).collect();
            wrong(format!(
                "no provider `{prefix}` of model `{written}` is known; known are {}",
                known.join(", ")
            ))
        }
    }
}

impl Config {
    /// The defaults, with this model.
    pub(crate) fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Checks what can be checked without a request. Returns the URL that was given, as genai wants it.
    pub(crate) fn check(&self) -> Result<Option<Url>> {
        let model = identify(&self.model)?;
        if self.temperature.is_some_and(|temperature| !temperature.is_finite()) {
            return Err(Error::new(ErrorKind::Config, "the temperature is not a finite number"));
        }
        let variable = model.adapter_kind.default_key_env_name();
        let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
        // Whose URL is given may do without a key, and does not get one that it was not given.
        if let Some(variable) = variable.filter(|_| self.api_key.is_none() && self.base_url.is_none())
            && !is_set(variable)
        {
            let message = format!("no API key for `{}`: set `{variable}` in the environment", self.model);
            return Err(Error::new(ErrorKind::Auth, message));
        }
        let Some(base) = &self.base_url else { return Ok(None) };
        let mut url = base_url(base)?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Some(url))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Genai")
            .field("model", &self.model)
            .field("base_url", &self.base_url.as_deref().map(shown))
            .field("api_key", &self.api_key)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .field("effort", &self.effort)
            .field("extra_body", &self.extra_body)
            .field("price", &self.price)
            .field("max_input_tokens", &self.max_input_tokens)
            .field("http", &self.http)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_pinned_and_secrets_never_shown() {
        let defaults = json!({
            "model": "cohere/m", "connect_timeout": 10.0, "idle_timeout": 60.0, "max_body_bytes": 8_388_608,
        });
        assert_eq!(serde_json::to_value(Config::new("cohere/m")).unwrap(), defaults);
        assert_eq!(serde_json::from_value::<Config>(defaults).unwrap(), Config::new("cohere/m"));
        let config: Config =
            serde_json::from_value(json!({"model": "cohere/m", "api_key": "sk-canary"})).unwrap();
        assert!(config.api_key.is_some());
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn names_have_a_provider() {
        let identified = identify("bedrock/anthropic.claude-x-v1:0").unwrap();
        assert_eq!(identified.adapter_kind, AdapterKind::BedrockApi);
        assert_eq!(identified.model_name.to_string(), "anthropic.claude-x-v1:0");
        assert_eq!(identify("together/meta/llama").unwrap().model_name.to_string(), "meta/llama");
        for (wrong, part) in [
            ("command-a", "names no provider"),
            ("nonesuch/x", "known are"),
            ("cohere/", "names no provider"),
            ("genai_1/x", "known are"),
        ] {
            let error = identify(wrong).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn a_key_of_the_environment_is_asked_for_only_at_the_providers_own_endpoint() {
        let local = Config { base_url: Some("http://127.0.0.1:1/v1".into()), ..Config::new("cohere/m") };
        assert_eq!(local.check().unwrap().unwrap().as_str(), "http://127.0.0.1:1/v1/");
        let nan = Config { temperature: Some(f64::NAN), ..local };
        assert_eq!(nan.check().unwrap_err().kind(), ErrorKind::Config);
    }
}

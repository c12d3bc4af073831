//! The settings of a model's client as plain data.

use std::fmt;

use abyme_core::{Error, ErrorKind, Price, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{config::HttpConfig, secret::Secret, url::shown};

/// What every client of a model can be told, and `options`, which only its provider's can. The setters of the
/// clients say what each field is for.
///
/// `Debug` hides secrets and serialising leaves them out; deserialising reads them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig<O> {
    /// The model, as its user writes it.
    pub model: String,
    /// Where the API is. Default: the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The key.
    #[serde(skip_serializing)]
    pub api_key: Option<Secret>,
    /// The most tokens of a reply, unless the request says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// The sampling temperature, unless the request says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Fields that are added to each request's body.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// What the model's tokens cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// How many tokens a request may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_input_tokens: Option<u64>,
    /// What only clients of this provider can be told.
    #[serde(flatten)]
    pub options: O,
    /// How requests are sent.
    #[serde(flatten)]
    pub http: HttpConfig,
}

impl<O: Default> ModelConfig<O> {
    /// The defaults, with this model.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }
}

impl<O> ModelConfig<O> {
    /// Whether requests carry a key, in whatever header.
    pub fn has_key(&self) -> bool {
        self.api_key.is_some() || self.http.has_key()
    }

    /// Whether it sets an endpoint or a key: then no URL and no key of the environment may be mixed with it.
    pub(crate) fn names_endpoint_or_key(&self) -> bool {
        self.base_url.is_some() || self.has_key()
    }

    /// Checks what is the same for every provider. `reserved` are fields of the body that are set otherwise,
    /// or would change the form of the answer.
    ///
    /// # Errors
    /// `Config` if a setting cannot be used.
    pub fn check(&self, reserved: &[&str]) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if self.temperature.is_some_and(|temperature| !temperature.is_finite()) {
            return wrong("the temperature is not a finite number");
        }
        match reserved.iter().find(|field| self.extra_body.contains_key(**field)) {
            Some(field) => wrong(&format!("`extra_body` must not set `{field}`")),
            None => Ok(()),
        }
    }
}

impl<O: fmt::Debug> fmt::Debug for ModelConfig<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("ModelConfig", f)
    }
}

impl<O: fmt::Debug> ModelConfig<O> {
    /// Shows it under the name of a client.
    pub(crate) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("model", &self.model)
            .field("base_url", &self.base_url.as_deref().map(shown))
            .field("api_key", &self.api_key)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .field("extra_body", &self.extra_body)
            .field("price", &self.price)
            .field("max_input_tokens", &self.max_input_tokens)
            .field("options", &self.options)
            .field("http", &self.http)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Options {
        effort: Option<String>,
    }

    type Config = ModelConfig<Options>;

    #[test]
    fn options_stand_among_the_settings_and_secrets_are_never_shown() {
        let config: Config = serde_json::from_value(json!({
            "model": "m", "effort": "low", "max_tokens": 7, "idle_timeout": 2.5,
            "api_key": "sk-canary", "headers": {"authorization": "Bearer canary"},
            "base_url": "https://me:canary@example.com/x?key=canary",
        }))
        .unwrap();
        assert_eq!(config.options.effort.as_deref(), Some("low"));
        assert_eq!((config.max_tokens, config.http.idle_timeout.as_millis()), (Some(7), 2_500));
        assert!(config.has_key() && config.api_key.is_some() && config.names_endpoint_or_key());
        let written = Config { base_url: None, ..config.clone() };
        let shown = format!("{config:?} {}", serde_json::to_string(&written).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }

    #[test]
    fn what_cannot_work_is_said() {
        let error = |config: Config| config.check(&["stream"]).unwrap_err().to_string();
        let nan = Config { temperature: Some(f64::NAN), ..Config::new("m") };
        assert!(error(nan).contains("temperature"));
        let extra_body = [("stream".to_owned(), json!(false))].into_iter().collect();
        assert!(error(Config { extra_body, ..Config::new("m") }).contains("`stream`"));
        assert!(Config::new("m").check(&["stream"]).is_ok());
    }
}

//! The configuration as plain data, and its checks before anything is sent.

use std::fmt;

use abyme_core::{Error, ErrorKind, Price, Result};
use abyme_model_http::{Headers, HttpConfig, Provider, Secret, Url, base_url, host_of, shown};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Gemini, as names and the environment know it.
pub(crate) const PROVIDER: Provider = Provider {
    prefix: "gemini",
    example: "gemini-3-flash-preview",
    base_url: &["GOOGLE_GEMINI_BASE_URL"],
    keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
};

/// Where the API is.
const BASE_URL: &str = "https://generativelanguage.googleapis.com";

/// The version of the API that is spoken here, unless the base URL ends with another.
const VERSION: &str = "v1beta";

/// The plain data of an [`Gemini`](crate::Gemini), whose setters say what each field is for.
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
    pub(crate) thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) thoughts: bool,
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

impl Config {
    /// The defaults, with this model.
    pub(crate) fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Whether requests carry a key, in whatever header.
    pub(crate) fn has_key(&self) -> bool {
        self.api_key.is_some() || self.http.has_key()
    }

    /// Whether it sets an endpoint or a key: then no URL and no key of the environment may be mixed with it.
    pub(crate) fn names_endpoint_or_key(&self) -> bool {
        self.base_url.is_some() || self.has_key()
    }

    /// Checks what can be checked without a request. Returns where requests go.
    pub(crate) fn check(&self) -> Result<Url> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        PROVIDER.name_of(&self.model)?;
        if self.temperature.is_some_and(|temperature| !temperature.is_finite()) {
            return wrong("the temperature is not a finite number");
        }
        if let Some(field) = RESERVED.iter().find(|field| self.extra_body.contains_key(**field)) {
            return wrong(&format!("`extra_body` must not set `{field}`"));
        }
        let url = versioned(self.base_url.as_deref().unwrap_or(BASE_URL))?;
        if is_own(&url) && !self.has_key() {
            let host = host_of(&url);
            let message =
                format!("no API key for {host}: set `{}` in the environment or in `.env`", PROVIDER.keys[0]);
            return Err(Error::new(ErrorKind::Auth, message));
        }
        Ok(url)
    }

    /// The headers of each request, without the user's own.
    pub(crate) fn headers(&self) -> Result<Headers> {
        let headers = Headers::default();
        self.api_key.iter().try_fold(headers, |headers, key| headers.key("x-goog-api-key", "", key))
    }
}

/// Whether requests go to Google itself.
pub(crate) fn is_own(url: &Url) -> bool {
    base_url(BASE_URL).is_ok_and(|own| own.origin() == url.origin())
}

/// Where the API is, with its version.
fn versioned(base: &str) -> Result<Url> {
    let mut url = base_url(base)?;
    let path = url.path().trim_end_matches('/');
    let is_version = |name: &str| {
        name.strip_prefix('v').is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
    };
    let path = match path.rsplit('/').next().is_some_and(is_version) {
        true => path.to_owned(),
        false => format!("{path}/{VERSION}"),
    };
    url.set_path(&path);
    Ok(url)
}

/// Where a model is asked, at an API that is at `base`.
pub(crate) fn stream_url(base: &Url, model: &str) -> Url {
    let mut url = base.clone();
    // A name may say of which kind the model is: `tunedModels/x`.
    let model = if model.contains('/') { model.to_owned() } else { format!("models/{model}") };
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(format!("{model}:streamGenerateContent").split('/'));
    }
    url.query_pairs_mut().append_pair("alt", "sse");
    url
}

/// Where the server lists its models.
pub(crate) fn models_url(base: &Url) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.push("models");
    }
    url
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gemini")
            .field("model", &self.model)
            .field("base_url", &self.base_url.as_deref().map(shown))
            .field("api_key", &self.api_key)
            .field("max_tokens", &self.max_tokens)
            .field("temperature", &self.temperature)
            .field("thinking_budget", &self.thinking_budget)
            .field("thoughts", &self.thoughts)
            .field("effort", &self.effort)
            .field("extra_body", &self.extra_body)
            .field("price", &self.price)
            .field("max_input_tokens", &self.max_input_tokens)
            .field("http", &self.http)
            .finish()
    }
}

/// Fields of the body that are set otherwise, or would change the form of the answer.
const RESERVED: &[&str] = &["contents", "systemInstruction"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_pinned_and_secrets_never_shown() {
        let defaults = json!({
            "model": "m", "connect_timeout": 10.0, "idle_timeout": 60.0, "max_body_bytes": 8_388_608,
        });
        assert_eq!(serde_json::to_value(Config::new("m")).unwrap(), defaults);
        assert_eq!(serde_json::from_value::<Config>(defaults).unwrap(), Config::new("m"));
        let config: Config = serde_json::from_value(json!({
            "model": "m", "api_key": "sk-canary", "headers": {"authorization": "Bearer canary"},
            "base_url": "https://me:canary@example.com/x?key=canary",
        }))
        .unwrap();
        assert!(config.has_key() && config.api_key.is_some());
        let written = Config { base_url: None, ..config.clone() };
        let shown = format!("{config:?} {}", serde_json::to_string(&written).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn base_urls_with_and_without_a_version() {
        for (base, expected) in [
            (BASE_URL, "/v1beta/models/gemini-x:streamGenerateContent"),
            ("https://x.example/a/", "/a/v1beta/models/gemini-x:streamGenerateContent"),
            ("https://x.example/a/v1alpha", "/a/v1alpha/models/gemini-x:streamGenerateContent"),
            ("https://x.example/v1/", "/v1/models/gemini-x:streamGenerateContent"),
        ] {
            let url = stream_url(&versioned(base).unwrap(), "gemini-x");
            assert_eq!((url.path(), url.query()), (expected, Some("alt=sse")), "{base}");
        }
        let at = versioned("https://x.example?tenant=1").unwrap();
        let tuned = stream_url(&at, "tunedModels/a b?c");
        assert_eq!(
            tuned.as_str(),
            "https://x.example/v1beta/tunedModels/a%20b%3Fc:streamGenerateContent?tenant=1&alt=sse"
        );
        assert!(is_own(&versioned(BASE_URL).unwrap()) && !is_own(&at));
    }

    #[test]
    fn what_cannot_work_is_said() {
        let good = || Config { api_key: Some(Secret::new("sk")), ..Config::new("gemini/gemini-x") };
        assert!(good().check().is_ok());
        let kind = |config: Config| config.check().unwrap_err().kind();
        assert_eq!(kind(Config::new("gemini-x")), ErrorKind::Auth);
        for (config, part) in [
            (Config { model: "openai/gpt-5".into(), ..good() }, "openai/"),
            (Config { model: String::new(), ..good() }, "no model"),
            (Config { temperature: Some(f64::NAN), ..good() }, "temperature"),
            (Config { base_url: Some("localhost:1".into()), ..good() }, "base URL"),
            (
                Config { extra_body: json!({"contents": []}).as_object().unwrap().clone(), ..good() },
                "contents",
            ),
        ] {
            let error = config.check().unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.message().contains(part), "{error}");
        }
        let local = Config { base_url: Some("http://localhost:4000".into()), ..Config::new("gemini-x") };
        assert!(local.check().is_ok(), "a server of one's own may do without a key");
    }
}

//! The configuration as plain data, and what it resolves to before anything is sent.

use abyme_core::Result;
use abyme_model_http::{Headers, ModelConfig, Provider, Url};
use serde::{Deserialize, Serialize};

/// Gemini, as names and the environment know it.
pub(crate) const PROVIDER: Provider = Provider {
    prefix: "gemini",
    example: "gemini-3-flash-preview",
    endpoint: "https://generativelanguage.googleapis.com",
    base_url: &["GOOGLE_GEMINI_BASE_URL"],
    keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
};

/// The version of the API that is spoken here, unless the base URL ends with another.
const VERSION: &str = "v1beta";

/// The configuration of a [`Gemini`](crate::Gemini), whose setters say what each field is for.
pub(crate) type Config = ModelConfig<Options>;

/// What only this client can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<String>,
}

/// Checks what can be checked without a request. Returns where the API is.
pub(crate) fn check(config: &Config) -> Result<Url> {
    PROVIDER.check(config, RESERVED, versioned)
}

/// The headers of each request, without the user's own.
pub(crate) fn headers(config: &Config) -> Result<Headers> {
    let headers = Headers::default();
    config.api_key.iter().try_fold(headers, |headers, key| headers.key("x-goog-api-key", "", key))
}

/// Where the API is, with its version.
fn versioned(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/');
    let is_version = |name: &str| {
        name.strip_prefix('v').is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
    };
    let path = match path.rsplit('/').next().is_some_and(is_version) {
        true => path.to_owned(),
        false => format!("{path}/{VERSION}"),
    };
    url.set_path(&path);
    url
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

/// Fields of the body that are set otherwise, or would change the form of the answer.
const RESERVED: &[&str] = &["contents", "systemInstruction"];

#[cfg(test)]
mod tests {
    use abyme_core::ErrorKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let defaults = json!({
            "model": "m", "connect_timeout": 10.0, "idle_timeout": 60.0, "max_body_bytes": 8_388_608,
        });
        assert_eq!(serde_json::to_value(Config::new("m")).unwrap(), defaults);
        assert_eq!(serde_json::from_value::<Config>(defaults).unwrap(), Config::new("m"));
        let options = json!({"thinking_budget": 7, "thoughts": true, "effort": "low"});
        let config: Config = serde_json::from_value(options).unwrap();
        let expected = Options { thinking_budget: Some(7), thoughts: true, effort: Some("low".into()) };
        assert_eq!(config.options, expected);
    }

    #[test]
    fn base_urls_with_and_without_a_version() {
        for (base, expected) in [
            (PROVIDER.endpoint, "/v1beta/models/gemini-x:streamGenerateContent"),
            ("https://x.example/a/", "/a/v1beta/models/gemini-x:streamGenerateContent"),
            ("https://x.example/a/v1alpha", "/a/v1alpha/models/gemini-x:streamGenerateContent"),
            ("https://x.example/v1/", "/v1/models/gemini-x:streamGenerateContent"),
        ] {
            let url = stream_url(&versioned(base.parse().unwrap()), "gemini-x");
            assert_eq!((url.path(), url.query()), (expected, Some("alt=sse")), "{base}");
        }
        let at = versioned("https://x.example?tenant=1".parse().unwrap());
        let tuned = stream_url(&at, "tunedModels/a b?c");
        assert_eq!(
            tuned.as_str(),
            "https://x.example/v1beta/tunedModels/a%20b%3Fc:streamGenerateContent?tenant=1&alt=sse"
        );
    }

    #[test]
    fn what_cannot_work_is_said() {
        let good = || Config { api_key: Some("sk".into()), ..Config::new("gemini/gemini-x") };
        assert!(check(&good()).is_ok());
        let kind = |config: Config| check(&config).unwrap_err().kind();
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
            let error = check(&config).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.message().contains(part), "{error}");
        }
        let local = Config { base_url: Some("http://localhost:4000".into()), ..Config::new("gemini-x") };
        assert!(check(&local).is_ok(), "a server of one's own may do without a key");
    }
}

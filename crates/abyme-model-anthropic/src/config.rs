//! The configuration as plain data, and what it resolves to before anything is sent.

use abyme_core::Result;
use abyme_model_http::{Headers, ModelConfig, Provider, Url};
use serde::{Deserialize, Serialize};

/// Anthropic, as names and the environment know it.
pub(crate) const PROVIDER: Provider = Provider {
    prefix: "anthropic",
    example: "claude-haiku-4-5",
    endpoint: "https://api.anthropic.com",
    base_url: &["ANTHROPIC_BASE_URL"],
    keys: &["ANTHROPIC_API_KEY"],
};

/// The version of the API that is spoken here.
const VERSION: &str = "2023-06-01";

/// The configuration of an [`Anthropic`](crate::Anthropic), whose setters say what each field is for.
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

/// Checks what can be checked without a request. Returns where requests go.
pub(crate) fn check(config: &Config) -> Result<Url> {
    PROVIDER.check(config, RESERVED, messages_url)
}

/// The headers of each request, without the user's own.
pub(crate) fn headers(config: &Config) -> Result<Headers> {
    let headers = Headers::default().add("anthropic-version", VERSION)?;
    config.api_key.iter().try_fold(headers, |headers, key| headers.key("x-api-key", "", key))
}

/// Where messages go, whichever part of the address the base URL ends with.
fn messages_url(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').trim_end_matches("/messages").trim_end_matches("/v1");
    let path = format!("{path}/v1/messages");
    url.set_path(&path);
    url
}

/// Where the server lists its models, beside the messages.
pub(crate) fn models_url(messages: &Url) -> Url {
    let mut url = messages.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop().push("models");
    }
    url
}

/// Fields of the body that are set otherwise, or would change the form of the answer.
const RESERVED: &[&str] = &["model", "messages", "system", "stream"];

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
    fn base_urls_with_and_without_the_path() {
        for base in [
            "https://x.example/a",
            "https://x.example/a/",
            "https://x.example/a/v1",
            "https://x.example/a/v1/messages/",
        ] {
            let url = messages_url(base.parse().unwrap());
            assert_eq!(url.as_str(), "https://x.example/a/v1/messages", "{base}");
        }
    }

    #[test]
    fn what_cannot_work_is_said() {
        let good = || Config { api_key: Some("sk".into()), ..Config::new("anthropic/claude-x") };
        assert!(check(&good()).is_ok());
        let kind = |config: Config| check(&config).unwrap_err().kind();
        assert_eq!(kind(Config::new("claude-x")), ErrorKind::Auth);
        for (config, part) in [
            (Config { model: "openai/gpt-5".into(), ..good() }, "openai/"),
            (Config { model: String::new(), ..good() }, "no model"),
            (Config { temperature: Some(f64::NAN), ..good() }, "temperature"),
            (Config { base_url: Some("localhost:1".into()), ..good() }, "base URL"),
            (
                Config { extra_body: json!({"stream": false}).as_object().unwrap().clone(), ..good() },
                "stream",
            ),
        ] {
            let error = check(&config).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.message().contains(part), "{error}");
        }
        let local = Config { base_url: Some("http://localhost:4000".into()), ..Config::new("claude-x") };
        assert!(check(&local).is_ok(), "a server of one's own may do without a key");
    }
}

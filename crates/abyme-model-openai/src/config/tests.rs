//! Defaults, and errors of the configuration that surface before anything is sent.

use std::time::Duration;

use abyme_model_http::{HttpClient, HttpConfig};
use serde_json::Map;

use super::*;

fn with_key(config: Config, key: &str) -> Config {
    Config { api_key: Some(key.into()), ..config }
}

fn with_header(mut config: Config, name: &str, value: &str) -> Config {
    config.http.headers.insert(name.to_owned(), value.into());
    config
}

#[test]
fn defaults_are_pinned() {
    assert_eq!(
        serde_json::to_value(Config::default()).unwrap(),
        serde_json::json!({
            "model": "",
            "connect_timeout": 10.0,
            "idle_timeout": 60.0,
            "max_body_bytes": 8_388_608,
        })
    );
    assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    let endpoint = check(&with_key(Config::new("gpt-5-mini"), "sk-1234")).unwrap();
    let client = HttpClient::new(&endpoint.models_url(), &HttpConfig::default(), Headers::default()).unwrap();
    assert_eq!(client.allow(None).total(), Duration::from_secs(300));
    let url = endpoint.url(Api::ChatCompletions, "gpt-5-mini");
    assert_eq!(url.as_str(), "https://api.openai.com/v1/chat/completions");
}

#[test]
fn secrets_are_read_but_never_written() {
    let config: Config = serde_json::from_value(serde_json::json!({
        "model": "x", "api_key": "sk-canary-1", "headers": {"X-Key": "sk-canary-2"},
        "base_url": "https://me:sk-canary-3@x.example/v1?key=sk-canary-4",
    }))
    .unwrap();
    assert_eq!(config.api_key.as_ref().unwrap().expose(), "sk-canary-1");
    assert!(!format!("{config:?}{config:#?}").contains("canary"), "{config:?}");
    let config = Config { base_url: None, ..config };
    assert!(!serde_json::to_string(&config).unwrap().contains("canary"));
}

#[test]
fn errors_do_not_show_the_key() {
    let good = || with_key(Config::new("gpt-5"), "sk-canary");
    let wrong = |config: Config| {
        let error = check(&config).and_then(|endpoint| headers(&config, &endpoint)).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        (error.kind(), error.to_string())
    };
    assert!(wrong(Config { model: " ".to_owned(), ..good() }).1.contains("no model"));
    assert!(wrong(Config { temperature: Some(f64::NAN), ..good() }).1.contains("temperature"));
    assert!(
        wrong(Config { extra_body: Map::from_iter([("stream".to_owned(), true.into())]), ..good() })
            .1
            .contains("`stream`")
    );
    let (kind, message) = wrong(Config::new("groq/x"));
    assert_eq!(kind, ErrorKind::Auth);
    assert!(message.contains("api.groq.com") && message.contains("GROQ_API_KEY"), "{message}");
}

#[test]
fn a_server_of_ones_own_needs_no_key() {
    let base_url = Some("http://localhost:8000".to_owned());
    assert!(check(&Config { base_url, ..Config::new("x") }).is_ok());
    assert!(check(&Config::new("ollama/x")).is_ok());
    assert!(check(&with_header(Config::new("x"), "api-key", "abcd")).is_ok());
    let azure = Config { base_url: Some("https://me.openai.azure.com".to_owned()), ..Config::new("azure/x") };
    assert!(check(&azure).unwrap_err().to_string().contains("AZURE_API_KEY"));
}

//! Defaults, and mistakes that show before anything is sent.

use super::*;

#[test]
fn defaults_are_pinned() {
    assert_eq!(
        serde_json::to_value(OpenAiConfig::default()).unwrap(),
        serde_json::json!({
            "model": "",
            "connect_timeout": {"secs": 10, "nanos": 0},
            "timeout": {"secs": 300, "nanos": 0},
            "idle_timeout": {"secs": 60, "nanos": 0},
            "max_body_bytes": 67_108_864,
            "retry": RetryPolicy::default(),
        })
    );
    assert_eq!(serde_json::from_str::<OpenAiConfig>("{}").unwrap(), OpenAiConfig::default());
    let endpoint = OpenAiConfig::new("gpt-5-mini").api_key("sk-1234").check().unwrap();
    assert_eq!(endpoint.url.as_str(), "https://api.openai.com/v1/chat/completions");
}

#[test]
fn secrets_are_read_but_never_written() {
    let config: OpenAiConfig = serde_json::from_value(serde_json::json!({
        "model": "x", "api_key": "sk-canary-1", "headers": {"X-Key": "sk-canary-2"},
        "base_url": "https://me:sk-canary-3@x.example/v1?key=sk-canary-4",
    }))
    .unwrap();
    assert_eq!(config.api_key.as_ref().unwrap().expose(), "sk-canary-1");
    assert!(!format!("{config:?}{config:#?}").contains("canary"), "{config:?}");
    let config = OpenAiConfig { base_url: None, ..config };
    assert!(!serde_json::to_string(&config).unwrap().contains("canary"));
}

#[test]
fn mistakes_are_named_without_the_key() {
    let good = || OpenAiConfig::new("gpt-5").api_key("sk-canary");
    let wrong = |config: OpenAiConfig| {
        let error = config.check().and_then(|_| config.header_map()).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        (error.kind(), error.to_string())
    };
    for key in ["sk-canary\n", "sk canary", " sk-canary", "sk-canary\u{e9}", "\u{feff}sk-canary", ""] {
        let (kind, message) = wrong(good().api_key(key));
        assert_eq!(kind, ErrorKind::Config);
        assert!(message.contains("API key"), "{message}");
    }
    assert!(wrong(good().model(" ")).1.contains("no model"));
    assert!(wrong(good().temperature(f64::NAN)).1.contains("temperature"));
    assert!(wrong(good().extra("stream", true)).1.contains("`stream`"));
    assert!(wrong(good().header("a b", "c")).1.contains("`a b`"));
    assert!(wrong(good().header("X-Key", "canary\r\nHost: x")).1.contains("`X-Key`"));
    let (kind, message) = wrong(OpenAiConfig::new("groq/x"));
    assert_eq!(kind, ErrorKind::Auth);
    assert!(message.contains("api.groq.com") && message.contains("GROQ_API_KEY"), "{message}");
}

#[test]
fn a_server_of_ones_own_needs_no_key() {
    assert!(OpenAiConfig::new("x").base_url("http://localhost:8000").check().is_ok());
    assert!(OpenAiConfig::new("ollama/x").check().is_ok());
    assert!(OpenAiConfig::new("x").header("api-key", "abcd").check().is_ok());
}

//! Requests as they are written.

use serde_json::Map;

use super::*;
use crate::config::Options;

fn sent(config: &Config, request: &Request) -> String {
    demanded(config, request, Demands::default())
}

fn demanded(config: &Config, request: &Request, demands: Demands) -> String {
    written(config, request, Form { demands, ..Form::default() })
}

fn written(config: &Config, request: &Request, form: Form) -> String {
    let endpoint = Endpoint::resolve(Some("http://localhost:8000"), "m", None).unwrap();
    String::from_utf8(body(request, "m", &endpoint, config, form).unwrap().0.to_vec()).unwrap()
}

#[test]
fn a_request_wins_over_the_configuration_and_extra_fields_over_both() {
    let config = Config {
        max_tokens: Some(10),
        temperature: Some(0.5),
        extra_body: Map::from_iter([("top_p".to_owned(), 0.9.into())]),
        ..Config::new("m")
    };
    let request = Request::prompt("hi");
    let start = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]"#;
    assert_eq!(
        sent(&config, &request),
        format!(r#"{start},"max_tokens":10,"temperature":0.5,"top_p":0.9}}"#)
    );
    let other = request.clone().max_tokens(20).temperature(1.0);
    assert_eq!(sent(&config, &other), format!(r#"{start},"max_tokens":20,"temperature":1.0,"top_p":0.9}}"#));
    let mut config = config;
    config.extra_body.insert("max_completion_tokens".to_owned(), 7.into());
    config.extra_body.insert("temperature".to_owned(), Value::Null);
    assert_eq!(sent(&config, &other), format!(r#"{start},"max_completion_tokens":7,"top_p":0.9}}"#));
    assert_eq!(sent(&Config::new("m"), &request), format!("{start}}}"));
    let openrouter = Endpoint::resolve(None, "openrouter/a/b", None).unwrap();
    let (body, _) = body(&request, "a/b", &openrouter, &Config::new("x"), Form::default()).unwrap();
    assert!(String::from_utf8_lossy(&body).ends_with(r#""usage":{"include":true}}"#));
}

#[test]
fn what_a_server_demands_changes_the_request() {
    let config = Config { max_tokens: Some(10), temperature: Some(0.5), ..Config::new("m") };
    let request = Request::new(vec![Message::system("rules"), Message::user("task")]);
    let other = Demands { other_max_tokens: true, ..Demands::default() };
    assert!(demanded(&config, &request, other).contains(r#""max_completion_tokens":10"#));
    let cool = Demands { no_temperature: true, ..Demands::default() };
    assert!(!demanded(&config, &request, cool).contains("temperature"));
    let merged = r#""messages":[{"role":"user","content":"rules\n\ntask"}]"#;
    let no_system = Demands { no_system_role: true, ..Demands::default() };
    assert!(demanded(&config, &request, no_system).contains(merged));
    let options = Options { system_role: SystemRole::InUserMessage, ..Options::default() };
    let config = Config { options, ..config };
    assert!(sent(&config, &request).contains(merged));
}

#[test]
fn a_schema_of_an_object_is_sent_unless_the_server_or_the_user_refuses_it() {
    let config = Config::new("m");
    let object = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"],
        "additionalProperties": false});
    let request = Request::prompt("hi").schema(object.clone());
    let written: Value = serde_json::from_str(&sent(&config, &request)).unwrap();
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "reply", "schema": object, "strict": true}});
    assert_eq!(written["response_format"], format);
    let refused = Demands { no_schema: true, ..Demands::default() };
    assert!(!demanded(&config, &request, refused).contains("response_format"));
    let list = Request::prompt("hi").schema(json!({"type": "array"}));
    assert!(!sent(&config, &list).contains("response_format"));
    let extra_body = Map::from_iter([("response_format".to_owned(), Value::Null)]);
    assert!(!sent(&Config { extra_body, ..config }, &request).contains("response_format"));
}

#[test]
fn only_what_can_be_held_to_the_letter_is_strict() {
    let object = |fields: Value, required: Value| {
        let mut object = json!({"type": "object", "additionalProperties": false});
        (object["properties"], object["required"]) = (fields, required);
        object
    };
    let n = json!({"n": {"type": "integer"}});
    let inner = object(n.clone(), json!(["n"]));
    assert!(is_strict(&object(json!({"a": {"type": "array", "items": inner}}), json!(["a"]))));
    assert!(is_strict(&object(json!({"a": {"anyOf": [inner, {"type": "null"}]}}), json!(["a"]))));
    for lax in [
        json!({"type": "object", "properties": n, "required": ["n"]}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        object(n.clone(), json!([])),
        object(json!({"a": {"type": "array", "uniqueItems": true}}), json!(["a"])),
        object(json!({"a": {"type": "array", "items": {"type": "object"}}}), json!(["a"])),
    ] {
        assert!(!is_strict(&lax), "{lax}");
    }
}

#[test]
fn a_stream_asks_for_its_usage() {
    let config = Config::new("m");
    let streamed = |demands| {
        let body = written(&config, &Request::prompt("hi"), Form { demands, is_streamed: true });
        body.split_once("}],").unwrap().1.to_owned()
    };
    assert_eq!(streamed(Demands::default()), r#""stream":true,"stream_options":{"include_usage":true}}"#);
    assert_eq!(streamed(Demands { no_stream_usage: true, ..Demands::default() }), r#""stream":true}"#);
}

#[test]
fn the_responses_api_has_other_names() {
    let options =
        Options { api: Api::Responses, reasoning_effort: Some("low".to_owned()), ..Options::default() };
    let config = Config { options, max_tokens: Some(10), ..Config::new("m") };
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let request = Request::prompt("hi").temperature(0.5).schema(schema.clone());
    let body: Value =
        serde_json::from_str(&written(&config, &request, Form { is_streamed: true, ..Form::default() }))
            .unwrap();
    let format = json!({"name": "reply", "schema": schema, "strict": true, "type": "json_schema"});
    let expected = json!({
        "model": "m", "input": [{"role": "user", "content": "hi"}], "max_output_tokens": 10,
        "reasoning": {"effort": "low"}, "store": false, "stream": true, "temperature": 0.5,
        "text": {"format": format},
    });
    assert_eq!(body, expected);
    let mut chat = config;
    chat.options.api = Api::ChatCompletions;
    assert!(sent(&chat, &request).contains(r#""reasoning_effort":"low""#));
    let refused = Demands { no_reasoning_effort: true, responses: true, ..Demands::default() };
    let body = demanded(&chat, &request, refused);
    assert!(body.contains(r#""input""#) && !body.contains("reasoning"), "{body}");
}

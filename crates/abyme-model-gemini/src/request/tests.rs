//! A request, as the API takes it.

use abyme_core::Message;

use super::*;
use crate::config::Options;

fn sent(request: &Request, config: &Config, demands: Demands) -> Value {
    serde_json::from_slice(&body(request, config, demands).unwrap().0).unwrap()
}

#[test]
fn the_system_has_a_field_and_roles_take_turns() {
    let request = Request::new(vec![
        Message::system("rules"),
        Message::user("task"),
        Message::user(""),
        Message::user("more"),
        Message::assistant("code"),
        Message::system("late"),
        Message::user("output"),
    ]);
    assert_eq!(
        sent(&request, &Config::default(), Demands::default()),
        json!({
            "systemInstruction": {"parts": [{"text": "rules"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "task"}, {"text": "more"}]},
                {"role": "model", "parts": [{"text": "code"}]},
                {"role": "user", "parts": [{"text": "late"}, {"text": "output"}]},
            ],
        })
    );
    let alone = sent(&Request::new(vec![Message::system("do it")]), &Config::default(), Demands::default());
    assert_eq!(alone, json!({"contents": [{"role": "user", "parts": [{"text": "do it"}]}]}));
    let empty = body(&Request::prompt(""), &Config::default(), Demands::default()).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::BadRequest);
}

#[test]
fn a_request_is_a_byte_prefix_of_the_next() {
    let mut messages = vec![Message::system("rules"), Message::user("task")];
    let mut before = Vec::new();
    for turn in 0..4 {
        let (body, _) =
            body(&Request::new(messages.clone()), &Config::default(), Demands::default()).unwrap();
        // All but the brackets that close the conversation.
        let open = body.strip_suffix(b"]}]}").unwrap().to_vec();
        assert!(open.starts_with(&before), "turn {turn}");
        before = open;
        messages.push(Message::assistant(format!("code {turn}")));
        messages.push(Message::user(format!("output {turn}")));
    }
}

#[test]
fn the_request_counts_before_the_configuration() {
    let config = Config { max_tokens: Some(100), temperature: Some(0.5), ..Config::default() };
    let generation =
        |request: &Request| sent(request, &config, Demands::default())["generationConfig"].clone();
    assert_eq!(generation(&Request::prompt("?")), json!({"maxOutputTokens": 100, "temperature": 0.5}));
    assert_eq!(
        generation(&Request::prompt("?").max_tokens(7).temperature(0.0)),
        json!({"maxOutputTokens": 7, "temperature": 0.0})
    );
}

#[test]
fn thoughts_and_schemas_are_left_out_where_they_are_refused() {
    let options = Options { thoughts: true, thinking_budget: Some(0), effort: Some("low".to_owned()) };
    let config = Config { options, ..Config::default() };
    let request = Request::prompt("?").schema(json!({"type": "object", "$schema": "x"}));
    let body = sent(&request, &config, Demands::default());
    assert_eq!(
        body["generationConfig"],
        json!({
            "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 0, "thinkingLevel": "low"},
            "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"},
        })
    );
    let body = sent(&request, &config, Demands { no_thinking: true, no_schema: true });
    assert!(body.get("generationConfig").is_none(), "{body}");
}

#[test]
fn added_fields_win_also_inside_of_ours() {
    let extra =
        json!({"generationConfig": {"topK": 5, "temperature": null}, "safetySettings": [], "x": null});
    let config = Config {
        temperature: Some(1.0),
        max_tokens: Some(9),
        extra_body: extra.as_object().unwrap().clone(),
        ..Config::default()
    };
    let body = sent(&Request::prompt("?"), &config, Demands::default());
    assert_eq!(body["generationConfig"], json!({"topK": 5, "maxOutputTokens": 9}));
    assert!(body["safetySettings"] == json!([]) && body.get("x").is_none());
}

//! A request, as the API takes it.

use abyme_core::Message;

use super::*;
use crate::config::Options;

fn sent(request: &Request, config: &Config) -> Value {
    sent_on(request, config, Demands::default())
}

fn sent_on(request: &Request, config: &Config, demands: Demands) -> Value {
    let (body, _) = body(request, "claude", Some(64_000), config, demands).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn with(options: Options) -> Config {
    Config { options, ..Config::default() }
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn kept(text: &str) -> Value {
    json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}})
}

#[test]
fn the_system_has_a_field_and_roles_take_turns() {
    let request = Request::new(vec![
        Message::system("rules"),
        Message::user("task"),
        Message::user("  \n"),
        Message::user("more"),
        Message::assistant("code"),
        Message::system("late"),
        Message::user("output"),
    ])
    .cache_points([0, 6]);
    assert_eq!(
        sent(&request, &Config::default()),
        json!({
            "model": "claude", "stream": true, "max_tokens": 32_000, "system": [kept("rules")],
            "messages": [
                {"role": "user", "content": [text("task"), text("more")]},
                {"role": "assistant", "content": [text("code")]},
                {"role": "user", "content": [text("late"), kept("output")]},
            ],
        })
    );
}

#[test]
fn a_cache_point_stays_near_its_message_and_there_are_four_at_most() {
    let messages = (0..8).map(|at| Message::user(if at == 5 { String::new() } else { at.to_string() }));
    let request = Request::new(messages.collect()).cache_points([7, 0, 1, 2, 5, 3, 99, 7]);
    let body = sent(&request, &Config::default());
    let content = body["messages"][0]["content"].as_array().unwrap();
    let marked = content.iter().filter(|block| block.get("cache_control").is_some());
    let marked: Vec<_> = marked.map(|block| block["text"].as_str().unwrap()).collect();
    // The empty message 5 is not sent: the point is at what comes before it.
    assert_eq!(marked, ["0", "3", "4", "7"]);
}

#[test]
fn a_reply_can_be_begun_and_a_request_of_the_system_alone_is_the_users() {
    let begun = Request::new(vec![Message::user("?"), Message::assistant("```python\n")]);
    let last = sent(&begun, &Config::default())["messages"][1].clone();
    assert_eq!(last, json!({"role": "assistant", "content": [text("```python")]}));
    let alone = Request::new(vec![Message::system("do it")]);
    let body = sent(&alone, &Config::default());
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text("do it")]}]));
    assert!(body.get("system").is_none());
    let empty = Request::new(vec![Message::user(" ")]);
    let error = body_error(&empty);
    assert_eq!(error.kind(), ErrorKind::BadRequest);
}

fn body_error(request: &Request) -> Error {
    body(request, "claude", None, &Config::default(), Demands::default()).unwrap_err()
}

#[test]
fn the_most_tokens_are_always_said() {
    let prompt = Request::prompt("?");
    let max_tokens = |request: &Request, config: &Config, most: Option<u64>| {
        let (body, _) = body(request, "claude", most, config, Demands::default()).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["max_tokens"].clone()
    };
    let config = Config::default();
    assert_eq!(max_tokens(&prompt, &config, None), 32_000);
    assert_eq!(max_tokens(&prompt, &config, Some(8_192)), 8_192);
    let thinking = with(Options { thinking_budget: Some(10_000), ..Options::default() });
    assert_eq!(max_tokens(&prompt, &thinking, Some(64_000)), 42_000);
    let config = Config { max_tokens: Some(500), ..Config::default() };
    assert_eq!(max_tokens(&prompt, &config, Some(100)), 500);
    assert_eq!(max_tokens(&prompt.max_tokens(7), &config, None), 7);
}

#[test]
fn thoughts_leave_room_for_the_reply_and_have_no_temperature() {
    let prompt = Request::prompt("?").temperature(0.2);
    let config = with(Options { thinking_budget: Some(10_000), ..Options::default() });
    let body = sent(&prompt, &config);
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 10_000}));
    assert!(body.get("temperature").is_none());
    let short = sent(&prompt.clone().max_tokens(4_000), &config);
    assert_eq!(short["thinking"]["budget_tokens"], 3_999);
    let tiny = sent(&prompt.clone().max_tokens(1_000), &config);
    assert!(tiny.get("thinking").is_none() && tiny["temperature"] == 0.2);

    let other = Demands { other_thinking: true, ..Demands::default() };
    let adaptive = json!({"type": "adaptive", "display": "summarized"});
    assert_eq!(sent_on(&prompt, &config, other)["thinking"], adaptive);
    let thoughts = with(Options { thoughts: true, ..Options::default() });
    assert_eq!(sent(&prompt, &thoughts)["thinking"], adaptive);
    assert_eq!(sent_on(&prompt, &thoughts, other)["thinking"]["budget_tokens"], 8_192);
    let off = with(Options { thinking_budget: Some(0), ..Options::default() });
    let body = sent(&prompt, &off);
    assert!(body["thinking"] == json!({"type": "disabled"}) && body["temperature"] == 0.2);
}

#[test]
fn what_the_model_refuses_is_left_out_and_what_the_user_adds_wins() {
    let request = Request::prompt("?")
        .temperature(0.5)
        .schema(json!({"type": "object", "properties": {"a": {"type": "string"}}}));
    let config = with(Options { effort: Some("low".to_owned()), ..Options::default() });
    let body = sent(&request, &config);
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(body["output_config"]["effort"], "low");
    assert_eq!(body["output_config"]["format"]["schema"]["additionalProperties"], false);
    let all = Demands { no_temperature: true, no_schema: true, no_effort: true, ..Demands::default() };
    let body = sent_on(&request, &config, all);
    assert!(body.get("temperature").is_none() && body.get("output_config").is_none(), "{body}");

    let extra = json!({"temperature": null, "output_config": {"effort": "max"}, "top_k": 5});
    let config = Config { extra_body: extra.as_object().unwrap().clone(), ..config };
    let body = sent(&request, &config);
    assert!(body.get("temperature").is_none());
    assert_eq!((&body["output_config"], &body["top_k"]), (&json!({"effort": "max"}), &json!(5)));
}

#[test]
fn a_request_is_a_prefix_of_the_next_but_for_the_cache_point() {
    let mut messages = vec![Message::system("rules"), Message::user("task")];
    let mut before: Option<Value> = None;
    for turn in 0..4 {
        let last = messages.len() - 1;
        let request = Request::new(messages.clone()).cache_points([0, last]);
        let mut body = sent(&request, &Config::default());
        let marks = body.to_string().matches("cache_control").count();
        assert_eq!(marks, 2, "the system's and the last message's");
        for message in body["messages"].as_array_mut().unwrap() {
            for block in message["content"].as_array_mut().unwrap() {
                block.as_object_mut().unwrap().remove("cache_control");
            }
        }
        if let Some(before) = &before {
            assert_eq!(body["system"], before["system"]);
            let said = before["messages"].as_array().unwrap();
            assert_eq!(&body["messages"].as_array().unwrap()[..said.len()], &said[..]);
        }
        before = Some(body);
        messages.push(Message::assistant(format!("code {turn}")));
        messages.push(Message::user(format!("output {turn}")));
    }
}

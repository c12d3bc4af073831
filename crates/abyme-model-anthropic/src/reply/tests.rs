//! What the API answers, as a response.

use serde_json::json;

use super::*;

/// What events add up to, and what they said on the way.
fn fold(events: &[Value]) -> (Response, Vec<Delta>) {
    let (mut reply, mut news, mut progress) = (Reply::default(), VecDeque::new(), Progress::Open);
    for event in events {
        progress = reply.take(event, &mut news).unwrap();
    }
    assert_eq!(progress, Progress::Done);
    (reply.take_response(), news.into())
}

fn start(usage: Value) -> Value {
    json!({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [], "stop_reason": null, "usage": usage,
    }})
}

fn stop(reason: &str, output: u64) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason},
               "usage": {"output_tokens": output}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn pieces_add_up_to_the_reply() {
    let mut events = vec![
        start(json!({"input_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20,
                     "output_tokens": 1})),
        json!({"type": "content_block_start", "index": 0,
               "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0,
               "delta": {"type": "thinking_delta", "thinking": "Well"}}),
        json!({"type": "content_block_delta", "index": 0,
               "delta": {"type": "signature_delta", "signature": "abc"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Par"}}),
        json!({"type": "an_event_of_the_future", "index": 1}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "is"}}),
    ];
    events.extend(stop("end_turn", 12));
    let (response, news) = fold(&events);
    assert_eq!((response.text.as_str(), response.reasoning.as_str()), ("Paris", "Well"));
    assert_eq!(response.finish_reason, FinishReason::Stop);
    assert_eq!(response.model.as_deref(), Some("claude-haiku-4-5-20251001"));
    let usage = response.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(127), Some(12)));
    assert_eq!((usage.cached_tokens, usage.cache_write_tokens), (Some(100), Some(20)));
    let said: Vec<_> = news.iter().filter(|delta| !matches!(delta, Delta::Usage(_))).cloned().collect();
    assert_eq!(said, [Delta::Reasoning("Well".into()), Delta::Text("Par".into()), Delta::Text("is".into())]);
    assert_eq!(news.last(), Some(&Delta::Usage(usage)));
}

#[test]
fn a_message_that_comes_whole_is_the_same() {
    let message = json!({
        "type": "message", "model": "claude", "stop_reason": "tool_use",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "redacted_thinking", "data": "y"},
            {"type": "text", "text": "I run "}, {"type": "text", "text": "it."},
            {"type": "tool_use", "id": "t", "name": "python", "input": {"code": "1"}},
            {"type": "tool_use", "id": "u", "name": "other", "input": {}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 1}},
    });
    let (response, _) = fold(&[message]);
    assert_eq!((response.text.as_str(), response.reasoning.as_str()), ("I run it.", "hm"));
    assert_eq!(response.native_call, Some(NativeCall::new("python", r#"{"code":"1"}"#)));
    assert_eq!(response.finish_reason, FinishReason::Other("tool_use".into()));
    assert_eq!((response.usage.input_tokens, response.usage.cached_tokens), (Some(3), None));
    assert_eq!(response.usage.reasoning_tokens, Some(1));
}

#[test]
fn the_arguments_of_a_call_come_in_pieces() {
    let piece = |index: u64, json: &str| {
        json!({"type": "content_block_delta", "index": index,
               "delta": {"type": "input_json_delta", "partial_json": json}})
    };
    let open = |index: u64, name: &str| {
        json!({"type": "content_block_start", "index": index,
               "content_block": {"type": "tool_use", "name": name, "input": {}}})
    };
    let mut events =
        vec![open(1, "python"), piece(1, "{\"co"), open(2, "other"), piece(2, "{}"), piece(1, "de\": 1}")];
    events.extend(stop("tool_use", 5));
    let (response, _) = fold(&events);
    assert_eq!(response.native_call, Some(NativeCall::new("python", "{\"code\": 1}")));
}

#[test]
fn each_reason_to_stop_has_its_meaning() {
    for (reason, expected) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Other("pause_turn".into())),
        ("tool_use", FinishReason::Other("tool_use".into())),
    ] {
        assert_eq!(fold(&stop(reason, 1)).0.finish_reason, expected, "{reason}");
    }
}

#[test]
fn absurd_counts_are_unknown_and_a_second_finish_changes_nothing_but_the_counts() {
    let absurd = json!({"input_tokens": -1, "cache_read_input_tokens": 1e300, "output_tokens": "many",
                        "cache_creation_input_tokens": u64::MAX});
    let mut events = vec![start(absurd), json!({"type": "message_delta", "usage": [1, 2]})];
    let (response, _) = fold(&[&events[..], &[json!({"type": "message_stop"})]].concat());
    assert_eq!(response.usage, Usage::call());
    events.extend(stop("end_turn", 3));
    events.extend(stop("end_turn", 4));
    let (response, _) = fold(&events);
    assert_eq!((response.usage.output_tokens, response.text.as_str()), (Some(4), ""));
}

#[test]
fn an_error_in_the_stream_is_one() {
    let (mut reply, mut news) = (Reply::default(), VecDeque::new());
    reply.take(&start(json!({"input_tokens": 9, "output_tokens": 1})), &mut news).unwrap();
    let event = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let error = ProviderError::find(&event).unwrap();
    assert_eq!(error.codes, ["overloaded_error"]);
    let expected = Unusable::failed(error).usage(Usage::tokens(9, 1));
    assert_eq!(reply.take(&event, &mut news), Err(expected));
    let bare = json!({"error": "upstream failed"});
    assert!(reply.take(&bare, &mut news).is_err());
    assert!(Reply::default().whole(&json!({"type": "message_start"})).is_err());
    assert!(Reply::default().whole(&json!([])).is_err());
}

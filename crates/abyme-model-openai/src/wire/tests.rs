//! The many forms of answers.

use serde_json::json;

use super::*;

fn answer(message: Value) -> Result<Response, Unusable> {
    completion(&json!({"choices": [{"message": message, "finish_reason": "stop"}]}))
}

#[test]
fn texts() {
    assert_eq!(answer(json!({"content": "hi", "refusal": null, "tool_calls": []})).unwrap().text, "hi");
    assert_eq!(answer(json!({"content": ""})).unwrap().text, "");
    let parts =
        json!({"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": []}, "b"]});
    assert_eq!(answer(parts).unwrap().text, "ab");
    assert_eq!(
        answer(json!({"content": "text", "tool_calls": [{"function": {"name": "f"}}]})).unwrap().text,
        "text"
    );
}

#[test]
fn a_message_without_a_text_is_a_reply() {
    let reply = |message: Value| answer(message).unwrap();
    assert_eq!(reply(json!({"content": null})).text, "");
    assert_eq!(reply(json!({"content": null, "reasoning_content": "hm"})).text, "");
    let called = reply(json!({"content": null, "tool_calls": [
        {"function": {"name": "python", "arguments": "{\"code\": \"1\"}"}}, {"function": {"name": "b"}},
    ]}));
    assert_eq!(called.native_call, Some(NativeCall::new("python", "{\"code\": \"1\"}")));
    let both = reply(json!({"content": "first", "function_call": {"name": "old", "arguments": {"a": 1}}}));
    assert_eq!((both.text.as_str(), both.native_call), ("first", Some(NativeCall::new("old", "{\"a\":1}"))));
    let custom = json!({"tool_calls": [{"type": "custom", "custom": {"name": "py", "input": "print(1)"}}]});
    assert_eq!(reply(custom).native_call, Some(NativeCall::new("py", "print(1)")));
    let filtered = json!({"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]});
    assert_eq!(completion(&filtered).unwrap().finish_reason, FinishReason::ContentFilter);
}

#[test]
fn answers_that_are_no_reply_say_why() {
    let nothing = "its `content` is neither a text nor a list of parts";
    assert_eq!(answer(json!({"content": 5})), Err(Unusable::malformed(nothing)));
    assert_eq!(answer(json!(null)), Err(Unusable::malformed("its first choice has no `message`")));
    for refused in [
        json!({"content": null, "refusal": "I can't."}),
        json!({"content": [{"type": "refusal", "refusal": "I can't."}]}),
    ] {
        assert_eq!(answer(refused), Err(Unusable::refused("I can't.")));
    }
    for wrong in [json!({}), json!([]), json!("x")] {
        assert_eq!(completion(&wrong), Err(Unusable::malformed("it has no `choices`")), "{wrong}");
    }
    assert!(completion(&json!({"choices": []})).is_err() && completion(&json!({"choices": [null]})).is_err());
    let in_choice =
        json!({"choices": [{"error": {"code": 502, "message": "gone"}, "message": {"content": ""}}]});
    let failed = ProviderError::find(&in_choice["choices"][0]).unwrap();
    assert_eq!(completion(&in_choice), Err(Unusable::failed(failed)));
    assert!(completion(&json!({"error": null, "choices": [{"message": {"content": "x"}}]})).is_ok());
}

#[test]
fn thoughts_are_told_apart() {
    for field in ["reasoning_content", "reasoning"] {
        let mut message = json!({"content": "4"});
        message[field] = "2 and 2".into();
        let reply = answer(message).unwrap();
        assert_eq!((reply.text.as_str(), reply.reasoning.as_str()), ("4", "2 and 2"));
    }
    assert_eq!(answer(json!({"content": "4", "reasoning": {"x": 1}})).unwrap().reasoning, "");
}

#[test]
fn a_text_cut_by_the_length_limit_is_an_answer() {
    for content in [json!("so far"), json!(null)] {
        let cut = json!({"choices": [{"message": {"content": content}, "finish_reason": "length"}]});
        assert_eq!(completion(&cut).unwrap().finish_reason, FinishReason::Length);
    }
    assert_eq!(finish_reason(Some("MAX_TOKENS")), FinishReason::Length);
    assert_eq!(finish_reason(None), FinishReason::Stop);
    assert_eq!(finish_reason(Some("tool_calls")), FinishReason::Other("tool_calls".into()));
}

#[test]
fn usage_in_its_forms() {
    let told = json!({"prompt_tokens": "12", "completion_tokens": 3.0, "cost": 0.5,
        "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}});
    let counts = usage(Some(&told));
    assert_eq!((counts.calls, counts.input_tokens, counts.output_tokens), (1, Some(12), Some(3)));
    assert_eq!((counts.cached_tokens, counts.reasoning_tokens, counts.cost), (Some(4), Some(2), Some(0.5)));
    for unknown in
        [json!(null), json!({"prompt_tokens": -1, "completion_tokens": null, "cost": "NaN"}), json!(7)]
    {
        assert_eq!(usage(Some(&unknown)), Usage::call(), "{unknown}");
    }
    let cost = |told: Value| usage(Some(&told)).cost;
    assert_eq!(cost(json!({"cost": {"total_cost": 0.25}})), Some(0.25));
    assert_eq!(cost(json!({"estimated_cost": "1e-3"})), Some(0.001));
    assert_eq!(count(&json!(1e300)), None);
    assert_eq!(usage(None), Usage::call());
}

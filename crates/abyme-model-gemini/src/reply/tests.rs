//! What the API answers, as a response.

use serde_json::json;

use super::*;

fn fold(pieces: &[Value]) -> (Response, Vec<Delta>) {
    let (mut reply, mut news) = (Reply::default(), VecDeque::new());
    for piece in pieces {
        reply.take(piece, &mut news).unwrap();
    }
    (reply.take_response().unwrap(), news.into())
}

fn piece(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}]})
}

fn finished(reason: &str) -> Value {
    json!({"candidates": [{"finishReason": reason}]})
}

#[test]
fn pieces_add_up_to_the_reply() {
    let mut first = piece(json!([{"text": "Well", "thought": true}]));
    first["usageMetadata"] = json!({"promptTokenCount": 50, "totalTokenCount": 50});
    let mut last = piece(json!([{"text": "is", "thoughtSignature": "abc"}]));
    last["candidates"][0]["finishReason"] = json!("STOP");
    last["usageMetadata"] = json!({
        "promptTokenCount": 50, "cachedContentTokenCount": 40, "candidatesTokenCount": 2,
        "thoughtsTokenCount": 7, "totalTokenCount": 59,
    });
    last["modelVersion"] = json!("gemini-3-flash");
    last["responseId"] = json!("r1");
    let (response, news) = fold(&[first, piece(json!([{"text": "Par"}])), last]);
    assert_eq!((response.text.as_str(), response.reasoning.as_str()), ("Paris", "Well"));
    assert_eq!(response.model.as_deref(), Some("gemini-3-flash"));
    assert_eq!(response.request_id.as_deref(), Some("r1"));
    let usage = response.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(50), Some(9)));
    assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (Some(40), Some(7)));
    let said: Vec<_> = news.iter().filter(|delta| !matches!(delta, Delta::Usage(_))).cloned().collect();
    assert_eq!(said, [Delta::Reasoning("Well".into()), Delta::Text("Par".into()), Delta::Text("is".into())]);
}

#[test]
fn a_filter_that_cut_the_reply_is_its_end_and_one_that_blocked_the_prompt_a_refusal() {
    for (reason, expected) in [
        ("STOP", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("OTHER", FinishReason::Other("OTHER".into())),
    ] {
        let (response, _) = fold(&[finished(reason)]);
        assert_eq!((response.text.as_str(), response.finish_reason), ("", expected), "{reason}");
    }
    let blocked =
        json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}});
    let mut usage = Usage::call();
    usage.input_tokens = Some(5);
    let expected = Unusable::refused("the prompt was blocked (SAFETY)").usage(usage);
    assert_eq!(Reply::default().whole(&blocked), Err(expected));
    // Ratings without a block are no refusal.
    let rated = json!({"promptFeedback": {"safetyRatings": []}, "candidates": [{"finishReason": "STOP"}]});
    assert!(Reply::default().whole(&rated).is_ok());
}

#[test]
fn calls_that_nobody_offered_are_kept() {
    let call = piece(json!([{"functionCall": {"name": "python", "args": {"code": "1"}}}]));
    let (response, _) = fold(&[call, finished("STOP")]);
    assert_eq!(response.native_call, Some(NativeCall::new("python", r#"{"code":"1"}"#)));
    let mut malformed = finished("MALFORMED_FUNCTION_CALL");
    malformed["candidates"][0]["finishMessage"] = json!("Malformed function call: print(1)");
    let (response, _) = fold(&[malformed]);
    assert_eq!(response.native_call, Some(NativeCall::new("", "print(1)")));
    assert_eq!(response.finish_reason, FinishReason::Other("MALFORMED_FUNCTION_CALL".into()));
    let code = piece(json!([{"executableCode": {"language": "PYTHON", "code": "1+1"}}]));
    let (response, _) = fold(&[code, finished("STOP")]);
    assert_eq!(response.native_call.unwrap().arguments, r#"{"code":"1+1"}"#);
}

#[test]
fn counts_that_are_absurd_or_missing() {
    let of = |told: Value| {
        let usage = usage(&told);
        (usage.input_tokens, usage.output_tokens)
    };
    assert_eq!(of(json!({"promptTokenCount": -3, "candidatesTokenCount": 1e300})), (None, None));
    assert_eq!(of(json!({"promptTokenCount": 5, "totalTokenCount": 8})), (Some(5), Some(3)));
    assert_eq!(of(json!({"promptTokenCount": 5, "totalTokenCount": 2})), (Some(5), None));
    assert_eq!(of(json!({"promptTokenCount": 5, "thoughtsTokenCount": 4})), (Some(5), Some(4)));
    let (response, _) = fold(&[finished("STOP")]);
    assert_eq!(response.usage, Usage::call());
}

#[test]
fn a_list_of_pieces_is_one_answer_and_an_empty_one_is_none() {
    let list = json!([piece(json!([{"text": "a"}])), piece(json!([{"text": "b"}])), finished("STOP")]);
    assert_eq!(Reply::default().whole(&list).unwrap().text, "ab");
    for none in [json!({}), json!([]), json!({"candidates": []}), json!({"usageMetadata": {}}), json!("x")] {
        assert!(Reply::default().whole(&none).is_err(), "{none}");
    }
    let error = json!([{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]);
    let unusable = Unusable::failed(ProviderError::find(&error).unwrap());
    assert_eq!(Reply::default().whole(&error), Err(unusable));
}

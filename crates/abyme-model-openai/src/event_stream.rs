//! An answer that comes as a stream of events though nobody asked for one: the completion it adds up to.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};

/// Whether an answer says that it is a stream of events.
pub(crate) fn is_declared(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Whether a body is a stream of events, whatever its type says.
pub(crate) fn is_event_stream(headers: &HeaderMap, body: &str) -> bool {
    is_declared(headers) || ["data:", "event:", ": "].iter().any(|field| body.starts_with(field))
}

/// Whether the stream says that it is done, so that nobody has to wait for the connection's end.
pub(crate) fn is_done(body: &[u8]) -> bool {
    body.trim_ascii_end().ends_with(b"[DONE]")
}

/// The completion that the events of `body` add up to, as if it had come at once; `None` if there is none.
pub(crate) fn completion(body: &str) -> Option<Value> {
    let events = body.lines().filter_map(|line| line.strip_prefix("data:"));
    let chunks = events.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    let (mut answer, mut choice, mut message) = (Map::new(), Map::new(), Map::new());
    for mut chunk in chunks {
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Some(chunk);
        }
        for field in ["id", "model", "usage"] {
            if let Some(value) = chunk.get_mut(field).map(Value::take).filter(|value| !value.is_null()) {
                answer.insert(field.to_owned(), value);
            }
        }
        let Some(first) = chunk.pointer_mut("/choices/0") else { continue };
        if let Some(reason) =
            first.get_mut("finish_reason").map(Value::take).filter(|reason| !reason.is_null())
        {
            choice.insert("finish_reason".to_owned(), reason);
        }
        // Some servers put the whole message into one event.
        for part in ["delta", "message"] {
            if let Some(Value::Object(delta)) = first.get_mut(part).map(Value::take) {
                add(&mut message, delta);
            }
        }
    }
    if message.is_empty() && choice.is_empty() {
        return None;
    }
    choice.insert("message".to_owned(), Value::Object(message));
    answer.insert("choices".to_owned(), json!([choice]));
    Some(Value::Object(answer))
}

/// Adds a piece of a message to what there is: texts are continued, calls by their index.
fn add(message: &mut Map<String, Value>, delta: Map<String, Value>) {
    for (field, piece) in delta {
        match (message.get_mut(&field), piece) {
            (_, Value::Null) => {}
            (Some(Value::Object(whole)), Value::Object(piece)) => add(whole, piece),
            (Some(Value::Array(whole)), Value::Array(pieces)) => pieces.into_iter().for_each(|piece| {
                let index = piece.get("index").and_then(Value::as_u64);
                let same =
                    |item: &&mut Value| index.is_some() && item.get("index").and_then(Value::as_u64) == index;
                match (whole.iter_mut().find(same), piece) {
                    (Some(Value::Object(item)), Value::Object(piece)) => add(item, piece),
                    (_, piece) => whole.push(piece),
                }
            }),
            (Some(Value::String(whole)), Value::String(piece)) if CONTINUED.contains(&field.as_str()) => {
                whole.push_str(&piece);
            }
            (_, piece) => drop(message.insert(field, piece)),
        }
    }
}

/// Fields whose pieces are parts of one text. The others are repeated whole.
const CONTINUED: &[&str] = &["content", "reasoning_content", "reasoning", "refusal", "arguments"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_answer() {
        let body = [
            ": keep-alive\n\n",
            r#"data: {"model": "m", "choices": [{"delta": {"role": "assistant", "content": ""}}]}"#,
            "\n\n",
            r#"data: {"choices": [{"delta": {"role": "assistant", "content": "Hel"}, "finish_reason": null}]}"#,
            "\r\n\r\n",
            r#"data:{"choices": [{"delta": {"content": "lo"}}], "usage": null}"#,
            "\n\n",
            r#"data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}"#,
            "\n\n",
            r#"data: {"choices": [], "usage": {"prompt_tokens": 3}}"#,
            "\n\ndata: [DONE]\n\n",
        ];
        let body = &*body.concat();
        assert!(is_event_stream(&HeaderMap::new(), body) && is_done(body.as_bytes()));
        assert_eq!(
            completion(body).unwrap(),
            json!({
                "model": "m", "usage": {"prompt_tokens": 3},
                "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
            })
        );
    }

    #[test]
    fn calls_are_continued_by_their_index() {
        let chunk =
            |call: Value| format!("data: {}\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]}));
        let body = [
            json!({"index": 0, "id": "c", "function": {"name": "python", "arguments": ""}}),
            json!({"index": 0, "function": {"arguments": "{\"code\": "}}),
            json!({"index": 1, "function": {"name": "other", "arguments": "{}"}}),
            json!({"index": 0, "function": {"arguments": "\"1\"}"}}),
        ]
        .map(chunk)
        .concat();
        let calls = completion(&body).unwrap()["choices"][0]["message"]["tool_calls"].clone();
        assert_eq!(calls[0]["function"], json!({"name": "python", "arguments": "{\"code\": \"1\"}"}));
        assert_eq!(calls[1]["function"]["name"], "other");
    }

    #[test]
    fn an_error_in_the_stream_is_the_answer() {
        let content = r#"data: {"choices": [{"delta": {"content": "x"}}]}"#;
        let body = format!("{content}\n\ndata: {{\"error\": {{\"code\": 502}}}}\n");
        assert_eq!(completion(&body).unwrap()["error"]["code"], 502);
        assert_eq!(completion("data: {}\n\ndata: [DONE]"), None);
    }
}

//! Anthropic's Messages.

use abyme_core::{ErrorKind, FinishReason, Message, Request};
use serde_json::{Value, json};

use super::format::{Events, Failure, Received, WireFormat, named, tokens, without};
use crate::model::scenario::Reply;

/// Anthropic's Messages, for [`StandInServer`](crate::model::StandInServer).
///
/// As the provider itself, it refuses requests without a limit of tokens, with empty texts, or whose first
/// message is not the user's.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnthropicMessages;

const MODEL: &str = "stand-in-2026";

impl WireFormat for AnthropicMessages {
    fn request(&self, path: &str, body: &Value) -> Result<Received, String> {
        if !path.ends_with("/messages") {
            return Err(format!("there is nothing at {path}"));
        }
        let limit = tokens(body.get("max_tokens")).ok_or("max_tokens: Field required")?;
        let mut messages = Vec::new();
        for text in texts(body.get("system"))? {
            messages.push(Message::system(text));
        }
        let turns = body["messages"].as_array().filter(|turns| !turns.is_empty());
        for (index, turn) in turns.ok_or("messages: at least one message is required")?.iter().enumerate() {
            let text = texts(turn.get("content"))?.concat();
            match turn["role"].as_str() {
                Some("user") => messages.push(Message::user(text)),
                Some("assistant") if index > 0 => messages.push(Message::assistant(text)),
                role => return Err(format!("messages.{index}: unexpected role {role:?}")),
            }
        }
        let schemas = ["/output_config/format/schema", "/output_format/schema"];
        let request = Request::new(messages)
            .max_tokens(limit)
            .temperature(body["temperature"].as_f64())
            .model(body["model"].as_str().map(str::to_owned))
            .schema(schemas.iter().find_map(|pointer| body.pointer(pointer)).cloned());
        Ok(Received::new(request, body["stream"] == true))
    }

    fn reply(&self, reply: &Reply) -> Value {
        let mut content = Vec::new();
        if !reply.reasoning.is_empty() {
            let thinking = reply.reasoning.concat();
            content.push(json!({"type": "thinking", "thinking": thinking, "signature": "c2ln"}));
        }
        if !reply.text.is_empty() {
            content.push(json!({"type": "text", "text": reply.text.concat()}));
        }
        if let Some(call) = &reply.native_call {
            let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
            content.push(json!({"type": "tool_use", "id": "toolu_1", "name": call.name, "input": input}));
        }
        let mut answer = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content,
            "stop_reason": reason(reply), "stop_sequence": null,
        });
        if let Some((mut usage, output)) = usage(reply) {
            usage["output_tokens"] = output;
            answer["usage"] = usage;
        }
        answer
    }

    fn events(&self, reply: &Reply) -> Events {
        let told = usage(reply);
        let mut message = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [],
            "stop_reason": null, "stop_sequence": null,
        });
        let mut last = json!({
            "type": "message_delta", "delta": {"stop_reason": reason(reply), "stop_sequence": null},
        });
        if let Some((mut usage, output)) = told {
            usage["output_tokens"] = json!(1);
            message["usage"] = usage;
            last["usage"] = json!({"output_tokens": output});
        }
        let start = [
            named("message_start", &json!({"type": "message_start", "message": message})),
            named("ping", &json!({"type": "ping"})),
        ];
        let mut index = 0;
        let mut block = |begin: Value, deltas: Vec<Value>| -> Vec<String> {
            let begin = json!({"type": "content_block_start", "index": index, "content_block": begin});
            let mut events: Vec<String> = deltas
                .into_iter()
                .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta}))
                .map(|event| named("content_block_delta", &event))
                .collect();
            if let Some(first) = events.first_mut() {
                first.insert_str(0, &named("content_block_start", &begin));
            }
            if let Some(last) = events.last_mut() {
                last.push_str(&named(
                    "content_block_stop",
                    &json!({"type": "content_block_stop", "index": index}),
                ));
                index += 1;
            }
            events
        };
        let thinking = |text: &String| json!({"type": "thinking_delta", "thinking": text});
        let mut pieces = block(
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            reply.reasoning.iter().map(thinking).collect(),
        );
        let text = |text: &String| json!({"type": "text_delta", "text": text});
        pieces.extend(block(json!({"type": "text", "text": ""}), reply.text.iter().map(text).collect()));
        let mut end = Vec::new();
        if let Some(call) = &reply.native_call {
            let begin = json!({"type": "tool_use", "id": "toolu_1", "name": call.name, "input": {}});
            let delta = json!({"type": "input_json_delta", "partial_json": call.arguments});
            end.extend(block(begin, vec![delta]));
        }
        end.push(named("message_delta", &last));
        end.push(named("message_stop", &json!({"type": "message_stop"})));
        Events::new(start.concat(), pieces, end.concat())
    }

    fn failure(&self, kind: ErrorKind, words: &str) -> Failure {
        let (status, error_type, said) = match kind {
            ErrorKind::RateLimited { .. } => {
                (429, "rate_limit_error", "This request would exceed the rate limit for your organization.")
            }
            ErrorKind::QuotaExceeded => {
                (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.")
            }
            ErrorKind::Auth => (401, "authentication_error", "invalid x-api-key"),
            ErrorKind::ContextTooLong => {
                (400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum")
            }
            ErrorKind::ContentRefused => {
                (400, "invalid_request_error", "Output blocked by content filtering policy")
            }
            ErrorKind::Server => (529, "overloaded_error", "Overloaded"),
            _ => (400, "invalid_request_error", "top_k: Input should be greater than 0"),
        };
        let body = json!({
            "type": "error", "error": {"type": error_type, "message": format!("{said} {words}")},
            "request_id": "req_1",
        });
        Failure::new(status, body).waiting(kind)
    }

    fn failure_event(&self, kind: ErrorKind, words: &str) -> String {
        named("error", &self.failure(kind, words).body)
    }
}

/// The texts in a content, which is a text or a list of blocks. The provider takes no empty ones.
fn texts(content: Option<&Value>) -> Result<Vec<String>, String> {
    let texts: Vec<String> = match content {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(blocks)) => blocks
            .iter()
            .map(|block| {
                block["text"].as_str().map(str::to_owned).ok_or_else(|| format!("no text in {block}"))
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(format!("{other} is no content")),
    };
    if texts.iter().any(String::is_empty) {
        return Err("messages: text content blocks must be non-empty".to_owned());
    }
    Ok(texts)
}

fn reason(reply: &Reply) -> &str {
    match (&reply.finish_reason, &reply.native_call) {
        (FinishReason::Length, _) => "max_tokens",
        (FinishReason::ContentFilter, _) => "refusal",
        (FinishReason::Other(reason), _) => reason,
        (_, Some(_)) => "tool_use",
        _ => "end_turn",
    }
}

/// The counts of the request, and that of the reply.
fn usage(reply: &Reply) -> Option<(Value, Value)> {
    let counts = reply.usage.as_ref()?;
    // What was cached is not counted as input there.
    let usage = json!({
        "input_tokens": without(&counts.input, &counts.cached),
        "cache_read_input_tokens": counts.cached,
        "cache_creation_input_tokens": 0,
    });
    Some((usage, counts.output.clone()))
}

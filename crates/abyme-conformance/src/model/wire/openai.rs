//! OpenAI's chat completions.

use abyme_core::{ErrorKind, FinishReason, Message, Request};
use serde_json::{Value, json};

use super::format::{Events, Failure, Received, WireFormat, data, tokens};
use crate::model::scenario::Reply;

/// OpenAI's chat completions, for [`StandInServer`](crate::model::StandInServer).
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAiChat;

const ID: &str = "chatcmpl-1";
const MODEL: &str = "stand-in-2026";

impl WireFormat for OpenAiChat {
    fn request(&self, path: &str, body: &Value) -> Result<Received, String> {
        if !path.ends_with("/chat/completions") {
            return Err(format!("there is nothing at {path}"));
        }
        let messages = body["messages"].as_array().ok_or("`messages` is no list")?;
        let messages = messages.iter().map(message).collect::<Result<_, _>>()?;
        let limit = ["max_completion_tokens", "max_tokens"].iter().find_map(|field| body.get(field));
        let schema = body.pointer("/response_format/json_schema/schema").cloned();
        let request = Request::new(messages)
            .max_tokens(tokens(limit))
            .temperature(body["temperature"].as_f64())
            .model(body["model"].as_str().map(str::to_owned))
            .schema(schema);
        Ok(Received::new(request, body["stream"] == true))
    }

    fn reply(&self, reply: &Reply) -> Value {
        let mut message = json!({"role": "assistant", "content": reply.text.concat()});
        if !reply.reasoning.is_empty() {
            message["reasoning_content"] = reply.reasoning.concat().into();
        }
        if let Some(calls) = calls(reply) {
            message["tool_calls"] = calls;
        }
        let mut answer = json!({
            "id": ID, "object": "chat.completion", "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": reason(reply)}],
        });
        if let Some(usage) = usage(reply) {
            answer["usage"] = usage;
        }
        answer
    }

    fn events(&self, reply: &Reply) -> Events {
        let chunk = |delta: Value, reason: Value| {
            data(&json!({
                "id": ID, "object": "chat.completion.chunk", "model": MODEL,
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            }))
        };
        let piece = |field: &str, text: &String| chunk(json!({field: text}), Value::Null);
        let reasoning = reply.reasoning.iter().map(|text| piece("reasoning_content", text));
        let text = reply.text.iter().map(|text| piece("content", text));
        let called = calls(reply).map(|mut calls| {
            calls[0]["index"] = json!(0);
            chunk(json!({"tool_calls": calls}), Value::Null)
        });
        let told = usage(reply).map(|usage| {
            data(&json!({
                "id": ID, "object": "chat.completion.chunk", "model": MODEL, "choices": [], "usage": usage,
            }))
        });
        let end = [
            called.unwrap_or_default(),
            chunk(json!({}), reason(reply).into()),
            told.unwrap_or_default(),
            "data: [DONE]\n\n".to_owned(),
        ];
        let start = chunk(json!({"role": "assistant", "content": ""}), Value::Null);
        Events::new(start, reasoning.chain(text).collect(), end.concat())
    }

    fn failure(&self, kind: ErrorKind, words: &str) -> Failure {
        let (status, error_type, code, said) = match kind {
            ErrorKind::RateLimited { .. } => {
                (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests.")
            }
            ErrorKind::QuotaExceeded => {
                (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota.")
            }
            ErrorKind::Auth => {
                (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
            }
            ErrorKind::ContextTooLong => (
                400,
                "invalid_request_error",
                "context_length_exceeded",
                "This model's maximum context length is 8192 tokens.",
            ),
            ErrorKind::ContentRefused => (
                400,
                "invalid_request_error",
                "content_policy_violation",
                "Your request was rejected by the safety system.",
            ),
            ErrorKind::Server => (500, "server_error", "server_error", "The server had an error."),
            _ => (400, "invalid_request_error", "invalid_value", "Invalid value: '-1'."),
        };
        let message = format!("{said} {words}");
        let body = json!({"error": {"message": message, "type": error_type, "param": null, "code": code}});
        Failure::new(status, body).waiting(kind)
    }
}

pub(super) fn message(message: &Value) -> Result<Message, String> {
    let text = message["content"].as_str().ok_or_else(|| format!("no text in {message}"))?;
    match message["role"].as_str() {
        Some("system" | "developer") => Ok(Message::system(text)),
        Some("user") => Ok(Message::user(text)),
        Some("assistant") => Ok(Message::assistant(text)),
        role => Err(format!("{role:?} is no role")),
    }
}

fn reason(reply: &Reply) -> &str {
    match (&reply.finish_reason, &reply.native_call) {
        (FinishReason::Length, _) => "length",
        (FinishReason::ContentFilter, _) => "content_filter",
        (FinishReason::Other(reason), _) => reason,
        (_, Some(_)) => "tool_calls",
        _ => "stop",
    }
}

fn calls(reply: &Reply) -> Option<Value> {
    let call = reply.native_call.as_ref()?;
    let function = json!({"name": call.name, "arguments": call.arguments});
    Some(json!([{"id": "call_1", "type": "function", "function": function}]))
}

fn usage(reply: &Reply) -> Option<Value> {
    reply.usage.as_ref().map(|counts| {
        json!({
            "prompt_tokens": counts.input,
            "completion_tokens": counts.output,
            "prompt_tokens_details": {"cached_tokens": counts.cached},
            "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
        })
    })
}

//! OpenAI's Responses.

use abyme_core::{ErrorKind, FinishReason, Request};
use serde_json::{Value, json};

use super::{
    format::{Events, Failure, Received, WireFormat, named, tokens},
    openai::{OpenAiChat, message},
};
use crate::model::scenario::Reply;

/// OpenAI's Responses, for [`StandInServer`](crate::model::StandInServer). Its failures are those of
/// [`OpenAiChat`].
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAiResponses;

impl WireFormat for OpenAiResponses {
    fn request(&self, path: &str, body: &Value) -> Result<Received, String> {
        if !path.ends_with("/responses") {
            return Err(format!("there is nothing at {path}"));
        }
        let input = body["input"].as_array().ok_or("`input` is no list")?;
        let messages = input.iter().map(message).collect::<Result<_, _>>()?;
        let request = Request::new(messages)
            .max_tokens(tokens(body.get("max_output_tokens")))
            .temperature(body["temperature"].as_f64())
            .model(body["model"].as_str().map(str::to_owned))
            .schema(body.pointer("/text/format/schema").cloned());
        Ok(Received::new(request, body["stream"] == true))
    }

    fn reply(&self, reply: &Reply) -> Value {
        let mut output = Vec::new();
        if !reply.reasoning.is_empty() {
            let summary = json!([{"type": "summary_text", "text": reply.reasoning.concat()}]);
            output.push(json!({"type": "reasoning", "id": "rs_1", "summary": summary}));
        }
        if !reply.text.is_empty() {
            let content = json!([{"type": "output_text", "text": reply.text.concat(), "annotations": []}]);
            output.push(json!({"type": "message", "id": "msg_1", "role": "assistant", "content": content}));
        }
        if let Some(call) = &reply.native_call {
            output.push(json!({
                "type": "function_call", "call_id": "call_1", "name": call.name, "arguments": call.arguments,
            }));
        }
        let cut = match reply.finish_reason {
            FinishReason::Length => Some("max_output_tokens"),
            FinishReason::ContentFilter => Some("content_filter"),
            _ => None,
        };
        let mut answer = json!({
            "id": "resp_1", "object": "response", "model": "stand-in-2026", "error": null, "output": output,
            "status": if cut.is_some() { "incomplete" } else { "completed" },
            "incomplete_details": cut.map(|reason| json!({ "reason": reason })),
        });
        if let Some(counts) = &reply.usage {
            answer["usage"] = json!({
                "input_tokens": counts.input,
                "input_tokens_details": {"cached_tokens": counts.cached},
                "output_tokens": counts.output,
                "output_tokens_details": {"reasoning_tokens": counts.reasoning},
            });
        }
        answer
    }

    fn events(&self, reply: &Reply) -> Events {
        let whole = self.reply(reply);
        let event = |kind: &str, field: &str, value: Value| named(kind, &json!({"type": kind, field: value}));
        let delta = |kind: &str, text: &String| event(kind, "delta", json!(text));
        let reasoning =
            reply.reasoning.iter().map(|text| delta("response.reasoning_summary_text.delta", text));
        let text = reply.text.iter().map(|text| delta("response.output_text.delta", text));
        let created = json!({"id": "resp_1", "object": "response", "status": "in_progress", "output": []});
        let end = if whole["status"] == "completed" { "response.completed" } else { "response.incomplete" };
        Events::new(
            event("response.created", "response", created),
            reasoning.chain(text).collect(),
            event(end, "response", whole),
        )
    }

    fn failure(&self, kind: ErrorKind, words: &str) -> Failure {
        OpenAiChat.failure(kind, words)
    }

    fn failure_event(&self, kind: ErrorKind, words: &str) -> String {
        let error = self.failure(kind, words).body["error"].clone();
        let response = json!({"id": "resp_1", "object": "response", "status": "failed", "error": error});
        named("response.failed", &json!({"type": "response.failed", "response": response}))
    }
}

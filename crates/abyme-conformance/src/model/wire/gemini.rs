//! Google's generateContent.

use std::time::Duration;

use abyme_core::{ErrorKind, FinishReason, Message, Request};
use serde_json::{Value, json};

use super::format::{Events, Failure, Received, WireFormat, data, tokens, without};
use crate::model::scenario::Reply;

/// Google's generateContent, for [`StandInServer`](crate::model::StandInServer).
///
/// As the provider itself, it refuses requests without contents and contents without parts, and answers with
/// status 200 when it refuses a content.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeminiContent;

impl WireFormat for GeminiContent {
    fn request(&self, path: &str, body: &Value) -> Result<Received, String> {
        let named = path.rsplit('/').next().unwrap_or_default();
        let (model, method) = named.split_once(':').ok_or_else(|| format!("there is nothing at {path}"))?;
        let streams = match method.split('?').next() {
            Some("generateContent") => false,
            Some("streamGenerateContent") => true,
            _ => return Err(format!("there is no method {method}")),
        };
        let mut messages = Vec::new();
        if let Some(system) = body.get("systemInstruction").or_else(|| body.get("system_instruction")) {
            messages.push(Message::system(text(system)?));
        }
        let contents = body["contents"].as_array().filter(|contents| !contents.is_empty());
        for content in contents.ok_or("contents is not specified")? {
            messages.push(match content["role"].as_str() {
                Some("user") | None => Message::user(text(content)?),
                Some("model") => Message::assistant(text(content)?),
                Some(role) => return Err(format!("{role} is no role")),
            });
        }
        let config = &body["generationConfig"];
        let schemas = ["responseJsonSchema", "responseSchema", "_responseJsonSchema"];
        let request = Request::new(messages)
            .max_tokens(tokens(config.get("maxOutputTokens")))
            .temperature(config["temperature"].as_f64())
            .model(Some(model.to_owned()))
            .schema(schemas.iter().find_map(|field| config.get(field)).cloned());
        Ok(Received::new(request, streams))
    }

    fn reply(&self, reply: &Reply) -> Value {
        let mut parts = Vec::new();
        if !reply.reasoning.is_empty() {
            parts.push(json!({"text": reply.reasoning.concat(), "thought": true}));
        }
        if !reply.text.is_empty() {
            parts.push(json!({"text": reply.text.concat()}));
        }
        parts.extend(call(reply));
        chunk(reply, &parts, true)
    }

    fn events(&self, reply: &Reply) -> Events {
        let piece = |part: Value| data(&chunk(reply, &[part], false));
        let reasoning = reply.reasoning.iter().map(|text| piece(json!({"text": text, "thought": true})));
        let text = reply.text.iter().map(|text| piece(json!({"text": text})));
        let last: Vec<Value> = call(reply).into_iter().collect();
        Events::new("", reasoning.chain(text).collect(), data(&chunk(reply, &last, true)))
    }

    fn failure(&self, kind: ErrorKind, words: &str) -> Failure {
        let (status, name, said) = match kind {
            ErrorKind::RateLimited { .. } => {
                (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")
            }
            ErrorKind::QuotaExceeded => (
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
            ErrorKind::Auth => (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            ErrorKind::ContextTooLong => (
                400,
                "INVALID_ARGUMENT",
                "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
            ),
            ErrorKind::ContentRefused => {
                let feedback = json!({"blockReason": "PROHIBITED_CONTENT"});
                let body = json!({"promptFeedback": feedback, "modelVersion": "stand-in-2026"});
                return Failure::new(200, body);
            }
            ErrorKind::Server => (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
            _ => (400, "INVALID_ARGUMENT", "Invalid value at 'generation_config.top_k'."),
        };
        let mut details = Vec::new();
        match kind {
            ErrorKind::RateLimited { retry_after: Some(wait) } => details.push(retry_info(wait)),
            ErrorKind::QuotaExceeded => details.push(json!({
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
            })),
            ErrorKind::Auth => details.push(json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
            })),
            _ => {}
        }
        let message = format!("{said} {words}");
        let error = json!({"code": status, "message": message, "status": name, "details": details});
        Failure::new(status, json!({"error": error}))
    }
}

/// How long to wait, as Google writes it.
fn retry_info(wait: Duration) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{}s", wait.as_secs()),
    })
}

/// The texts of a content's parts, joined.
fn text(content: &Value) -> Result<String, String> {
    let parts = content["parts"].as_array().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or("contents.parts must not be empty")?;
    let text =
        |part: &Value| part["text"].as_str().map(str::to_owned).ok_or_else(|| format!("no text in {part}"));
    parts.iter().map(text).collect()
}

fn call(reply: &Reply) -> Option<Value> {
    let call = reply.native_call.as_ref()?;
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    Some(json!({"functionCall": {"name": call.name, "args": arguments}}))
}

/// A reply of these parts, which is the last or not.
fn chunk(reply: &Reply, parts: &[Value], is_last: bool) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if is_last {
        candidate["finishReason"] = match &reply.finish_reason {
            FinishReason::Length => "MAX_TOKENS",
            FinishReason::ContentFilter => "SAFETY",
            FinishReason::Other(reason) => reason,
            _ => "STOP",
        }
        .into();
    }
    let mut answer = json!({
        "candidates": [candidate], "modelVersion": "stand-in-2026", "responseId": "response-1",
    });
    if let Some(counts) = reply.usage.as_ref().filter(|_| is_last) {
        answer["usageMetadata"] = json!({
            "promptTokenCount": counts.input,
            "cachedContentTokenCount": counts.cached,
            "candidatesTokenCount": without(&counts.output, &counts.reasoning),
            "thoughtsTokenCount": counts.reasoning,
        });
    }
    answer
}

//! The answers of the Responses API, whole and in pieces.

use std::collections::VecDeque;

use abyme_core::{Delta, FinishReason, NativeCall, Response, Usage};
use abyme_model_http::{Event, Progress, ProviderError, ReadReply, Unusable, json, text};
use serde_json::Value;

use crate::wire;

/// What an answer of the Responses API says.
pub(crate) fn response(answer: &Value) -> Result<Response, Unusable> {
    let usage = answer.get("usage").map(|told| wire::usage(Some(told)));
    let failed = ProviderError::find(answer).or_else(|| {
        let failed = answer.get("status").is_some_and(|status| status == "failed");
        failed.then(ProviderError::default)
    });
    if let Some(error) = failed {
        return Err(Unusable::failed(error).usage(usage));
    }
    let items = answer.get("output").and_then(Value::as_array);
    let items = items.ok_or_else(|| Unusable::malformed("it has no `output`").usage(usage))?;

    let (mut said, mut thought, mut refusal, mut native_call) = (String::new(), Vec::new(), None, None);
    for item in items {
        let parts = |field: &str| item.get(field).and_then(Value::as_array).into_iter().flatten();
        match item.get("type").and_then(Value::as_str) {
            Some("message") => {
                for part in parts("content") {
                    said += part.get("text").and_then(Value::as_str).unwrap_or_default();
                    refusal = refusal.or_else(|| part.get("refusal")?.as_str().map(str::to_owned));
                }
            }
            Some("reasoning") => {
                let texts = parts("summary").chain(parts("content"));
                thought.extend(texts.filter_map(|part| part.get("text")?.as_str()));
            }
            Some("function_call" | "custom_tool_call") if native_call.is_none() => {
                let arguments = item.get("arguments").or_else(|| item.get("input"));
                native_call = Some(NativeCall::new(text(item.get("name")), text(arguments)));
            }
            _ => {}
        }
    }
    if let Some(refusal) = refusal.filter(|_| said.is_empty()) {
        return Err(Unusable::refused(refusal).usage(usage));
    }
    let why = answer.pointer("/incomplete_details/reason").and_then(Value::as_str);
    let model = answer.get("model").and_then(Value::as_str).map(str::to_owned);
    let response = Response::new(said).reasoning(thought.join(PARAGRAPH)).native_call(native_call);
    let finish_reason = why.map_or(FinishReason::Stop, |why| wire::finish_reason(Some(why)));
    Ok(response.usage(usage.unwrap_or_else(Usage::call)).finish_reason(finish_reason).model(model))
}

/// What stands between parts of what the model thought.
const PARAGRAPH: &str = "\n\n";

/// What the events of one answer have said.
#[derive(Debug, Default)]
pub(crate) struct Events {
    text: String,
    reasoning: String,
    /// Whether a part of the reasoning ended.
    part_ended: bool,
    /// The whole, which the last event repeats.
    whole: Option<Value>,
}

impl ReadReply for Events {
    fn read(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        let data = event.data.trim();
        match data {
            "" => return Ok(Progress::Open),
            "[DONE]" => return Ok(Progress::Done),
            _ => {}
        }
        let mut event = json(data)
            .map_err(|error| Unusable::malformed(format!("one of its events is not JSON ({error})")))?;
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let delta = |event: &Value| text(event.get("delta"));
        match kind.as_str() {
            "response.output_text.delta" => self.say(delta(&event), deltas),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.think(delta(&event), deltas);
            }
            "response.reasoning_summary_text.done" | "response.reasoning_text.done" => self.part_ended = true,
            "response.completed" | "response.incomplete" | "response.failed" => {
                let whole = event.get_mut("response").map(Value::take).unwrap_or_default();
                // What no piece said: some servers send the whole alone.
                if let Ok(response) = response(&whole) {
                    if self.reasoning.is_empty() {
                        self.think(response.reasoning, deltas);
                    }
                    if self.text.is_empty() {
                        self.say(response.text, deltas);
                    }
                    deltas.push_back(Delta::Usage(response.usage));
                }
                self.whole = Some(whole);
                return Ok(Progress::Done);
            }
            "error" => {
                // It has the error's fields beside its type, or the error in one of its own.
                let error = ProviderError::find(&event);
                let error = error.or_else(|| ProviderError::find_in_failure(&event)).unwrap_or_default();
                return Err(Unusable::failed(error));
            }
            _ => {
                if let Some(error) = ProviderError::find(&event) {
                    return Err(Unusable::failed(error));
                }
            }
        }
        Ok(Progress::Open)
    }

    fn response(&mut self) -> Result<Response, Unusable> {
        let (text, reasoning) = (std::mem::take(&mut self.text), std::mem::take(&mut self.reasoning));
        match self.whole.take() {
            Some(whole) => {
                let mut response = response(&whole)?;
                (response.text, response.reasoning) = (text, reasoning);
                Ok(response)
            }
            None if text.is_empty() && reasoning.is_empty() => {
                Err(Unusable::malformed("no event of its stream is a part of one"))
            }
            None => Ok(Response::new(text).reasoning(reasoning).usage(Usage::call())),
        }
    }

    fn whole(&mut self, answer: &Value) -> Result<Response, Unusable> {
        response(answer)
    }
}

impl Events {
    fn say(&mut self, piece: String, deltas: &mut VecDeque<Delta>) {
        if !piece.is_empty() {
            self.text.push_str(&piece);
            deltas.push_back(Delta::Text(piece));
        }
    }

    fn think(&mut self, piece: String, deltas: &mut VecDeque<Delta>) {
        if !piece.is_empty() {
            let between = std::mem::take(&mut self.part_ended) && !self.reasoning.is_empty();
            let piece = if between { format!("{PARAGRAPH}{piece}") } else { piece };
            self.reasoning.push_str(&piece);
            deltas.push_back(Delta::Reasoning(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "id": "resp_1", "model": "gpt-5-2026", "status": "completed", "error": null,
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2"},
                    {"type": "summary_text", "text": "and 2"}]},
                {"type": "message", "content": [{"type": "output_text", "text": "fo"},
                    {"type": "output_text", "text": "ur"}]},
                {"type": "function_call", "name": "python", "arguments": "{\"code\": \"1\"}"},
            ],
            "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4},
                "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}},
        })
    }

    fn read(events: &[Value]) -> (VecDeque<Delta>, Result<Response, Unusable>) {
        let (mut reader, mut deltas) = (Events::default(), VecDeque::new());
        for event in events {
            let event = Event { name: String::new(), data: event.to_string() };
            if let Err(unusable) = reader.read(&event, &mut deltas) {
                return (deltas, Err(unusable));
            }
        }
        let response = reader.response();
        (deltas, response)
    }

    #[test]
    fn an_answer_with_all_its_parts() {
        let response = response(&answer()).unwrap();
        assert_eq!((response.text.as_str(), response.reasoning.as_str()), ("four", "2\n\nand 2"));
        assert_eq!(response.native_call, Some(NativeCall::new("python", "{\"code\": \"1\"}")));
        assert_eq!(response.model.as_deref(), Some("gpt-5-2026"));
        let usage = response.usage;
        assert_eq!((usage.input_tokens, usage.cached_tokens), (Some(9), Some(4)));
        assert_eq!((usage.output_tokens, usage.reasoning_tokens), (Some(5), Some(3)));
    }

    #[test]
    fn answers_that_are_cut_refused_or_failed() {
        let with = |field: &str, value: Value| {
            let mut answer = answer();
            answer[field] = value;
            response(&answer)
        };
        let cut = |why: &str| with("incomplete_details", json!({"reason": why})).unwrap().finish_reason;
        assert_eq!(cut("max_output_tokens"), FinishReason::Length);
        assert_eq!(cut("content_filter"), FinishReason::ContentFilter);
        let refusal = json!([{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]);
        let usage = response(&answer()).unwrap().usage;
        assert_eq!(with("output", refusal), Err(Unusable::refused("no").usage(usage)));
        let error = json!({"code": "server_error", "message": "oops"});
        let failed = ProviderError::find(&json!({ "error": error })).unwrap();
        assert_eq!(with("error", error), Err(Unusable::failed(failed).usage(usage)));
        assert_eq!(response(&json!({})), Err(Unusable::malformed("it has no `output`")));
    }

    #[test]
    fn pieces_add_up_to_the_answer() {
        let (deltas, response) = read(&[
            json!({"type": "response.created", "response": {"status": "in_progress"}}),
            json!({"type": "response.reasoning_summary_text.delta", "delta": "2"}),
            json!({"type": "response.reasoning_summary_text.done"}),
            json!({"type": "response.reasoning_summary_text.delta", "delta": "and 2"}),
            json!({"type": "response.output_text.delta", "delta": "fo"}),
            json!({"type": "response.output_text.delta", "delta": "ur"}),
            json!({"type": "response.completed", "response": answer()}),
        ]);
        let usage = response.clone().unwrap().usage;
        let expected = [
            Delta::Reasoning("2".into()),
            Delta::Reasoning("\n\nand 2".into()),
            Delta::Text("fo".into()),
            Delta::Text("ur".into()),
            Delta::Usage(usage),
        ];
        assert_eq!(deltas, expected);
        assert_eq!(response, super::response(&answer()));
        let (deltas, alone) = read(&[json!({"type": "response.completed", "response": answer()})]);
        assert_eq!((deltas.len(), alone), (3, super::response(&answer())));
    }

    #[test]
    fn failures_in_a_stream() {
        let event = json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"});
        let failed = ProviderError::find_in_failure(&event).unwrap();
        assert_eq!(read(&[event]).1, Err(Unusable::failed(failed)));
        let error = json!({"code": "server_error", "message": "oops"});
        let failed = ProviderError::find(&json!({ "error": error })).unwrap();
        let event = json!({"type": "response.failed", "response": {"status": "failed", "error": error}});
        assert_eq!(read(&[event]).1, Err(Unusable::failed(failed)));
        assert!(read(&[]).1.is_err());
    }
}

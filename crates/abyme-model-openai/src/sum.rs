//! A completion that comes as a stream of events: its pieces, and what they add up to.

use std::collections::VecDeque;

use abyme_core::{Delta, Response, Usage};
use abyme_model_http::{Event, Progress, ProviderError, ReadReply, Unusable, json};
use serde_json::{Map, Value, json};

use crate::wire;

/// What the events of one answer add up to, as if it had come at once.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    answer: Map<String, Value>,
    choice: Map<String, Value>,
    message: Map<String, Value>,
    usage: Option<Usage>,
}

impl ReadReply for Sum {
    fn read(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        let data = event.data.trim();
        match data {
            "" => return Ok(self.progress()),
            "[DONE]" => return Ok(Progress::Done),
            _ => {}
        }
        let chunk = json(data).map_err(|error| {
            Unusable::malformed(format!("one of its events is not JSON ({error})")).usage(self.usage)
        })?;
        self.add(chunk, deltas)?;
        Ok(self.progress())
    }

    fn response(&mut self) -> Result<Response, Unusable> {
        if self.message.is_empty() && self.choice.is_empty() {
            return Err(Unusable::malformed("no event of its stream is a part of one").usage(self.usage));
        }
        let mut answer = std::mem::take(&mut self.answer);
        let mut choice = std::mem::take(&mut self.choice);
        choice.insert("message".to_owned(), Value::Object(std::mem::take(&mut self.message)));
        answer.insert("choices".to_owned(), json!([choice]));
        wire::completion(&Value::Object(answer))
    }

    fn whole(&mut self, answer: &Value) -> Result<Response, Unusable> {
        wire::completion(answer)
    }
}

impl Sum {
    fn progress(&self) -> Progress {
        if self.choice.contains_key("finish_reason") { Progress::Finished } else { Progress::Open }
    }

    fn add(&mut self, mut chunk: Value, deltas: &mut VecDeque<Delta>) -> Result<(), Unusable> {
        for field in ["id", "model", "usage"] {
            if let Some(value) = chunk.get_mut(field).map(Value::take).filter(|value| !value.is_null()) {
                self.answer.insert(field.to_owned(), value);
            }
        }
        let usage = self.answer.get("usage").map(|told| wire::usage(Some(told)));
        let failed =
            ProviderError::find(&chunk).or_else(|| ProviderError::find(chunk.pointer("/choices/0")?));
        if let Some(error) = failed {
            return Err(Unusable::failed(error).usage(usage));
        }
        if let Some(first) = chunk.pointer_mut("/choices/0") {
            let reason = first.get_mut("finish_reason").map(Value::take).filter(|reason| !reason.is_null());
            // Some servers put the whole message into one event, or repeat it at the end.
            let whole = first.get_mut("message").map(Value::take).filter(|_| self.message.is_empty());
            for part in [first.get_mut("delta").map(Value::take), whole] {
                let Some(Value::Object(mut delta)) = part else { continue };
                // In one form whatever the event's, so that the whole is what the pieces are.
                if let Some(thought) = wire::reasoning(&delta).map(str::to_owned) {
                    delta.retain(|field, _| !wire::REASONING.contains(&field.as_str()));
                    delta.insert(wire::REASONING[0].to_owned(), thought.as_str().into());
                    deltas.push_back(Delta::Reasoning(thought));
                }
                match wire::text_in(delta.get("content")) {
                    Some(text) if !text.is_empty() => {
                        delta.insert("content".to_owned(), text.as_str().into());
                        deltas.push_back(Delta::Text(text));
                    }
                    _ if self.message.contains_key("content") => drop(delta.remove("content")),
                    _ => {}
                }
                add(&mut self.message, delta);
            }
            if let Some(reason) = reason {
                self.choice.insert("finish_reason".to_owned(), reason);
            }
        }
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            deltas.extend(usage.map(Delta::Usage));
        }
        Ok(())
    }
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
    use abyme_core::{FinishReason, NativeCall};
    use abyme_model_http::reply_in;

    use super::*;

    fn read(body: &str) -> Option<Result<Response, Unusable>> {
        reply_in(body, &mut Sum::default())
    }

    fn response(body: &str) -> Response {
        read(body).unwrap().unwrap()
    }

    #[test]
    fn pieces_become_one_answer() {
        let body = [
            ": keep-alive\n\n",
            r#"data: {"model": "m", "choices": [{"delta": {"role": "assistant", "content": ""}}]}"#,
            "\n\n",
            r#"data: {"choices": [{"delta": {"role": "assistant", "content": "Hel"}, "index": 0}]}"#,
            "\r\n\r\n",
            r#"data:{"choices": [{"delta": {"content": "lo"}}], "usage": null}"#,
            "\n\n",
            r#"data: {"choices": [{"delta": {}, "finish_reason": "length"}]}"#,
            "\n\n",
            r#"data: {"choices": [], "usage": {"prompt_tokens": 3}}"#,
            "\n\ndata: [DONE]\n\n",
        ];
        let response = response(&body.concat());
        assert_eq!((response.text.as_str(), response.model.as_deref()), ("Hello", Some("m")));
        assert_eq!((response.usage.input_tokens, response.finish_reason), (Some(3), FinishReason::Length));
    }

    #[test]
    fn the_pieces_add_up_to_the_answer() {
        let used = json!({"prompt_tokens": 7});
        let (mut sum, mut deltas) = (Sum::default(), VecDeque::new());
        for data in [
            json!({"choices": [{"delta": {"reasoning_content": "2 ", "reasoning": "2 "}}]}),
            json!({"choices": [{"delta": {"reasoning": "and 2"}}]}),
            json!({"choices": [{"delta": {"content": [{"type": "text", "text": "fo"}]}}], "usage": used}),
            json!({"choices": [{"delta": {"content": [{"type": "text", "text": "ur"}]}}], "usage": used}),
            json!({"choices": [{"message": {"content": "four"}, "finish_reason": "stop"}]}),
        ] {
            let event = Event { name: String::new(), data: data.to_string() };
            sum.read(&event, &mut deltas).unwrap();
        }
        let (mut text, mut reasoning, mut usages) = (String::new(), String::new(), 0);
        for delta in deltas {
            match delta {
                Delta::Text(piece) => text += &piece,
                Delta::Reasoning(piece) => reasoning += &piece,
                _ => usages += 1,
            }
        }
        let response = sum.response().unwrap();
        assert_eq!((text.as_str(), reasoning.as_str(), usages), ("four", "2 and 2", 1));
        assert_eq!((response.text, response.reasoning), (text, reasoning));
    }

    #[test]
    fn calls_are_continued_by_their_index() {
        let chunk =
            |call: Value| format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]}));
        let body = [
            json!({"index": 0, "id": "c", "function": {"name": "python", "arguments": ""}}),
            json!({"index": 0, "function": {"arguments": "{\"code\": "}}),
            json!({"index": 1, "function": {"name": "other", "arguments": "{}"}}),
            json!({"index": 0, "function": {"arguments": "\"1\"}"}}),
        ]
        .map(chunk)
        .concat();
        let body = body + "data: [DONE]";
        assert_eq!(response(&body).native_call, Some(NativeCall::new("python", "{\"code\": \"1\"}")));
    }

    #[test]
    fn an_error_in_the_stream_is_the_answer() {
        let content = r#"data: {"choices": [{"delta": {"content": "x"}}]}"#;
        let body = format!("{content}\n\ndata: {{\"error\": {{\"code\": 502}}}}\n");
        assert!(read(&body).unwrap().is_err());
        assert!(read("data: {}\n\ndata: [DONE]").unwrap().is_err(), "no part of a completion");
        assert!(read(&format!("{content}\n\ndata: {{\"cho")).unwrap().is_err(), "cut in an event");
        assert!(read(content).unwrap().is_err(), "cut between two");
        assert_eq!(read("{\"data\": 1}"), None);
    }
}

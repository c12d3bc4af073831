//! The JSON of Messages: what an answer means, whole or in events.

use std::collections::VecDeque;

use abyme_core::{Delta, FinishReason, NativeCall, Response, Usage};
use abyme_model_http::{Event, Progress, ProviderError, ReadReply, Unusable, count, json};
use serde_json::Value;

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    text: String,
    reasoning: String,
    counts: Counts,
    stop: Option<String>,
    model: Option<String>,
    call: Option<Call>,
    is_over: bool,
}

/// What the API counts. Requests are counted in three parts, of which each can come anew in a later event.
#[derive(Debug, Default)]
struct Counts {
    uncached: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

/// The first function that the model calls.
#[derive(Debug)]
struct Call {
    index: Option<u64>,
    name: String,
    /// As they stand at the beginning: an empty object where pieces follow.
    arguments: Value,
    pieces: String,
}

impl Reply {
    /// Takes an event in, or a whole answer, which is an event of its own.
    pub(crate) fn take(&mut self, event: &Value, news: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        let index = event.get("index").and_then(Value::as_u64);
        let part = |name: &str| event.get(name).unwrap_or(&Value::Null);
        match event.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message_start" => self.message(part("message"), news),
            "message" => {
                self.message(event, news);
                self.is_over = true;
            }
            "content_block_start" => self.block(index, part("content_block"), news),
            "content_block_delta" => self.piece(index, part("delta"), news),
            "message_delta" => {
                self.stopped(part("delta"));
                self.count(part("usage"), news);
            }
            "message_stop" => self.is_over = true,
            // Of the type `error`, or of none where a gateway failed.
            _ => {
                if let Some(error) = ProviderError::find(event) {
                    let usage = self.usage();
                    let is_known = usage.total_tokens().is_some();
                    return Err(Unusable::failed(error).usage(is_known.then_some(usage)));
                }
            }
        }
        Ok(match (self.is_over, &self.stop) {
            (true, _) => Progress::Done,
            (false, Some(_)) => Progress::Finished,
            (false, None) => Progress::Open,
        })
    }

    fn message(&mut self, message: &Value, news: &mut VecDeque<Delta>) {
        self.model = message.get("model").and_then(Value::as_str).map(str::to_owned).or(self.model.take());
        self.stopped(message);
        for block in message.get("content").and_then(Value::as_array).into_iter().flatten() {
            self.block(None, block, news);
        }
        self.count(message.get("usage").unwrap_or(&Value::Null), news);
    }

    fn block(&mut self, index: Option<u64>, block: &Value, news: &mut VecDeque<Delta>) {
        let text = |field: &str| block.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "text" => self.say(text("text"), news),
            "thinking" => self.think(text("thinking"), news),
            "tool_use" if self.call.is_none() => {
                let arguments = block.get("input").cloned().unwrap_or_default();
                let pieces = String::new();
                self.call = Some(Call { index, name: text("name").to_owned(), arguments, pieces });
            }
            _ => {}
        }
    }

    fn piece(&mut self, index: Option<u64>, delta: &Value, news: &mut VecDeque<Delta>) {
        let text = |field: &str| delta.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "text_delta" => self.say(text("text"), news),
            "thinking_delta" => self.think(text("thinking"), news),
            "input_json_delta" => {
                if let Some(call) = self.call.as_mut().filter(|call| call.index == index) {
                    call.pieces.push_str(text("partial_json"));
                }
            }
            // Signatures and citations.
            _ => {}
        }
    }

    fn say(&mut self, text: &str, news: &mut VecDeque<Delta>) {
        if !text.is_empty() {
            self.text.push_str(text);
            news.push_back(Delta::Text(text.to_owned()));
        }
    }

    fn think(&mut self, text: &str, news: &mut VecDeque<Delta>) {
        if !text.is_empty() {
            self.reasoning.push_str(text);
            news.push_back(Delta::Reasoning(text.to_owned()));
        }
    }

    fn stopped(&mut self, said: &Value) {
        let reason = said.get("stop_reason").and_then(Value::as_str);
        self.stop = reason.map(str::to_owned).or(self.stop.take());
    }

    fn count(&mut self, told: &Value, news: &mut VecDeque<Delta>) {
        if !told.is_object() {
            return;
        }
        let counts = &mut self.counts;
        for (pointer, known) in [
            ("/input_tokens", &mut counts.uncached),
            ("/cache_read_input_tokens", &mut counts.read),
            ("/cache_creation_input_tokens", &mut counts.written),
            ("/output_tokens", &mut counts.output),
            ("/output_tokens_details/thinking_tokens", &mut counts.thinking),
        ] {
            // A later count replaces an earlier one, also where it makes no sense.
            if let Some(said) = told.pointer(pointer).filter(|said| !said.is_null()) {
                *known = count(said);
            }
        }
        news.push_back(Delta::Usage(self.usage()));
    }

    /// What the call has used, as far as it was said.
    pub(crate) fn usage(&self) -> Usage {
        let Counts { uncached, read, written, output, thinking } = self.counts;
        let mut usage = Usage::call();
        // The API counts apart what it read from its cache and what it wrote into it.
        usage.input_tokens = uncached.map(|uncached| uncached + read.unwrap_or(0) + written.unwrap_or(0));
        usage.cached_tokens = read;
        usage.cache_write_tokens = written;
        usage.output_tokens = output;
        usage.reasoning_tokens = thinking;
        usage
    }

    fn take_response(&mut self) -> Response {
        let usage = self.usage();
        let call = self.call.take().map(|call| {
            let arguments = match call.arguments {
                _ if !call.pieces.is_empty() => call.pieces,
                Value::String(text) => text,
                other => other.to_string(),
            };
            NativeCall::new(call.name, arguments)
        });
        Response::new(std::mem::take(&mut self.text))
            .reasoning(std::mem::take(&mut self.reasoning))
            .usage(usage)
            .finish_reason(finish_reason(self.stop.as_deref()))
            .model(self.model.take())
            .native_call(call)
    }
}

fn finish_reason(reason: Option<&str>) -> FinishReason {
    match reason {
        None | Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("refusal") => FinishReason::ContentFilter,
        Some(other) => FinishReason::Other(other.to_owned()),
    }
}

impl ReadReply for Reply {
    fn read(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        match json(&event.data) {
            Ok(said) => self.take(&said, deltas),
            Err(error) => Err(Unusable::malformed(format!("an event is not JSON: {error}"))),
        }
    }

    fn response(&mut self) -> Result<Response, Unusable> {
        Ok(self.take_response())
    }

    fn whole(&mut self, answer: &Value) -> Result<Response, Unusable> {
        match self.take(answer, &mut VecDeque::new())? {
            Progress::Done => Ok(self.take_response()),
            _ => Err(Unusable::malformed("its `type` is not `message`")),
        }
    }
}

#[cfg(test)]
mod tests;

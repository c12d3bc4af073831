//! The JSON of `generateContent`: what an answer means, whole or in pieces of the same form.

use std::collections::VecDeque;

use abyme_core::{Delta, FinishReason, NativeCall, Response, Usage};
use abyme_model_http::{Event, Progress, ProviderError, ReadReply, Unusable, count, json};
use serde_json::Value;

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    text: String,
    reasoning: String,
    usage: Option<Usage>,
    finish: Option<String>,
    /// What the provider says of the finish.
    finish_message: String,
    model: Option<String>,
    id: Option<String>,
    call: Option<NativeCall>,
    /// Whether there was a candidate at all.
    began: bool,
}

impl Reply {
    /// Takes a piece of the answer in, or the whole.
    pub(crate) fn take(&mut self, piece: &Value, news: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        if let Some(error) = ProviderError::find(piece) {
            return Err(Unusable::failed(error).usage(self.usage));
        }
        let text = |name: &str| piece.get(name).and_then(Value::as_str).map(str::to_owned);
        self.model = text("modelVersion").or(self.model.take());
        self.id = text("responseId").or(self.id.take());
        if let Some(usage) = piece.get("usageMetadata").filter(|usage| usage.is_object()).map(usage) {
            self.usage = Some(usage);
            news.push_back(Delta::Usage(usage));
        }
        if let Some(candidate) = piece.pointer("/candidates/0") {
            self.candidate(candidate, news);
        } else if let Some(reason) = piece.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            let said = piece.pointer("/promptFeedback/blockReasonMessage").and_then(Value::as_str);
            let said = said.map_or_else(String::new, |said| format!(": {said}"));
            return Err(
                Unusable::refused(format!("the prompt was blocked ({reason}){said}")).usage(self.usage)
            );
        }
        Ok(if self.finish.is_some() { Progress::Finished } else { Progress::Open })
    }

    fn candidate(&mut self, candidate: &Value, news: &mut VecDeque<Delta>) {
        self.began = true;
        let parts = candidate.pointer("/content/parts").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            self.part(part, news);
        }
        if let Some(reason) = candidate.get("finishReason").and_then(Value::as_str) {
            self.finish = Some(reason.to_owned());
        }
        if let Some(message) = candidate.get("finishMessage").and_then(Value::as_str) {
            message.clone_into(&mut self.finish_message);
        }
    }

    fn part(&mut self, part: &Value, news: &mut VecDeque<Delta>) {
        if let Some(text) = part.get("text").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            let is_thought = part.get("thought").and_then(Value::as_bool) == Some(true);
            if is_thought {
                self.reasoning.push_str(text);
                news.push_back(Delta::Reasoning(text.to_owned()));
            } else {
                self.text.push_str(text);
                news.push_back(Delta::Text(text.to_owned()));
            }
        }
        if let Some(call) = part.get("functionCall").filter(|_| self.call.is_none()) {
            let name = call.get("name").and_then(Value::as_str).unwrap_or_default();
            let arguments = call.get("args").map(Value::to_string).unwrap_or_default();
            self.call = Some(NativeCall::new(name, arguments));
        } else if let Some(code) = part.pointer("/executableCode/code").filter(|_| self.call.is_none()) {
            // Code for the provider's own interpreter, which was not offered.
            let arguments = serde_json::json!({"code": code}).to_string();
            self.call = Some(NativeCall::new("executable_code", arguments));
        }
    }

    fn take_response(&mut self) -> Result<Response, Unusable> {
        if !self.began {
            return Err(Unusable::malformed("it has no `candidates`").usage(self.usage));
        }
        let finish = self.finish.take();
        // A call that is not even one in the provider's own form: what it was is in the message.
        let malformed = || {
            let is_malformed =
                matches!(finish.as_deref()?, "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL");
            let said = is_malformed.then_some(self.finish_message.as_str())?;
            Some(NativeCall::new("", said.strip_prefix("Malformed function call:").unwrap_or(said).trim()))
        };
        let call = self.call.take().or_else(malformed);
        Ok(Response::new(std::mem::take(&mut self.text))
            .reasoning(std::mem::take(&mut self.reasoning))
            .usage(self.usage.unwrap_or_else(Usage::call))
            .finish_reason(finish_reason(finish.as_deref()))
            .model(self.model.take())
            .request_id(self.id.take())
            .native_call(call))
    }
}

impl ReadReply for Reply {
    fn read(&mut self, event: &Event, deltas: &mut VecDeque<Delta>) -> Result<Progress, Unusable> {
        match json(&event.data) {
            Ok(piece) => self.take(&piece, deltas),
            Err(error) => Err(Unusable::malformed(format!("an event is not JSON: {error}"))),
        }
    }

    fn response(&mut self) -> Result<Response, Unusable> {
        self.take_response()
    }

    fn whole(&mut self, answer: &Value) -> Result<Response, Unusable> {
        // Without `alt=sse`, and from some gateways, the pieces come as one list.
        let pieces = answer.as_array().map_or_else(|| std::slice::from_ref(answer), Vec::as_slice);
        for piece in pieces {
            self.take(piece, &mut VecDeque::new())?;
        }
        self.take_response()
    }
}

fn finish_reason(reason: Option<&str>) -> FinishReason {
    match reason {
        None | Some("STOP" | "FINISH_REASON_UNSPECIFIED") => FinishReason::Stop,
        Some("MAX_TOKENS") => FinishReason::Length,
        Some(
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR",
        ) => FinishReason::ContentFilter,
        Some(other) => FinishReason::Other(other.to_owned()),
    }
}

/// What an answer says that it used. Thoughts are counted apart from the reply, and zeros are left out.
fn usage(told: &Value) -> Usage {
    let number = |field: &str| told.get(field).and_then(count);
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
    };
    let mut usage = Usage::call();
    usage.input_tokens = sum(number("promptTokenCount"), number("toolUsePromptTokenCount"));
    usage.cached_tokens = number("cachedContentTokenCount");
    usage.reasoning_tokens = number("thoughtsTokenCount");
    let counted = sum(number("candidatesTokenCount"), usage.reasoning_tokens);
    let rest = || number("totalTokenCount")?.checked_sub(usage.input_tokens?);
    usage.output_tokens = counted.or_else(rest);
    usage
}

#[cfg(test)]
mod tests;

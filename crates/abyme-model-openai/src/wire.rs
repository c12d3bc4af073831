//! The JSON of chat completions: what an answer means.

use abyme_core::{FinishReason, NativeCall, Response, Result, Usage};
use serde_json::{Map, Value};

/// The JSON in a body. A half of a surrogate pair, which Rust cannot hold and some servers write, becomes a
/// `?`, as everywhere in Abyme.
pub(crate) fn json(body: &str) -> Result<Value> {
    match serde_json::from_str(body) {
        Ok(value) => Ok(value),
        // The reader of values takes what Python writes, and its errors say what was expected.
        Err(_) => abyme_core::Value::parse_json(body).map(|value| value.to_json()),
    }
}

/// An answer that is JSON and not a completion with a text.
#[derive(Debug, PartialEq)]
pub(crate) enum Unusable {
    /// It does not have the form of a completion.
    Malformed(String),
    /// The model or a filter refused, in its own words.
    Refused(String),
    /// It says that something failed.
    Failed(ProviderError),
}

/// What an answer says. Forgiving about all that does not change the text.
pub(crate) fn completion(answer: &Value) -> Result<Response, Unusable> {
    let malformed = |what: &str| Unusable::Malformed(what.to_owned());
    if let Some(error) = ProviderError::find(answer) {
        return Err(Unusable::Failed(error));
    }
    let choices =
        answer.get("choices").and_then(Value::as_array).ok_or_else(|| malformed("it has no `choices`"))?;
    let choice = choices.first().ok_or_else(|| malformed("its `choices` are empty"))?;
    if let Some(error) = ProviderError::find(choice) {
        return Err(Unusable::Failed(error));
    }
    let message = choice.get("message").and_then(Value::as_object);
    let message = message.ok_or_else(|| malformed("its first choice has no `message`"))?;
    let finish_reason = finish_reason(choice.get("finish_reason").and_then(Value::as_str));

    let text = match message.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => text_of_parts(parts),
        Some(_) => return Err(malformed("its `content` is neither a text nor a list of parts")),
    };
    if let Some(refusal) = refusal(message).filter(|_| text.is_empty()) {
        return Err(Unusable::Refused(refusal));
    }
    // A message without a text is a reply all the same: a call in place of one, thoughts alone, or what a
    // filter or a limit left of it.
    let native_call = native_call(message);
    let model = answer.get("model").and_then(Value::as_str).map(str::to_owned);
    let response = Response::new(text).usage(usage(answer.get("usage")));
    Ok(response.finish_reason(finish_reason).model(model).native_call(native_call))
}

/// The texts in a list of parts, joined.
fn text_of_parts(parts: &[Value]) -> String {
    parts.iter().filter_map(|part| part.as_str().or_else(|| part.get("text")?.as_str())).collect()
}

fn refusal(message: &Map<String, Value>) -> Option<String> {
    let in_parts = || {
        let parts = message.get("content")?.as_array()?;
        parts.iter().find_map(|part| part.get("refusal")?.as_str())
    };
    let refusal = message.get("refusal").and_then(Value::as_str).or_else(in_parts)?;
    (!refusal.is_empty()).then(|| refusal.to_owned())
}

/// The first function that the message calls.
fn native_call(message: &Map<String, Value>) -> Option<NativeCall> {
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let call = calls.and_then(|calls| calls.first());
    let function = match call {
        // A custom tool has its input as a plain text.
        Some(call) => call.get("function").or_else(|| call.get("custom")).unwrap_or(call),
        None => message.get("function_call").filter(|call| !call.is_null())?,
    };
    let arguments = function.get("arguments").or_else(|| function.get("input"));
    Some(NativeCall::new(text(function.get("name")), text(arguments)))
}

fn finish_reason(reason: Option<&str>) -> FinishReason {
    let Some(reason) = reason else { return FinishReason::Stop };
    match reason.to_ascii_lowercase().as_str() {
        "stop" | "end_turn" | "eos" | "stop_sequence" | "" => FinishReason::Stop,
        "length" | "max_tokens" | "max_output_tokens" => FinishReason::Length,
        "content_filter" | "safety" => FinishReason::ContentFilter,
        _ => FinishReason::Other(reason.to_owned()),
    }
}

/// What an answer says that it used.
pub(crate) fn usage(told: Option<&Value>) -> Usage {
    let mut usage = Usage::call();
    let Some(told) = told else { return usage };
    let first = |pointers: &[&str]| pointers.iter().find_map(|pointer| count(told.pointer(pointer)?));
    usage.input_tokens = first(&["/prompt_tokens", "/input_tokens"]);
    usage.output_tokens = first(&["/completion_tokens", "/output_tokens"]);
    usage.cached_tokens = first(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
    ]);
    usage.reasoning_tokens = first(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/reasoning_tokens",
    ]);
    let costs = ["/cost", "/cost/total_cost", "/total_cost", "/estimated_cost"];
    usage.cost = costs.iter().find_map(|pointer| number(told.pointer(pointer)?));
    usage
}

/// A count, however it is written. Above 2^53 it is no count of tokens.
fn count(value: &Value) -> Option<u64> {
    number(value).filter(|number| number.fract() == 0.0 && *number < 9e15).map(|number| number as u64)
}

/// A number that is not negative, however it is written.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// An error as providers write it, in one of several forms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProviderError {
    /// What it says.
    pub(crate) message: String,
    /// Its codes and types, in lower case.
    pub(crate) codes: Vec<String>,
    /// The field of the request that it is about.
    pub(crate) param: Option<String>,
    /// The status it names, which can differ from that of the answer.
    pub(crate) status: Option<u16>,
    /// How many seconds it asks to wait.
    pub(crate) retry_after: Option<f64>,
}

impl ProviderError {
    /// The error in an answer.
    pub(crate) fn find(answer: &Value) -> Option<Self> {
        // Gemini puts it into a list.
        let answer = answer.as_array().and_then(|list| list.first()).unwrap_or(answer);
        match answer.get("error") {
            Some(Value::String(message)) if !message.is_empty() => Some(Self::of(answer, message)),
            Some(error @ Value::Object(_)) => Some(Self::of(error, text(error.get("message")).as_str())),
            // vLLM and FastChat have it at the top.
            _ if answer.get("object").and_then(Value::as_str) == Some("error") => {
                Some(Self::of(answer, text(answer.get("message")).as_str()))
            }
            _ => None,
        }
    }

    /// The error in an answer whose status says that it is one.
    pub(crate) fn find_in_failure(answer: &Value) -> Option<Self> {
        Self::find(answer).or_else(|| {
            let message = ["message", "detail"].iter().find_map(|field| answer.get(field))?;
            Some(Self::of(answer, &text(Some(message))))
        })
    }

    fn of(error: &Value, message: &str) -> Self {
        let codes = ["code", "type", "status", "reason"].iter().filter_map(|field| error.get(field));
        let metadata = error.pointer("/metadata/error_type").into_iter();
        let status = error.get("code").or_else(|| error.get("status")).and_then(count);
        let details = error.get("details").and_then(Value::as_array);
        let delay =
            details.and_then(|details| details.iter().find_map(|detail| detail.get("retryDelay")?.as_str()));
        // OpenRouter says "Provider returned error", and keeps what the provider said elsewhere.
        let upstream = error.pointer("/metadata/raw").and_then(Value::as_str);
        Self {
            message: upstream.map_or_else(|| message.to_owned(), |upstream| format!("{message}: {upstream}")),
            codes: codes.chain(metadata).filter_map(Value::as_str).map(str::to_lowercase).collect(),
            param: error.get("param").and_then(Value::as_str).map(str::to_owned),
            status: status.and_then(|status| u16::try_from(status).ok()).filter(|s| (400..600).contains(s)),
            retry_after: delay.and_then(|delay| delay.strip_suffix('s')?.parse().ok()),
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests;

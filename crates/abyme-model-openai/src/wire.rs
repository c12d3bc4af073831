//! The JSON of chat completions: what an answer means.

use abyme_core::{FinishReason, NativeCall, Response, Result, Usage};
use abyme_model_http::{ProviderError, Unusable, count, number, text};
use serde_json::{Map, Value};

/// What an answer says. Forgiving about all that does not change the text.
pub(crate) fn completion(answer: &Value) -> Result<Response, Unusable> {
    let usage = answer.get("usage").map(|told| usage(Some(told)));
    reply(answer).map(|response| response.usage(usage.unwrap_or_else(Usage::call))).map_err(|unusable| {
        // The provider counts an answer that is of no use.
        unusable.usage(usage)
    })
}

fn reply(answer: &Value) -> Result<Response, Unusable> {
    let malformed = |what: &str| Unusable::malformed(what);
    if let Some(error) = ProviderError::find(answer) {
        return Err(Unusable::failed(error));
    }
    let choices =
        answer.get("choices").and_then(Value::as_array).ok_or_else(|| malformed("it has no `choices`"))?;
    let choice = choices.first().ok_or_else(|| malformed("its `choices` are empty"))?;
    if let Some(error) = ProviderError::find(choice) {
        return Err(Unusable::failed(error));
    }
    let message = choice.get("message").and_then(Value::as_object);
    let message = message.ok_or_else(|| malformed("its first choice has no `message`"))?;
    let finish_reason = finish_reason(choice.get("finish_reason").and_then(Value::as_str));

    let content = text_in(message.get("content"));
    let text = content.ok_or_else(|| malformed("its `content` is neither a text nor a list of parts"))?;
    if let Some(refusal) = refusal(message).filter(|_| text.is_empty()) {
        return Err(Unusable::refused(refusal));
    }
    // A message without a text is a reply all the same: a call in place of one, thoughts alone, or what a
    // filter or a limit left of it.
    let native_call = native_call(message);
    let model = answer.get("model").and_then(Value::as_str).map(str::to_owned);
    let response = Response::new(text).reasoning(reasoning(message).unwrap_or_default());
    Ok(response.finish_reason(finish_reason).model(model).native_call(native_call))
}

/// Fields that hold what the model thought. Some servers write it under both names.
pub(crate) const REASONING: &[&str] = &["reasoning_content", "reasoning"];

/// What the model thought, where the server tells it apart.
pub(crate) fn reasoning(message: &Map<String, Value>) -> Option<&str> {
    let texts = REASONING.iter().filter_map(|field| message.get(*field)?.as_str());
    texts.into_iter().find(|text| !text.is_empty())
}

/// The text of a content: a text, or the texts in a list of parts, joined. `None` if it is something else.
pub(crate) fn text_in(content: Option<&Value>) -> Option<String> {
    let of_part = |part: &Value| part.as_str().or_else(|| part.get("text")?.as_str()).map(str::to_owned);
    match content {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(parts)) => Some(parts.iter().filter_map(of_part).collect()),
        Some(_) => None,
    }
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

pub(crate) fn finish_reason(reason: Option<&str>) -> FinishReason {
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

#[cfg(test)]
mod tests;

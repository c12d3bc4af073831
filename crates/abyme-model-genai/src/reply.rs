//! What genai's events add up to.

use abyme_core::{Delta, FinishReason, NativeCall, Response, Usage};
use genai::chat::{self, ChatStreamEvent, StopReason, StreamEnd};

/// A reply as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    text: String,
    reasoning: String,
}

impl Reply {
    /// What an event adds to it; nothing if nobody wants to know that.
    pub(crate) fn take(&mut self, event: ChatStreamEvent) -> Option<Delta> {
        match event {
            ChatStreamEvent::Chunk(piece) if !piece.content.is_empty() => {
                self.text.push_str(&piece.content);
                Some(Delta::Text(piece.content))
            }
            ChatStreamEvent::ReasoningChunk(piece) if !piece.content.is_empty() => {
                self.reasoning.push_str(&piece.content);
                Some(Delta::Reasoning(piece.content))
            }
            ChatStreamEvent::End(end) => Some(Delta::Done(self.response(&end))),
            _ => None,
        }
    }

    /// How many bytes of it there are.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.reasoning.len()
    }

    /// The reply at `end`.
    pub(crate) fn response(&mut self, end: &StreamEnd) -> Response {
        let calls = end.captured_tool_calls().unwrap_or_default();
        let call = calls.first().map(|call| {
            let arguments = match &call.fn_arguments {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            NativeCall::new(&call.fn_name, arguments)
        });
        Response::new(std::mem::take(&mut self.text))
            .reasoning(std::mem::take(&mut self.reasoning))
            .usage(usage(end.captured_usage.as_ref()))
            .finish_reason(finish_reason(end.captured_stop_reason.as_ref()))
            .request_id(end.captured_response_id.clone())
            .native_call(call)
    }
}

fn finish_reason(reason: Option<&StopReason>) -> FinishReason {
    match reason {
        None | Some(StopReason::Completed(_) | StopReason::StopSequence(_)) => FinishReason::Stop,
        Some(StopReason::MaxTokens(_)) => FinishReason::Length,
        Some(StopReason::ContentFilter(_)) => FinishReason::ContentFilter,
        Some(StopReason::ToolCall(said) | StopReason::Other(said)) => FinishReason::Other(said.clone()),
    }
}

fn usage(told: Option<&chat::Usage>) -> Usage {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    let mut usage = Usage::call();
    let Some(told) = told else { return usage };
    usage.input_tokens = count(told.prompt_tokens);
    usage.output_tokens = count(told.completion_tokens);
    if let Some(details) = &told.prompt_tokens_details {
        usage.cached_tokens = count(details.cached_tokens);
        usage.cache_write_tokens = count(details.cache_creation_tokens);
    }
    usage.reasoning_tokens =
        told.completion_tokens_details.as_ref().and_then(|it| count(it.reasoning_tokens));
    usage
}

#[cfg(test)]
mod tests {
    use genai::chat::StreamChunk;

    use super::*;

    #[test]
    fn pieces_add_up_to_the_reply() {
        let chunk = |text: &str| StreamChunk { content: text.to_owned() };
        let mut reply = Reply::default();
        assert_eq!(reply.take(ChatStreamEvent::Start), None);
        assert_eq!(
            reply.take(ChatStreamEvent::ReasoningChunk(chunk("hm"))),
            Some(Delta::Reasoning("hm".into()))
        );
        for piece in ["Par", "", "is"] {
            reply.take(ChatStreamEvent::Chunk(chunk(piece)));
        }
        assert_eq!(reply.bytes(), 7);
        let usage = chat::Usage { prompt_tokens: Some(3), completion_tokens: Some(-1), ..Default::default() };
        let end = StreamEnd {
            captured_usage: Some(usage),
            captured_stop_reason: Some(StopReason::from("length".to_owned())),
            ..StreamEnd::default()
        };
        let Some(Delta::Done(response)) = reply.take(ChatStreamEvent::End(end)) else { panic!("no end") };
        assert_eq!((response.text.as_str(), response.reasoning.as_str()), ("Paris", "hm"));
        assert_eq!((response.usage.input_tokens, response.usage.output_tokens), (Some(3), None));
        assert_eq!(response.finish_reason, FinishReason::Length);
    }
}

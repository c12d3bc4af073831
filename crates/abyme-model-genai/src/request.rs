//! A request in genai's form.

use abyme_core::{Request, Role};
use genai::chat::{CacheControl, ChatMessage, ChatOptions, ChatRequest, JsonSpec, ReasoningEffort};
use serde_json::Value;

use crate::config::Config;

/// The most breakpoints of a prompt cache that providers take.
const MAX_CACHE_POINTS: usize = 4;

/// The conversation. The system's first messages become genai's field for them, unless its end is to be kept.
pub(crate) fn chat(request: &Request) -> ChatRequest {
    let points = request.cache_points.len();
    let kept = |at: &usize| {
        let place = request.cache_points.iter().position(|point| point == at);
        place.is_some_and(|place| place == 0 || place + MAX_CACHE_POINTS > points)
    };
    let messages = request.messages.iter().enumerate().filter(|(_, message)| !message.content.is_empty());
    let messages = messages.map(|(at, message)| {
        let text = message.content.as_str();
        let message = match message.role {
            Role::System => ChatMessage::system(text),
            Role::Assistant => ChatMessage::assistant(text),
            _ => ChatMessage::user(text),
        };
        if kept(&at) { message.with_options(CacheControl::Ephemeral) } else { message }
    });
    ChatRequest::new(messages.collect())
}

/// How the reply is to be made.
pub(crate) fn options(request: &Request, config: &Config) -> ChatOptions {
    let mut options = ChatOptions::default()
        .with_capture_usage(true)
        .with_capture_tool_calls(true)
        .with_stream_read_timeout(config.http.idle_timeout);
    options.max_tokens = request.max_tokens.or(config.max_tokens);
    options.temperature = request.temperature.or(config.temperature);
    options.stream_header_timeout = config.http.first_byte_timeout;
    options.seed = config.options.seed;
    options.reasoning_effort = config.options.effort.as_deref().and_then(ReasoningEffort::from_keyword);
    let schema = request.schema.as_ref().filter(|schema| schema["type"] == "object");
    options.response_format = schema.map(|schema| JsonSpec::new("reply", schema.clone()).into());
    options.extra_body = (!config.extra_body.is_empty()).then(|| Value::Object(config.extra_body.clone()));
    let headers = config.http.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    options.extra_headers = Some(headers.collect::<Vec<_>>().into());
    options
}

#[cfg(test)]
mod tests {
    use abyme_core::Message;
    use genai::chat::ChatRole;

    use super::*;

    #[test]
    fn messages_keep_their_roles_and_cache_points() {
        let messages = vec![
            Message::system("rules"),
            Message::user("task"),
            Message::assistant(""),
            Message::assistant("code"),
            Message::user("output"),
        ];
        let chat = chat(&Request::new(messages).cache_points([0, 4]));
        let told: Vec<_> =
            chat.messages.iter().map(|message| (message.role.clone(), message.options.is_some())).collect();
        let expected = [
            (ChatRole::System, true),
            (ChatRole::User, false),
            (ChatRole::Assistant, false),
            (ChatRole::User, true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_request_counts_before_the_configuration() {
        let config = Config { max_tokens: Some(9), temperature: Some(0.5), ..Config::new("cohere/m") };
        let options = options(&Request::prompt("?").max_tokens(7), &config);
        assert_eq!((options.max_tokens, options.temperature), (Some(7), Some(0.5)));
        assert!(options.response_format.is_none() && options.extra_body.is_none());
    }
}

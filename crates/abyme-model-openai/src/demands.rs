//! What a server does not take, learned from its refusals: the call is repeated without it, and later calls
//! of the same model begin that way.

use abyme_core::{Message, Role};
use abyme_model_http::ProviderError;

use crate::provider::MAX_TOKENS_FIELDS;

/// What the requests of one model have to leave out or to write otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// The most tokens of a reply have the other name.
    pub(crate) other_max_tokens: bool,
    /// No temperature but the model's own.
    pub(crate) no_temperature: bool,
    /// No messages of the system.
    pub(crate) no_system_role: bool,
    /// No schema of the reply.
    pub(crate) no_schema: bool,
    /// No wish for the usage at the end of a stream.
    pub(crate) no_stream_usage: bool,
    /// No effort of reasoning.
    pub(crate) no_reasoning_effort: bool,
    /// The model answers by the Responses API alone.
    pub(crate) responses: bool,
}

/// What a request held that may be refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// The field for the most tokens of a reply, if it was ours.
    pub(crate) max_tokens_field: Option<&'static str>,
    pub(crate) temperature: bool,
    pub(crate) system_role: bool,
    pub(crate) schema: bool,
    pub(crate) stream_usage: bool,
    pub(crate) reasoning_effort: bool,
    pub(crate) by_chat: bool,
}

impl Demands {
    /// These demands and the one in `error`; `None` if the error is about something else.
    pub(crate) fn with(self, error: &ProviderError, sent: Sent) -> Option<Self> {
        let message = error.message.to_lowercase();
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
        let names = |field: &str| error.param.as_deref() == Some(field) || has_word(&message, field);
        let refused = says(NOT_TAKEN) || error.codes.iter().any(|code| code.starts_with("unsupported_"));

        // "This model is only supported in v1/responses and not in v1/chat/completions."
        if sent.by_chat && !self.responses && says(&["only supported in v1/responses"]) {
            return Some(Self { responses: true, ..self });
        }
        let about_effort = names("reasoning_effort") || names("reasoning.effort");
        if sent.reasoning_effort
            && !self.no_reasoning_effort
            && about_effort
            && refused
            && !says(&["unsupported value"])
        {
            return Some(Self { no_reasoning_effort: true, ..self });
        }
        if let Some(field) = sent.max_tokens_field.filter(|_| !self.other_max_tokens) {
            let other = other_max_tokens(field);
            if names(field) && (refused || has_word(&message, other)) {
                return Some(Self { other_max_tokens: true, ..self });
            }
        }
        if sent.temperature && !self.no_temperature && names("temperature") && refused {
            return Some(Self { no_temperature: true, ..self });
        }
        let about_schema = names("response_format") || names("text.format") || says(SCHEMA);
        if sent.schema && !self.no_schema && about_schema {
            return Some(Self { no_schema: true, ..self });
        }
        let about_stream = names("stream_options") || names("include_usage");
        if sent.stream_usage && !self.no_stream_usage && about_stream {
            return Some(Self { no_stream_usage: true, ..self });
        }
        let about_system = says(SYSTEM_ROLE) && refused || says(NO_SYSTEM_ROLE);
        if sent.system_role && !self.no_system_role && about_system {
            return Some(Self { no_system_role: true, ..self });
        }
        None
    }
}

/// The name that is not `field`.
pub(crate) fn other_max_tokens(field: &str) -> &'static str {
    MAX_TOKENS_FIELDS[usize::from(field == MAX_TOKENS_FIELDS[0])]
}

/// The messages without the role of the system: its texts begin the user's. Such templates want the roles to
/// take turns, so messages of the user that follow each other become one.
pub(crate) fn without_system_role(messages: &[Message]) -> Vec<Message> {
    let mut merged: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let is_user = message.role != Role::Assistant;
        match merged.last_mut() {
            Some(last) if is_user && last.role == Role::User => {
                last.content.push_str("\n\n");
                last.content.push_str(&message.content);
            }
            _ if is_user => merged.push(Message::user(message.content.as_str())),
            _ => merged.push(message.clone()),
        }
    }
    merged
}

/// Whether `text` names `word`, and not a longer name that holds it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

const NOT_TAKEN: &[&str] = &[
    "not support",
    "n't support",
    "unsupported",
    "only supports",
    "unrecognized",
    "unknown",
    "not permitted",
    "not allowed",
    "unexpected",
    "extra inputs",
    "deprecated",
    "only the default",
];

/// What a refusal is about that does not name the field. The request does without, whatever is wrong with it.
const SCHEMA: &[&str] = &[
    "json_schema",
    "json schema",
    "structured output",
    "guided decoding",
    "responseformat",
    "response format",
];

const SYSTEM_ROLE: &[&str] = &[
    "system role",
    "role system",
    "role 'system'",
    "role \"system\"",
    "role `system`",
    "support 'system'",
    "support \"system\"",
    "system message",
    "system prompt",
    "system instruction",
];

/// What templates without a system role say, and Gemini's API of Gemma.
const NO_SYSTEM_ROLE: &[&str] = &[
    "roles must alternate user/assistant",
    "roles must alternate between user and assistant",
    "only user and assistant roles",
    "only user, assistant",
    "developer instruction is not enabled",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: Sent = Sent {
        max_tokens_field: Some("max_tokens"),
        temperature: true,
        system_role: true,
        schema: true,
        stream_usage: true,
        reasoning_effort: true,
        by_chat: true,
    };

    fn learned(error: serde_json::Value) -> Option<Demands> {
        let error = ProviderError::find_in_failure(&json!({ "error": error })).unwrap();
        Demands::default().with(&error, ALL)
    }

    #[test]
    fn refusals_as_real_servers_write_them() {
        let max_tokens = Some(Demands { other_max_tokens: true, ..Demands::default() });
        let temperature = Some(Demands { no_temperature: true, ..Demands::default() });
        let system = Some(Demands { no_system_role: true, ..Demands::default() });
        let schema = Some(Demands { no_schema: true, ..Demands::default() });
        let stream_usage = Some(Demands { no_stream_usage: true, ..Demands::default() });
        for (demand, message) in [
            (
                max_tokens,
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                 'max_completion_tokens' instead.",
            ),
            (
                max_tokens,
                "[{'type': 'extra_forbidden', 'loc': ('body', 'max_tokens'), 'msg': 'Extra inputs'}]",
            ),
            (temperature, "Unsupported parameter: 'temperature' is not supported with this model."),
            (
                temperature,
                "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default \
                 (1) value is supported.",
            ),
            (temperature, "gpt-5 models don't support temperature=0.2. Only temperature=1 is supported."),
            (temperature, "`temperature` is deprecated for this model."),
            (system, "System role not supported"),
            (system, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
            (system, "Conversation roles must alternate user/assistant/user/assistant/..."),
            (system, "Developer instruction is not enabled for models/gemma-3-27b-it"),
            (system, "Only user and assistant roles are supported!"),
            (schema, "This response_format type is unavailable now"),
            (schema, "Invalid schema for response_format 'reply': 'uniqueItems' is not permitted."),
            (schema, "model `m` does not support structured outputs"),
            (
                Some(Demands { responses: true, ..Demands::default() }),
                "This model is only supported in v1/responses and not in v1/chat/completions.",
            ),
            (
                Some(Demands { no_reasoning_effort: true, ..Demands::default() }),
                "Unrecognized request argument supplied: reasoning_effort",
            ),
            (None, "Unsupported value: 'reasoning_effort' must be one of 'low', 'high'"),
            (stream_usage, "Unrecognized request argument supplied: stream_options"),
            (
                stream_usage,
                "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs'}]",
            ),
            (None, "max_tokens is too large: 100000. This model supports at most 16384 completion tokens"),
            (None, "temperature has to be between 0 and 2"),
            (None, "unknown model `m`"),
            (None, "this operating system does not support it"),
        ] {
            assert_eq!(learned(json!({"message": message})), demand, "{message}");
        }
        let coded = json!({"message": "no", "param": "temperature", "code": "unsupported_value"});
        assert_eq!(learned(coded), temperature);
    }

    #[test]
    fn nothing_is_learned_twice_or_of_what_was_not_sent() {
        let error = json!({"error": "temperature is not supported"});
        let error = ProviderError::find(&error).unwrap();
        let once = Demands::default().with(&error, ALL).unwrap();
        assert_eq!(once.with(&error, ALL), None);
        assert_eq!(Demands::default().with(&error, Sent::default()), None);
    }

    #[test]
    fn messages_without_a_system_take_turns() {
        let merged = without_system_role(&[
            Message::system("rules"),
            Message::user("task"),
            Message::assistant("cell"),
            Message::user("output"),
            Message::user("go on"),
        ]);
        let expected =
            [Message::user("rules\n\ntask"), Message::assistant("cell"), Message::user("output\n\ngo on")];
        assert_eq!(merged, expected);
    }
}

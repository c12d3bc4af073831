//! A request for a chat completion, as OpenAI's clients send it.
//!
//! What would change the meaning of the reply and cannot be done here is refused. Settings of sampling and
//! the like are the business of the models behind the server, and are passed over.

use abyme_core::{Inputs, Text, Value, without_lone_surrogates};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::{refusal::Refusal, task};

const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) inputs: Inputs,
    pub(crate) stream: bool,
    /// Whether a stream ends with what was used.
    pub(crate) include_usage: bool,
    /// The texts that end the answer.
    pub(crate) stop: Vec<String>,
}

#[derive(Deserialize)]
struct RequestBody {
    model: Option<String>,
    messages: Option<Vec<RequestMessage>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    stop: Option<Json>,
    n: Option<Json>,
    tools: Option<Json>,
    functions: Option<Json>,
    response_format: Option<Json>,
    logprobs: Option<Json>,
    modalities: Option<Json>,
    audio: Option<Json>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct RequestMessage {
    role: String,
    content: Option<Json>,
    name: Option<String>,
    tool_call_id: Option<String>,
    tool_calls: Option<Json>,
}

impl ChatRequest {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let body: RequestBody = serde_json::from_slice(&without_lone_surrogates(body)).map_err(|error| {
            Refusal::invalid(format!("the body is no request for a chat completion: {error}"))
        })?;
        body.check()?;
        let Some(model) = body.model else {
            return Err(Refusal::invalid("the request names no model").param("model"));
        };
        Ok(Self {
            model,
            inputs: inputs(body.messages.unwrap_or_default())?,
            stream: body.stream.unwrap_or(false),
            include_usage: body.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            stop: stop(body.stop)?,
        })
    }
}

impl RequestBody {
    /// Refuses what cannot be done here.
    fn check(&self) -> Result<(), Refusal> {
        let is_empty = |value: &Json| value.as_array().is_some_and(Vec::is_empty);
        let is_text = |format: &Json| format["type"] == "text";
        let is_one = |n: &Json| *n == 1;
        let is_text_alone = |modalities: &Json| *modalities == serde_json::json!(["text"]);
        let unsupported = [
            ("n", self.n.as_ref().is_some_and(|n| !is_one(n)), "one reply is made for each request"),
            (
                "tools",
                self.tools.as_ref().is_some_and(|tools| !is_empty(tools)),
                "the client's tools are not called",
            ),
            (
                "functions",
                self.functions.as_ref().is_some_and(|them| !is_empty(them)),
                "the client's functions are not called",
            ),
            (
                "response_format",
                self.response_format.as_ref().is_some_and(|it| !is_text(it)),
                "replies are texts",
            ),
            (
                "logprobs",
                self.logprobs.as_ref().is_some_and(|it| *it != false),
                "a reply has no probabilities",
            ),
            (
                "modalities",
                self.modalities.as_ref().is_some_and(|it| !is_text_alone(it)),
                "replies are texts",
            ),
            ("audio", self.audio.is_some(), "replies are texts"),
        ];
        match unsupported.into_iter().find(|(_, is_asked, _)| *is_asked) {
            None => Ok(()),
            Some((param, _, why)) => {
                let refusal = Refusal::invalid(format!("`{param}` is not supported here as it is: {why}"));
                Err(refusal.status(axum::http::StatusCode::BAD_REQUEST, "unsupported_parameter").param(param))
            }
        }
    }
}

/// The inputs of the run: the last message of the user is the question.
fn inputs(messages: Vec<RequestMessage>) -> Result<Inputs, Refusal> {
    let last = messages.iter().rposition(|message| message.role == "user");
    let Some(last) = last else {
        return Err(
            Refusal::invalid("no message has the role `user`, and so nothing is asked").param("messages")
        );
    };
    let (mut question, mut others, mut system) = (String::new(), Vec::new(), String::new());
    for (index, message) in messages.into_iter().enumerate() {
        let RequestMessage { role, content, name, tool_call_id, tool_calls } = message;
        if !ROLES.contains(&role.as_str()) {
            let refusal =
                Refusal::invalid(format!("a message has the role {role:?}; roles are {}", ROLES.join(", ")));
            return Err(refusal.param(format!("messages[{index}].role")));
        }
        let text = text(content.unwrap_or_default()).map_err(|why| {
            Refusal::invalid(format!("a message's content is {why}"))
                .param(format!("messages[{index}].content"))
        })?;
        if index == last {
            question = text;
        } else if matches!(role.as_str(), "system" | "developer") {
            if !system.is_empty() {
                system.push_str("\n\n");
            }
            system.push_str(&text);
        } else {
            let calls = tool_calls.filter(|calls| !calls.is_null()).map(|calls| calls.to_string());
            let fields = [("name", name), ("tool_call_id", tool_call_id), ("tool_calls", calls)];
            let fields = fields.into_iter().filter_map(|(field, text)| Some((field, text?)));
            let fields = [("role", role), ("content", text)].into_iter().chain(fields);
            others.push(Value::dict(fields.map(|(field, text)| (field, Text::from(text)))));
        }
    }
    Ok(task::inputs(question, others, system))
}

/// The text of a message: whole, or in parts. A text is moved, however long it is.
fn text(content: Json) -> Result<String, String> {
    match content {
        Json::Null => Ok(String::new()),
        Json::String(text) => Ok(text),
        Json::Array(parts) => {
            let mut whole = String::new();
            for part in parts {
                let kind = part["type"].as_str().unwrap_or_default().to_owned();
                let Json::Object(mut part) = part else { return Err("a part that is no object".to_owned()) };
                if !matches!(kind.as_str(), "text" | "input_text" | "refusal") {
                    return Err(format!("a part of the type {kind:?}; this server reads texts"));
                }
                let text = part.remove("text").or_else(|| part.remove("refusal"));
                let Some(Json::String(text)) = text else { return Err("a part without text".to_owned()) };
                if whole.is_empty() {
                    whole = text;
                } else {
                    whole.push('\n');
                    whole.push_str(&text);
                }
            }
            Ok(whole)
        }
        _ => Err("neither a text nor a list of parts".to_owned()),
    }
}

fn stop(stop: Option<Json>) -> Result<Vec<String>, Refusal> {
    let texts = match stop {
        None => return Ok(Vec::new()),
        Some(Json::String(text)) => vec![Json::String(text)],
        Some(Json::Array(texts)) => texts,
        Some(_) => vec![Json::Null],
    };
    let texts = texts.into_iter().map(|text| match text {
        Json::String(text) if !text.is_empty() => Ok(text),
        _ => Err(Refusal::invalid("`stop` is neither a text nor a list of texts").param("stop")),
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use abyme_core::inputs;
    use serde_json::json;

    use super::*;

    fn read(body: Json) -> Result<ChatRequest, Refusal> {
        ChatRequest::read(body.to_string().as_bytes())
    }

    #[test]
    fn the_last_message_of_the_user_is_the_question() {
        let request = read(json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true}, "stop": ["END"],
            "temperature": 0.3, "max_tokens": 9, "n": 1, "tools": [], "logprobs": false, "stop_me": {},
            "response_format": {"type": "text"},
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
                {"role": "user", "content": "a document", "name": "ada"},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]},
                {"role": "tool", "content": "found", "tool_call_id": "c"},
                {"role": "user", "content": [
                    {"type": "text", "text": "What"}, {"type": "text", "text": "now?"},
                ]},
                {"role": "assistant", "content": "Well,"},
            ],
        }))
        .unwrap();
        assert_eq!((request.model.as_str(), request.stream, request.include_usage), ("m", true, true));
        assert_eq!(request.stop, ["END"]);
        let messages = Value::list([
            Value::dict([("role", "user"), ("content", "a document"), ("name", "ada")]),
            Value::dict([("role", "assistant"), ("content", ""), ("tool_calls", r#"[{"id":"c"}]"#)]),
            Value::dict([("role", "tool"), ("content", "found"), ("tool_call_id", "c")]),
            Value::dict([("role", "assistant"), ("content", "Well,")]),
        ]);
        let expected = inputs! {
            question: "What\nnow?", messages: messages, system: "Be brief.\n\nBe kind.",
        };
        assert_eq!(request.inputs, expected);
    }

    #[test]
    fn half_of_a_surrogate_pair_is_a_question_mark() {
        let body = br#"{"model": "m", "messages": [{"role": "user", "content": "ab\ud83d"}]}"#;
        let request = ChatRequest::read(body).unwrap();
        assert_eq!(request.inputs.get("question"), Some(&Value::from("ab?")));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_part() {
        let user = json!([{"role": "user", "content": "?"}]);
        for (field, value) in [
            ("n", json!(2)),
            ("tools", json!([{"type": "function"}])),
            ("functions", json!([{}])),
            ("response_format", json!({"type": "json_object"})),
            ("logprobs", json!(true)),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({})),
            ("stop", json!([1])),
            ("stop", json!({})),
            ("messages", json!([])),
            ("messages", json!([{"role": "system", "content": "?"}])),
            ("model", json!(null)),
        ] {
            let mut body = json!({"model": "m", "messages": user});
            body[field] = value.clone();
            let refusal = read(body).unwrap_err();
            assert_eq!(refusal.object()["error"]["param"], field, "{value}");
        }
        for (content, param) in [
            (json!(5), "messages[0].content"),
            (json!([{"type": "image_url", "image_url": {}}]), "messages[0].content"),
            (json!([{"type": "text"}]), "messages[0].content"),
            (json!(["text"]), "messages[0].content"),
        ] {
            let refusal = read(json!({"model": "m", "messages": [{"role": "user", "content": content}]}));
            assert_eq!(refusal.unwrap_err().object()["error"]["param"], param);
        }
        let wrong_role = json!([{"role": "robot", "content": ""}, {"role": "user", "content": "?"}]);
        let refusal = read(json!({"model": "m", "messages": wrong_role})).unwrap_err();
        assert_eq!(refusal.object()["error"]["param"], "messages[0].role");
    }

    #[test]
    fn nonsense_is_refused_in_few_words() {
        let deep = "[".repeat(100_000);
        let long = format!(r#"{{"model": 5, "messages": "{}"}}"#, "x".repeat(100_000));
        for body in ["", "null", "[]", "{\"model\"", deep.as_str(), long.as_str(), "\u{0}"] {
            let refusal = ChatRequest::read(body.as_bytes()).unwrap_err();
            assert!(refusal.object().to_string().len() < 1_000);
        }
        assert!(ChatRequest::read(&[0xff, 0xfe]).is_err());
    }
}

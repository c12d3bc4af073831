//! The JSON of chat completions: what is sent.

use std::{borrow::Cow, collections::BTreeMap};

use abyme_core::{Error, ErrorKind, Message, Request, Result, Role};
use abyme_model_http::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    config::{Config, SystemRole},
    demands::{self, Demands, Sent},
    provider::{Api, Endpoint, MAX_TOKENS_FIELDS},
};

/// The names that the most tokens of a reply have had: any of them in `extra_body` takes the place of ours.
const MAX_TOKENS: [&str; 3] = [MAX_TOKENS_FIELDS[0], MAX_TOKENS_FIELDS[1], "max_output_tokens"];

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    /// What the server is known to want otherwise.
    pub(crate) demands: Demands,
    /// Whether the answer is wanted in pieces.
    pub(crate) is_streamed: bool,
}

impl Form {
    /// Which API it is sent to.
    pub(crate) fn api(self, config: &Config) -> Api {
        if self.demands.responses { Api::Responses } else { config.options.api }
    }
}

/// The body of a request to `model`, and what of it a server may refuse. What the request does not set, the
/// configuration does.
///
/// [`Request::cache_points`] say nothing here: these servers find what a request repeats by themselves.
pub(crate) fn body(
    request: &Request,
    model: &str,
    endpoint: &Endpoint,
    config: &Config,
    form: Form,
) -> Result<(Bytes, Sent)> {
    #[derive(Serialize)]
    struct Body<'a> {
        model: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        messages: Option<&'a [Message]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<&'a [Message]>,
        #[serde(flatten)]
        options: BTreeMap<&'a str, &'a Value>,
    }

    let Form { demands, is_streamed } = form;
    let by_chat = form.api(config) == Api::ChatCompletions;
    let extra = &config.extra_body;
    let field = endpoint.max_tokens_field();
    let field = match by_chat {
        true if demands.other_max_tokens => demands::other_max_tokens(field),
        true => field,
        false => MAX_TOKENS[2],
    };
    let max_tokens = request.max_tokens.or(config.max_tokens).map(Value::from);
    let max_tokens = max_tokens.filter(|_| !MAX_TOKENS.iter().any(|field| extra.contains_key(*field)));
    let temperature = request.temperature.or(config.temperature).filter(|_| !demands.no_temperature);
    let temperature = temperature.map(Value::from);
    let usage = (by_chat && endpoint.tells_cost_on_request()).then(|| json!({"include": true}));
    let effort = config.options.reasoning_effort.as_deref().filter(|_| !demands.no_reasoning_effort);
    let (effort_field, effort) = match by_chat {
        true => ("reasoning_effort", effort.map(Value::from)),
        false => ("reasoning", effort.map(|effort| json!({"effort": effort}))),
    };
    // A provider takes an object only.
    let schema = request.schema.as_ref().filter(|schema| schema["type"] == "object" && !demands.no_schema);
    let format = schema.map(|schema| {
        let named = json!({"name": "reply", "schema": schema, "strict": is_strict(schema)});
        match (by_chat, named) {
            (true, named) => json!({"type": "json_schema", "json_schema": named}),
            (false, mut format) => {
                format["type"] = "json_schema".into();
                json!({ "format": format })
            }
        }
    });
    let format_field = if by_chat { "response_format" } else { "text" };
    let stream = is_streamed.then_some(Value::Bool(true));
    let wants_usage = is_streamed && by_chat && !demands.no_stream_usage;
    let stream_options = wants_usage.then(|| json!({"include_usage": true}));
    // Nothing that is asked here has to stay at the provider.
    let store = (!by_chat).then_some(Value::Bool(false));
    let ours = [
        (field, max_tokens),
        ("temperature", temperature),
        ("usage", usage),
        (effort_field, effort),
        (format_field, format),
        ("stream", stream),
        ("stream_options", stream_options),
        ("store", store),
    ];
    let ours: Vec<_> = ours.into_iter().filter(|(field, _)| !extra.contains_key(*field)).collect();
    let has = |field: &str| ours.iter().any(|(name, value)| *name == field && value.is_some());
    let mut options: BTreeMap<&str, &Value> =
        ours.iter().filter_map(|(field, value)| Some((*field, value.as_ref()?))).collect();
    options.extend(extra.iter().map(|(field, value)| (field.as_str(), value)));
    options.retain(|_, value| !value.is_null());

    let merged = config.options.system_role == SystemRole::InUserMessage || demands.no_system_role;
    let messages = match merged {
        true => Cow::Owned(demands::without_system_role(&request.messages)),
        false => Cow::Borrowed(&request.messages),
    };
    let sent = Sent {
        max_tokens_field: Some(field).filter(|field| by_chat && has(field)),
        temperature: has("temperature"),
        system_role: messages.iter().any(|message| message.role == Role::System),
        schema: has(format_field),
        stream_usage: has("stream_options"),
        reasoning_effort: has(effort_field),
        by_chat,
    };
    let messages = Some(&**messages);
    let (messages, input) = if by_chat { (messages, None) } else { (None, messages) };
    let body = serde_json::to_vec(&Body { model, messages, input, options }).map_err(|error| {
        Error::new(ErrorKind::Internal, "the request cannot be written as JSON").with_source(error)
    })?;
    Ok((body.into(), sent))
}

/// Whether OpenAI can hold its models to a schema to the letter: every object has all of its fields and no
/// others, and nothing is said by other words than those it knows.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(schema) => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let required = schema.get("required").and_then(Value::as_array).map_or(0, Vec::len);
            let is_open = schema.get("additionalProperties") != Some(&Value::Bool(false));
            let is_object = fields.is_some() || schema.get("type").is_some_and(|kind| kind == "object");
            !(is_object && (is_open || fields.map_or(0, |fields| fields.len()) != required))
                && schema.iter().all(|(word, value)| match word.as_str() {
                    "properties" | "$defs" => {
                        value.as_object().is_some_and(|all| all.values().all(is_strict))
                    }
                    "items" | "anyOf" => is_strict(value),
                    word => STRICT_WORDS.contains(&word),
                })
        }
        Value::Array(schemas) => schemas.iter().all(is_strict),
        _ => false,
    }
}

/// Words of JSON Schema that OpenAI's strict form knows, without those that hold schemas.
const STRICT_WORDS: &[&str] = &[
    "type",
    "required",
    "additionalProperties",
    "enum",
    "const",
    "description",
    "title",
    "$ref",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
];

#[cfg(test)]
mod tests;

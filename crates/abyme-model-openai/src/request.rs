//! The JSON of chat completions: what is sent.

use std::{borrow::Cow, collections::BTreeMap};

use abyme_core::{Error, ErrorKind, Message, Request, Result, Role};
use abyme_model_http::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    config::{Config, SystemRole},
    demands::{self, Demands, Sent},
    provider::{Endpoint, MAX_TOKENS_FIELDS},
};

/// The names that the most tokens of a reply have had: any of them in `extra_body` takes the place of ours.
const MAX_TOKENS: [&str; 3] = [MAX_TOKENS_FIELDS[0], MAX_TOKENS_FIELDS[1], "max_output_tokens"];

/// The body of a request to `model`, and what of it a server may refuse. What the request does not set, the
/// configuration does; `demands` are what the server is known to want otherwise.
pub(crate) fn body(
    request: &Request,
    model: &str,
    endpoint: &Endpoint,
    config: &Config,
    demands: Demands,
    streamed: bool,
) -> Result<(Bytes, Sent)> {
    #[derive(Serialize)]
    struct Body<'a> {
        model: &'a str,
        messages: &'a [Message],
        #[serde(flatten)]
        options: BTreeMap<&'a str, &'a Value>,
    }

    let extra = &config.extra_body;
    let field = endpoint.max_tokens_field();
    let field = if demands.other_max_tokens { demands::other_max_tokens(field) } else { field };
    let max_tokens = request.max_tokens.or(config.max_tokens).map(Value::from);
    let max_tokens = max_tokens.filter(|_| !MAX_TOKENS.iter().any(|field| extra.contains_key(*field)));
    let temperature = request.temperature.or(config.temperature).filter(|_| !demands.no_temperature);
    let temperature = temperature.map(Value::from).filter(|_| !extra.contains_key("temperature"));
    let usage = endpoint.tells_cost_on_request().then(|| json!({"include": true}));
    // A provider takes an object only.
    let schema = request.schema.as_ref().filter(|schema| schema["type"] == "object" && !demands.no_schema);
    let schema = schema.filter(|_| !extra.contains_key("response_format"));
    let format = schema
        .map(|schema| json!({"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}));
    let stream = streamed.then_some(Value::Bool(true));
    let stream_options = (streamed && !demands.no_stream_usage).then(|| json!({"include_usage": true}));
    let stream_options = stream_options.filter(|_| !extra.contains_key("stream_options"));
    let ours = [
        ("stream", &stream),
        ("stream_options", &stream_options),
        (field, &max_tokens),
        ("temperature", &temperature),
        ("usage", &usage),
        ("response_format", &format),
    ];
    let ours = ours.iter().filter_map(|(field, value)| Some((*field, value.as_ref()?)));
    let mut options: BTreeMap<&str, &Value> = ours.collect();
    options.extend(extra.iter().map(|(field, value)| (field.as_str(), value)));
    options.retain(|_, value| !value.is_null());

    let merged = config.system_role == SystemRole::InUserMessage || demands.no_system_role;
    let messages = match merged {
        true => Cow::Owned(demands::without_system_role(&request.messages)),
        false => Cow::Borrowed(&request.messages),
    };
    let sent = Sent {
        max_tokens_field: max_tokens.is_some().then_some(field),
        temperature: temperature.is_some(),
        system_role: messages.iter().any(|message| message.role == Role::System),
        schema: format.is_some(),
        stream_usage: stream_options.is_some(),
    };
    let body = Body { model, messages: &messages, options };
    let body = serde_json::to_vec(&body).map_err(|error| {
        Error::new(ErrorKind::Internal, "the request cannot be written as JSON").with_source(error)
    })?;
    Ok((body.into(), sent))
}

#[cfg(test)]
mod tests;

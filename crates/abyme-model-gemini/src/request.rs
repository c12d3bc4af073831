//! The JSON of `generateContent`: what is sent.

use abyme_core::{Error, ErrorKind, Request, Result, Role};
use abyme_model_http::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    config::Config,
    demands::{Demands, Sent},
    schema,
};

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

/// Messages of one author that follow each other.
#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

/// The body of a request, and what of it the API may refuse.
pub(crate) fn body(request: &Request, config: &Config, demands: Demands) -> Result<(Bytes, Sent)> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        system_instruction: Option<Content<'a>>,
        contents: Vec<Content<'a>>,
        #[serde(flatten)]
        options: Map<String, Value>,
    }

    let (system, contents) = contents(request);
    if contents.is_empty() {
        return Err(Error::new(ErrorKind::BadRequest, "the request has no message with a text"));
    }
    let (generation, sent) = generation(request, config, demands);
    let mut options = Map::new();
    if !generation.is_empty() {
        options.insert("generationConfig".to_owned(), Value::Object(generation));
    }
    for (field, value) in &config.extra_body {
        match (options.get_mut(field), value) {
            // The fields in an object are added one by one, like those of the body.
            (Some(Value::Object(ours)), Value::Object(fields)) => {
                ours.extend(fields.iter().map(|(field, value)| (field.clone(), value.clone())));
                ours.retain(|_, value| !value.is_null());
            }
            _ => drop(options.insert(field.clone(), value.clone())),
        }
    }
    options.retain(|_, value| !value.is_null());
    let system_instruction = (!system.is_empty()).then_some(Content { role: None, parts: system });
    let body = serde_json::to_vec(&Body { system_instruction, contents, options }).map_err(|error| {
        Error::new(ErrorKind::Internal, "the request cannot be written as JSON").with_source(error)
    })?;
    Ok((body.into(), sent))
}

/// The conversation in the API's form. The system's first messages become a field, and later ones the user's.
/// Empty messages are left out, since the API takes none.
fn contents(request: &Request) -> (Vec<Part<'_>>, Vec<Content<'_>>) {
    let (mut system, mut contents) = (Vec::new(), Vec::<Content<'_>>::new());
    for message in request.messages.iter().filter(|message| !message.content.is_empty()) {
        let part = Part { text: &message.content };
        let role = match message.role {
            Role::System if contents.is_empty() => {
                system.push(part);
                continue;
            }
            Role::Assistant => "model",
            _ => "user",
        };
        match contents.last_mut() {
            Some(last) if last.role == Some(role) => last.parts.push(part),
            _ => contents.push(Content { role: Some(role), parts: vec![part] }),
        }
    }
    if contents.is_empty() && !system.is_empty() {
        contents.push(Content { role: Some("user"), parts: std::mem::take(&mut system) });
    }
    (system, contents)
}

/// How the reply is to be made.
fn generation(request: &Request, config: &Config, demands: Demands) -> (Map<String, Value>, Sent) {
    let mut thinking = Map::new();
    if !demands.no_thinking {
        let ours = [
            ("includeThoughts", config.options.thoughts.then(|| json!(true))),
            ("thinkingBudget", config.options.thinking_budget.map(Value::from)),
            ("thinkingLevel", config.options.effort.as_ref().map(|effort| json!(effort))),
        ];
        thinking.extend(ours.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
    }
    let schema = request.schema.as_ref().filter(|_| !demands.no_schema);
    let sent = Sent { thinking: !thinking.is_empty(), schema: schema.is_some() };
    let ours = [
        ("maxOutputTokens", request.max_tokens.or(config.max_tokens).map(Value::from)),
        ("temperature", request.temperature.or(config.temperature).map(Value::from)),
        ("thinkingConfig", sent.thinking.then_some(Value::Object(thinking))),
        ("responseMimeType", schema.map(|_| json!("application/json"))),
        ("responseJsonSchema", schema.map(schema::for_api)),
    ];
    let ours = ours.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
    (ours.collect(), sent)
}

#[cfg(test)]
mod tests;

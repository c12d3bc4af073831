//! A server's tools as functions of a session.

use std::sync::Arc;

use abyme_core::{Effect, HostError, Result, Tool, Value, signature::DescribedType};
use indexmap::IndexMap;
use rmcp::model::{CallToolRequestParams, JsonObject, Tool as Listed, ToolAnnotations};
use serde_json::Value as Json;

use crate::{
    connection::Connection,
    content,
    names::{parameter_names, tool_names},
};

/// How the parameters of a tool are called on both sides.
struct Names {
    /// From Python's name to the server's, and whether the server wants it.
    parameters: IndexMap<String, (String, bool)>,
}

/// The tools, as the configuration says which ones and how they are called.
pub(crate) fn tools(listed: &[Listed], connection: &Arc<Connection>) -> Result<Vec<Tool>> {
    let server = &connection.server;
    let wanted =
        |tool: &&Listed| server.only.as_ref().is_none_or(|only| only.iter().any(|name| *name == tool.name));
    let wanted: Vec<_> = listed.iter().filter(wanted).collect();
    let names = tool_names(wanted.iter().map(|tool| &*tool.name), server.prefix.as_deref());
    wanted.into_iter().zip(names).map(|(tool, name)| one(tool, name, connection)).collect()
}

fn one(listed: &Listed, name: String, connection: &Arc<Connection>) -> Result<Tool> {
    let (schema, names) = with_python_names(&listed.input_schema);
    let output = listed.output_schema.as_ref().map(|schema| Json::Object(schema.as_ref().clone()));
    let is_wrapped =
        output.as_ref().and_then(|schema| schema.get("x-fastmcp-wrap-result")) == Some(&Json::Bool(true));
    let own_name = listed.name.to_string();
    let (server, call_timeout) = (connection.server.name(), connection.server.call_timeout);
    let (connection, names) = (connection.clone(), Arc::new(names));
    let mut tool = Tool::from_schema(name, description(listed), &schema, move |arguments| {
        let (connection, names, own_name) = (connection.clone(), names.clone(), own_name.clone());
        async move {
            let request = CallToolRequestParams::new(own_name).with_arguments(names.arguments(arguments)?);
            content::value(connection.call(request).await?, is_wrapped)
        }
    })
    .map_err(|error| error.context(format!("MCP server `{server}`")))?;
    if let Some(schema) = &output {
        let inner = match is_wrapped {
            true => schema.pointer("/properties/result").unwrap_or(schema),
            false => schema,
        };
        tool = tool.returns(DescribedType::from_schema("result", inner, schema).ty.to_string());
    }
    let annotations = listed.annotations.clone().unwrap_or_default();
    let effects = effects(&annotations);
    Ok(effects.into_iter().fold(tool.timeout(call_timeout), Tool::effect))
}

/// What the model reads: the server's words, its own name for the tool, and what it says about effects.
fn description(listed: &Listed) -> String {
    let annotations = listed.annotations.clone().unwrap_or_default();
    let title = listed.title.clone().or(annotations.title.clone());
    let text = listed.description.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let text = text.map(str::to_owned).or(title).unwrap_or_else(|| listed.name.to_string());
    match told_effects(&annotations) {
        Some(effects) => format!("{text}\n\n{effects}"),
        None => text,
    }
}

/// What a call does outside of the run. A server that says nothing may change something, and may send
/// something to others: so the protocol reads missing hints.
fn effects(annotations: &ToolAnnotations) -> Vec<Effect> {
    let first = if annotations.read_only_hint == Some(true) { Effect::Read } else { Effect::Write };
    let network = (annotations.open_world_hint != Some(false)).then_some(Effect::Network);
    [first].into_iter().chain(network).collect()
}

fn told_effects(annotations: &ToolAnnotations) -> Option<&'static str> {
    match (annotations.read_only_hint, annotations.destructive_hint) {
        (Some(true), _) => Some("It changes nothing, its server says."),
        (_, Some(true)) => Some("It may overwrite or delete something, its server says."),
        _ => None,
    }
}

/// The schema with Python's names for the parameters.
fn with_python_names(schema: &JsonObject) -> (Json, Names) {
    let mut schema = schema.clone();
    let properties = match schema.remove("properties") {
        Some(Json::Object(properties)) => properties,
        _ => JsonObject::new(),
    };
    let required: Vec<String> = match schema.remove("required") {
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let python = parameter_names(properties.keys().map(String::as_str));
    let parameters: IndexMap<_, _> = python
        .iter()
        .zip(properties.keys())
        .map(|(python, own)| (python.clone(), (own.clone(), required.contains(own))))
        .collect();
    let wanted = parameters.iter().filter(|(_, (_, is_required))| *is_required);
    let wanted: Vec<Json> = wanted.map(|(python, _)| python.as_str().into()).collect();
    schema.insert("required".to_owned(), Json::Array(wanted));
    let properties = python.into_iter().zip(properties.into_iter().map(|(_, property)| property));
    schema.insert("properties".to_owned(), Json::Object(properties.collect()));
    schema.insert("type".to_owned(), "object".into());
    (Json::Object(schema), Names { parameters })
}

impl Names {
    /// The arguments as the server calls them. One that may be left out and is `None` is left out.
    fn arguments(&self, arguments: IndexMap<String, Value>) -> Result<JsonObject, HostError> {
        let mut named = JsonObject::new();
        for (python, value) in arguments {
            let (own, is_required) = match self.parameters.get(&python) {
                Some((own, is_required)) => (own.clone(), *is_required),
                None => (python, true),
            };
            if is_required || !value.is_none() {
                if let Value::Bytes(_) = value {
                    let message =
                        format!("at {own}: a server takes no bytes; encode them as it wants, as text");
                    return Err(HostError::type_error(message));
                }
                named.insert(own, value.to_json());
            }
        }
        Ok(named)
    }
}

//! The contract of the format, made from the types: the JSON Schema beside the fixtures, and the events in
//! `TRAJECTORY.md`. With `ABYME_UPDATE=1` in the environment the test writes both.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use regex::Regex;
use schemars::generate::SchemaSettings;
use serde_json::{Value as Json, json};

use super::event::Record;

const SCHEMA: &str = "tests/trajectory/schema.json";
const DOCUMENT: &str = "../../TRAJECTORY.md";
/// What the generated part of the document stands between.
const MARKS: [&str; 2] = ["<!-- made from the types -->\n", "<!-- end -->\n"];
const COLUMNS: usize = 110;

#[test]
fn the_documents_say_what_the_types_are() {
    let schema = schema();
    compare(SCHEMA, |_| serde_json::to_string_pretty(&schema).unwrap() + "\n");
    compare(DOCUMENT, |document| {
        let (before, rest) = document.split_once(MARKS[0]).unwrap();
        let (_, after) = rest.split_once(MARKS[1]).unwrap();
        [before, MARKS[0], &described(&schema), MARKS[1], after].concat()
    });
}

#[test]
fn no_event_has_a_field_of_the_format() {
    let schema = schema();
    for event in schema["$defs"]["record"]["oneOf"].as_array().unwrap() {
        for name in ["sum", "blob", "run", "at"] {
            assert!(event["properties"].get(name).is_none(), "{event}");
        }
    }
}

fn compare(path: &str, expected: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = fs::read_to_string(&path).unwrap_or_default();
    let expected = expected(&found);
    if found != expected && std::env::var_os("ABYME_UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(found == expected, "{} is old: run this test with ABYME_UPDATE=1, read the diff", path.display());
}

/// The schema of a line: of a record once its blobs are put in place.
fn schema() -> Json {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut record = Json::from(generator.into_root_schema_for::<Record>());
    let fields = record.as_object_mut().unwrap();
    let mut definitions = fields.remove("$defs").unwrap();
    fields.remove("$schema");
    let sum = json!({"type": "string", "pattern": "^[0-9a-f]{16}$"});
    definitions["header"] = json!({
        "type": "object",
        "properties": {"abyme_trajectory": {"const": 1}},
        "required": ["abyme_trajectory"],
    });
    definitions["blob"] = json!({
        "type": "object",
        "properties": {
            "blob": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "text": {"type": "string"},
            "sum": sum,
        },
        "required": ["blob", "text", "sum"],
    });
    fields.get_mut("properties").unwrap()["sum"] = sum;
    fields.get_mut("required").unwrap().as_array_mut().unwrap().push("sum".into());
    definitions["record"] = record;
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of an Abyme trajectory, with its blobs put in place",
        "anyOf": [{"$ref": "#/$defs/header"}, {"$ref": "#/$defs/blob"}, {"$ref": "#/$defs/record"}],
        "$defs": definitions,
    })
}

/// The events and the types of their fields, as Markdown.
fn described(schema: &Json) -> String {
    let mut text = String::new();
    for event in schema["$defs"]["record"]["oneOf"].as_array().unwrap() {
        text.push_str(&format!("\n### `{}`\n", event["properties"]["event"]["const"].as_str().unwrap()));
        describe(event, &mut text);
    }
    text.push_str("\n## Types of fields\n");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if !["header", "blob", "record"].contains(&name.as_str()) {
            text.push_str(&format!("\n### {name}\n"));
            describe(definition, &mut text);
        }
    }
    text.push('\n');
    text
}

fn describe(schema: &Json, text: &mut String) {
    if let Some(description) = prose(schema) {
        text.push_str(&format!("\n{}\n", wrapped(&description, "")));
    }
    let mut items = Vec::new();
    let required = |of: &Json, name: &str| {
        of["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name))
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if name != "event" {
            let optional = if required(schema, name) { "" } else { ", may be absent" };
            let description = prose(field).map_or(String::new(), |prose| format!(": {prose}"));
            items.push(format!("`{name}`, {}{optional}{description}", type_of(field)));
        }
    }
    for key in ["oneOf", "anyOf"] {
        for variant in schema[key].as_array().into_iter().flatten() {
            let description = prose(variant).map_or(String::new(), |prose| format!(": {prose}"));
            let properties = variant["properties"].as_object();
            match properties.and_then(|properties| properties.iter().next()) {
                Some((name, field)) => {
                    items.push(format!("or `{name}`, {}{description}", type_of(field)));
                }
                None => items.push(format!("{}{description}", type_of(variant))),
            }
        }
    }
    if items.is_empty() && schema["properties"].is_null() {
        items.push(type_of(schema));
    }
    if !items.is_empty() {
        text.push('\n');
    }
    for item in items {
        text.push_str(&format!("{}\n", wrapped(&format!("- {item}"), "  ")));
    }
}

/// The first sentences of a description, without the links of rustdoc.
fn prose(schema: &Json) -> Option<String> {
    let description = schema["description"].as_str()?;
    let first = description.split("\n\n").next()?;
    let links = Regex::new(r"\[([^\]]*)\](\([^)]*\))?").unwrap();
    Some(links.replace_all(first, "$1").split_whitespace().collect::<Vec<_>>().join(" "))
}

fn type_of(schema: &Json) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema[key].as_array() {
            return kinds.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    let one = |name: &str| match name {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "object" => match &schema["additionalProperties"] {
            Json::Null => "object".to_owned(),
            values => format!("object of {}", type_of(values)),
        },
        other => other.to_owned(),
    };
    match &schema["type"] {
        Json::String(name) => one(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).map(one).collect::<Vec<_>>().join(" or "),
        _ => "any value".to_owned(),
    }
}

fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.trim().is_empty() || line.chars().count() + 1 + word.chars().count() <= COLUMNS {
            if !line.trim().is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines.join("\n")
}

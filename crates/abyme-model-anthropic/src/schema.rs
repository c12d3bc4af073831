//! A JSON Schema as the API takes it.

use serde_json::{Map, Value};

/// The schema with what the API can hold a model to: objects whose properties are all named, and no ranges,
/// lengths or patterns, which become words in the description. `None` where too little would be left.
pub(crate) fn for_api(schema: &Value) -> Option<Value> {
    let is_object = schema["type"] == "object";
    is_object.then(|| convert(schema)).flatten()
}

fn convert(schema: &Value) -> Option<Value> {
    let schema = schema.as_object()?;
    let mut made = Map::new();
    let mut in_words = Vec::new();
    for (keyword, value) in schema {
        let value = match keyword.as_str() {
            "type" | "enum" | "const" | "title" | "description" | "required" | "$ref" => value.clone(),
            "format" if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => value.clone(),
            "minItems" if matches!(value.as_u64(), Some(0 | 1)) => value.clone(),
            "properties" | "$defs" | "definitions" => {
                let named = value.as_object()?.iter();
                Value::Object(
                    named.map(|(name, of)| Some((name.clone(), convert(of)?))).collect::<Option<_>>()?,
                )
            }
            "anyOf" | "oneOf" | "allOf" => {
                Value::Array(value.as_array()?.iter().map(convert).collect::<Option<_>>()?)
            }
            "items" => convert(value)?,
            "additionalProperties" if *value == false || *value == true => continue,
            // A dict: its keys are not known, so no model can be held to it.
            "additionalProperties" | "prefixItems" => return None,
            "$schema" | "$id" | "$comment" | "default" | "examples" => continue,
            _ => {
                in_words.push(format!("{keyword}: {value}"));
                continue;
            }
        };
        let keyword = if keyword == "oneOf" { "anyOf" } else { keyword };
        made.insert(keyword.to_owned(), value);
    }
    let says_what =
        ["type", "enum", "const", "$ref", "anyOf", "allOf"].iter().any(|it| made.contains_key(*it));
    if !says_what {
        return None;
    }
    if made.get("type").is_some_and(|kind| kind == "object") {
        made.insert("additionalProperties".to_owned(), false.into());
        made.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    }
    if !in_words.is_empty() {
        let before = made.get("description").and_then(Value::as_str).map(|text| format!("{text} "));
        let words = format!("{}({})", before.unwrap_or_default(), in_words.join(", "));
        made.insert("description".to_owned(), words.into());
    }
    Some(Value::Object(made))
}

/// The formats of texts that the API knows.
const FORMATS: &[&str] =
    &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_closed_and_ranges_become_words() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 1, "description": "How many."},
                "tags": {"type": "array", "items": {"type": "string", "maxLength": 9}, "uniqueItems": true},
                "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            },
            "required": ["n", "tags", "day"], "additionalProperties": false,
        });
        assert_eq!(
            for_api(&schema).unwrap(),
            json!({
                "type": "object",
                "properties": {
                    "n": {"type": "integer", "description": "How many. (minimum: 1)"},
                    "tags": {
                        "type": "array", "items": {"type": "string", "description": "(maxLength: 9)"},
                        "description": "(uniqueItems: true)",
                    },
                    "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
                },
                "required": ["n", "tags", "day"], "additionalProperties": false,
            })
        );
    }

    #[test]
    fn what_cannot_be_held_is_not_sent() {
        let with = |field: Value| json!({"type": "object", "properties": {"x": field}});
        for schema in [
            json!({"type": "string"}),
            json!(true),
            with(json!({})),
            with(json!({"type": "object", "additionalProperties": {"type": "integer"}})),
            with(json!({"type": "array", "prefixItems": [{"type": "string"}], "items": false})),
        ] {
            assert_eq!(for_api(&schema), None, "{schema}");
        }
    }
}

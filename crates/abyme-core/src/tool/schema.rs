//! From JSON Schema to Python parameters.

use serde_json::Value as Json;

use crate::{interpreter::ParameterSpec, value::Value};

/// The parameters that the JSON Schema of an object describes, the required ones first, as Python wants them.
pub(super) fn parameters(schema: &Json) -> Vec<ParameterSpec> {
    let required = |name: &str| {
        schema
            .get("required")
            .and_then(Json::as_array)
            .is_some_and(|names| names.iter().any(|given| given == name))
    };
    let mut parameters: Vec<ParameterSpec> = schema
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let parameter = ParameterSpec::new(name).annotation(annotation(property, schema));
            match property.get("default") {
                Some(default) => parameter.default_value(default.clone()),
                None if required(name) => parameter,
                None => parameter.default_value(Value::None),
            }
        })
        .collect();
    parameters.sort_by_key(|parameter| parameter.default.is_some());
    parameters
}

/// The Python annotation of a property. What JSON Schema can say and Python cannot is `Any`.
fn annotation(property: &Json, root: &Json) -> String {
    if let Some(target) = property.get("$ref").and_then(Json::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        // One level is enough for an annotation, and a schema may refer to itself.
        return match found.and_then(|schema| schema.get("type")).and_then(Json::as_str) {
            Some("object") => "dict".to_owned(),
            Some(name) => simple(name).to_owned(),
            None => "Any".to_owned(),
        };
    }
    if let Some(values) = property.get("enum").and_then(Json::as_array) {
        let values: Vec<_> = values.iter().map(|value| Value::from(value.clone()).repr(60)).collect();
        return format!("Literal[{}]", values.join(", "));
    }
    if let Some(choices) = property.get("anyOf").or_else(|| property.get("oneOf")).and_then(Json::as_array) {
        return join(choices.iter().map(|choice| annotation(choice, root)));
    }
    match property.get("type") {
        Some(Json::Array(names)) => {
            join(names.iter().filter_map(Json::as_str).map(|name| simple(name).to_owned()))
        }
        Some(Json::String(name)) if name == "array" => match property.get("items") {
            Some(items) => format!("list[{}]", annotation(items, root)),
            None => "list".to_owned(),
        },
        Some(Json::String(name)) if name == "object" => match property.get("additionalProperties") {
            Some(items) if items.is_object() => format!("dict[str, {}]", annotation(items, root)),
            _ => "dict".to_owned(),
        },
        Some(Json::String(name)) => simple(name).to_owned(),
        _ => "Any".to_owned(),
    }
}

fn join(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(" | ")
}

fn simple(name: &str) -> &'static str {
    match name {
        "string" => "str",
        "integer" => "int",
        "number" => "float",
        "boolean" => "bool",
        "null" => "None",
        "array" => "list",
        "object" => "dict",
        _ => "Any",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_schema_becomes_python_parameters() {
        let schema = serde_json::json!({
            "type": "object",
            "properties": {
                "flags": {"type": "integer", "default": 0},
                "text": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "mode": {"enum": ["a", "b"]},
                "limit": {"type": ["integer", "null"]},
            },
            "required": ["text", "mode"],
        });
        let shown: Vec<_> = parameters(&schema)
            .into_iter()
            .map(|p| format!("{}: {} = {:?}", p.name, p.annotation.unwrap(), p.default))
            .collect();
        assert_eq!(
            shown,
            [
                "text: str = None",
                "mode: Literal['a', 'b'] = None",
                "flags: int = Some(Int(0))",
                "tags: list[str] = Some(None)",
                "limit: int | None = Some(None)",
            ]
        );
    }
}

//! The parameters of a tool, from the JSON Schema of its arguments.

use serde_json::Value as Json;

use crate::{
    interpreter::{ParameterKind, ParameterSpec},
    signature::{DescribedType, FieldType, merged, requires},
    value::Value,
};

/// The parameters of a tool.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// The required ones first, as Python wants them.
    pub(super) specs: Vec<ParameterSpec>,
    /// What each of them is.
    pub(super) types: Vec<(String, FieldType)>,
    /// What is known about them, and about what is inside of them, in words.
    pub(super) notes: Vec<String>,
    /// Those that may be left out and have no default that the schema names.
    pub(super) unset: Vec<String>,
    /// Whether the arguments are `()`.
    pub(super) takes_none: bool,
}

impl Parameters {
    /// Reads the schema of an object, or of `()`, which is no arguments.
    pub(super) fn read(schema: &Json) -> Result<Self, String> {
        let whole = merged(schema, schema);
        let properties = whole.get("properties").and_then(Json::as_object);
        let is_choice = whole.contains_key("oneOf") || whole.contains_key("anyOf");
        match whole.get("type").and_then(Json::as_str) {
            Some("null") => return Ok(Self { takes_none: true, ..Self::default() }),
            Some("object") if !is_choice => {}
            None if properties.is_some() && !whole.contains_key("type") && !is_choice => {}
            _ => {
                let ty = DescribedType::from_schema("value", schema, schema).ty;
                return Err(format!(
                    "its argument is of type {ty}, which has no names for parameters: take a struct that \
                     derives `serde::Deserialize` and `schemars::JsonSchema` and has a field for each \
                     parameter, or take nothing"
                ));
            }
        }
        let mut parameters = Self::default();
        for (name, property) in properties.into_iter().flatten() {
            let DescribedType { ty, description, notes } = DescribedType::from_schema(name, property, schema);
            parameters.notes.extend(description.map(|text| format!("{name}: {text}")));
            parameters.notes.extend(notes);
            let (spec, mut ty) = (ParameterSpec::new(name), ty);
            let spec = match merged(property, schema).remove("default") {
                Some(Json::Null) if ty.matches(&Value::None) => spec.default_value(Value::None),
                Some(default) if !default.is_null() => spec.default_value(default),
                None if requires(&whole, name) => spec,
                _ => {
                    parameters.unset.push(name.clone());
                    ty = ty.optional();
                    spec.default_value(Value::None)
                }
            };
            parameters.specs.push(spec.annotation(ty.to_string()));
            parameters.types.push((name.clone(), ty));
        }
        parameters.specs.sort_by_key(|parameter| parameter.default.is_some());
        let open = whole.get("additionalProperties").is_some_and(|more| *more != Json::Bool(false));
        if open || whole.contains_key("patternProperties") {
            let name = ["kwargs", "more", "others"]
                .into_iter()
                .find(|&name| parameters.specs.iter().all(|parameter| parameter.name != name));
            parameters
                .specs
                .extend(name.map(|name| ParameterSpec::new(name).kind(ParameterKind::VarKeyword)));
        }
        Ok(parameters)
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
                "flags": {"type": "integer", "default": 0, "description": "As in\nPython"},
                "text": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string", "minLength": 1}},
                "mode": {"enum": ["a", "b"]},
                "limit": {"type": ["integer", "null"], "default": null, "minimum": 1},
                "point": {"$ref": "#/definitions/point"},
            },
            "required": ["text", "mode", "point"],
            "additionalProperties": {"type": "string"},
            "definitions": {
                "point": {"properties": {"x": {"type": "number", "description": "To the right"}}},
            },
        });
        let parameters = Parameters::read(&schema).unwrap();
        let shown: Vec<_> = parameters.specs.iter().map(ParameterSpec::to_string).collect();
        assert_eq!(
            shown,
            [
                "text: str",
                "mode: Literal['a', 'b']",
                "point: {'x': NotRequired[float]}",
                "flags: int = 0",
                "tags: list[str] | None = None",
                "limit: int | None = None",
                "**kwargs",
            ]
        );
        assert_eq!(
            parameters.notes,
            ["flags: As in Python", "tags[...]: not empty", "limit: at least 1", "point['x']: To the right",]
        );
        assert_eq!(parameters.unset, ["tags"]);
    }

    #[test]
    fn what_has_no_names_cannot_be_parameters() {
        for (schema, ty) in [
            (serde_json::json!({"type": "string"}), "str"),
            (serde_json::json!({"type": "array", "items": {"type": "integer"}}), "list[int]"),
            (serde_json::json!({"type": ["object", "null"]}), "dict | None"),
            (serde_json::json!(true), "Any"),
        ] {
            let problem = Parameters::read(&schema).unwrap_err();
            assert!(problem.contains(&format!("of type {ty}, ")), "{problem}");
        }
        assert!(Parameters::read(&serde_json::json!({"type": "null"})).unwrap().takes_none);
        assert!(Parameters::read(&serde_json::json!({"type": "object"})).unwrap().specs.is_empty());
    }
}

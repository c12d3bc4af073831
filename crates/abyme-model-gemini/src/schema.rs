//! A JSON Schema as the API takes it.

use serde_json::{Map, Value};

/// The schema with the keywords that the API knows. The others are checked when the reply is there.
pub(crate) fn for_api(schema: &Value) -> Value {
    let Some(schema) = schema.as_object() else { return schema.clone() };
    let known = schema.iter().filter(|(keyword, _)| KEYWORDS.contains(&keyword.as_str()));
    let converted = known.map(|(keyword, value)| {
        let value = match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(named)) => {
                let named: Map<_, _> = named.iter().map(|(name, of)| (name.clone(), for_api(of))).collect();
                Value::Object(named)
            }
            ("anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                Value::Array(schemas.iter().map(for_api).collect())
            }
            ("items" | "additionalProperties", of) => for_api(of),
            (_, value) => value.clone(),
        };
        (keyword.clone(), value)
    });
    Value::Object(converted.collect())
}

/// What `responseJsonSchema` knows.
const KEYWORDS: &[&str] = &[
    "$id",
    "$defs",
    "$ref",
    "$anchor",
    "type",
    "format",
    "title",
    "description",
    "enum",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "anyOf",
    "oneOf",
    "properties",
    "additionalProperties",
    "required",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keywords_are_left_out_however_deep() {
        let schema = json!({
            "$schema": "s", "type": "object", "required": ["pattern"],
            "properties": {
                "pattern": {"type": "string", "pattern": "^x", "description": "d"},
                "list": {"type": "array", "uniqueItems": true, "maxItems": 3,
                         "items": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}},
                "dict": {"type": "object", "propertyNames": {"pattern": "x"},
                         "additionalProperties": {"type": "integer", "multipleOf": 2, "minimum": 0}},
            },
            "additionalProperties": false,
        });
        assert_eq!(
            for_api(&schema),
            json!({
                "type": "object", "required": ["pattern"],
                "properties": {
                    "pattern": {"type": "string", "description": "d"},
                    "list": {"type": "array", "maxItems": 3,
                             "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
                    "dict": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
                },
                "additionalProperties": false,
            })
        );
    }
}

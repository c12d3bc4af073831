//! JSON Schema (draft 2020-12) of types and outputs, for providers that take a schema for structured output.

use serde_json::{Map, Value as Json, json};

use super::{field::FieldType, scalar::DECIMAL_PATTERNS, task::TaskSignature};
use crate::value::Value;

impl FieldType {
    /// The JSON Schema of values of this type.
    pub fn json_schema(&self) -> Json {
        match self {
            FieldType::Any => json!({}),
            FieldType::None => json!({"type": "null"}),
            FieldType::Bool => json!({"type": "boolean"}),
            FieldType::Int => json!({"type": "integer"}),
            FieldType::Float => json!({"type": "number"}),
            FieldType::Str | FieldType::Bytes => json!({"type": "string"}),
            FieldType::Date => json!({"type": "string", "format": "date"}),
            FieldType::Time => json!({"type": "string", "format": "time"}),
            FieldType::Datetime => json!({"type": "string", "format": "date-time"}),
            FieldType::Timedelta => json!({"type": "string", "format": "duration"}),
            FieldType::Decimal => json!({"type": "string", "pattern": DECIMAL_PATTERNS[0]}),
            FieldType::List(item) | FieldType::TupleOf(item) => {
                json!({"type": "array", "items": item.json_schema()})
            }
            FieldType::Set(item) => {
                json!({"type": "array", "items": item.json_schema(), "uniqueItems": true})
            }
            FieldType::Tuple(types) => {
                let (items, count) =
                    (types.iter().map(FieldType::json_schema).collect::<Vec<_>>(), types.len());
                json!({
                    "type": "array", "prefixItems": items, "items": false,
                    "minItems": count, "maxItems": count
                })
            }
            FieldType::Dict(key, value) => {
                let mut schema = json!({"type": "object", "additionalProperties": value.json_schema()});
                if let (Some(names), Some(schema)) = (key.key_schema(), schema.as_object_mut()) {
                    schema.insert("propertyNames".to_owned(), names);
                }
                schema
            }
            FieldType::Union(members) => {
                json!({"anyOf": members.iter().map(FieldType::json_schema).collect::<Vec<_>>()})
            }
            FieldType::Record(fields) => {
                let properties: Map<_, _> =
                    fields.iter().map(|field| (field.name.clone(), field.ty.json_schema())).collect();
                let required: Vec<_> =
                    fields.iter().filter(|field| field.required).map(|field| &field.name).collect();
                json!({
                    "type": "object", "properties": properties, "required": required,
                    "additionalProperties": false
                })
            }
            FieldType::Literal(options) => {
                json!({"enum": options.iter().map(Value::to_json).collect::<Vec<_>>()})
            }
            FieldType::Constrained(inner, constraints) => {
                let mut schema = inner.json_schema();
                if let Some(schema) = schema.as_object_mut() {
                    constraints.iter().for_each(|constraint| constraint.add_to(schema));
                }
                schema
            }
        }
    }

    /// What the keys of a dict must look like, where that can be said. Keys are text in JSON.
    fn key_schema(&self) -> Option<Json> {
        match self {
            FieldType::Int => Some(json!({"pattern": "^-?[0-9]+$"})),
            FieldType::Date
            | FieldType::Time
            | FieldType::Datetime
            | FieldType::Timedelta
            | FieldType::Decimal => Some(self.json_schema()),
            FieldType::Literal(options) => {
                let names = options.iter().map(|option| match option {
                    Value::Text(text) => text.to_string(),
                    other => other.repr(usize::MAX),
                });
                Some(json!({"enum": names.collect::<Vec<_>>()}))
            }
            _ => None,
        }
    }
}

impl TaskSignature {
    /// The JSON Schema of an object with all outputs, each required, and nothing else.
    pub fn json_schema(&self) -> Json {
        let mut properties = Map::new();
        for field in self.outputs() {
            let mut schema = field.ty().json_schema();
            if let (Some(text), Some(schema)) = (field.description(), schema.as_object_mut()) {
                schema.insert("description".to_owned(), text.into());
            }
            properties.insert(field.name().to_owned(), schema);
        }
        let required: Vec<_> = properties.keys().cloned().collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_schema() {
        for (annotation, schema) in [
            ("Any", json!({})),
            ("int | None", json!({"anyOf": [{"type": "integer"}, {"type": "null"}]})),
            ("datetime", json!({"type": "string", "format": "date-time"})),
            ("date", json!({"type": "string", "format": "date"})),
            (
                "time | timedelta",
                json!({"anyOf": [
                    {"type": "string", "format": "time"}, {"type": "string", "format": "duration"}
                ]}),
            ),
            ("Decimal", json!({"type": "string", "pattern": "^-?\\d+(\\.\\d+)?([eE]\\d+)?$"})),
            ("set[str]", json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
            ("tuple[float, ...]", json!({"type": "array", "items": {"type": "number"}})),
            (
                "tuple[int, bool]",
                json!({
                    "type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}],
                    "items": false, "minItems": 2, "maxItems": 2
                }),
            ),
            ("dict[str, bytes]", json!({"type": "object", "additionalProperties": {"type": "string"}})),
            (
                "dict[int, str]",
                json!({
                    "type": "object", "additionalProperties": {"type": "string"},
                    "propertyNames": {"pattern": "^-?[0-9]+$"}
                }),
            ),
            (
                "dict[Literal['a', 1], Any]",
                json!({"type": "object", "additionalProperties": {}, "propertyNames": {"enum": ["a", "1"]}}),
            ),
            ("Literal['a', 1, True, None]", json!({"enum": ["a", 1, true, null]})),
            (
                "{'name': str, 'size': NotRequired[int]}",
                json!({
                    "type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
                    "required": ["name"], "additionalProperties": false
                }),
            ),
        ] {
            assert_eq!(annotation.parse::<FieldType>().unwrap().json_schema(), schema, "{annotation}");
        }
    }

    #[test]
    fn the_outputs_are_a_closed_object() {
        let signature: TaskSignature = "docs -> modules: list[str], answer".parse().unwrap();
        let schema = signature.describe("answer", "In one word").unwrap().json_schema();
        insta::assert_json_snapshot!(schema, @r#"
        {
          "$schema": "https://json-schema.org/draft/2020-12/schema",
          "type": "object",
          "properties": {
            "modules": {
              "type": "array",
              "items": {
                "type": "string"
              }
            },
            "answer": {
              "type": "string",
              "description": "In one word"
            }
          },
          "required": [
            "modules",
            "answer"
          ],
          "additionalProperties": false
        }
        "#);
    }
}

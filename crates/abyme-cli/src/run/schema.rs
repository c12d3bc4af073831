//! The signature of a run: its text, and the outputs of a JSON Schema where `--schema` gives one.

use std::path::Path;

use abyme::{
    Field, TaskSignature,
    reexports::serde_json::{self, Value as Json},
    signature::DescribedType,
};

use crate::{exit::Failure, files};

/// The largest file of a schema.
const MAX_SCHEMA_BYTES: u64 = 16 << 20;

/// The signature that `text` and the file at `schema` describe together.
pub(super) fn signature(text: &str, schema: Option<&Path>) -> Result<TaskSignature, Failure> {
    let Some(path) = schema else { return parse(text) };
    let inputs = text.trim();
    let inputs = inputs.strip_suffix("->").unwrap_or(inputs);
    if inputs.contains("->") {
        let message = "--signature and --schema both give the outputs";
        return Err(
            Failure::usage(message).hint("with --schema, --signature has the inputs alone: \"docs, query\"")
        );
    }
    let outputs = outputs_of(path)?;
    // A signature has outputs: this one stands for those of the schema.
    let inputs = parse(&format!("{inputs} -> outputs_of_the_schema"))?.inputs().to_vec();
    TaskSignature::new(inputs, outputs).map_err(|error| Failure::before_run(&error).context("--schema"))
}

/// The outputs that the file of `--schema` describes.
pub(crate) fn outputs_of(path: &Path) -> Result<Vec<Field>, Failure> {
    let shown = path.display().to_string();
    let bytes = files::read(path, MAX_SCHEMA_BYTES);
    let text = bytes.and_then(|bytes| files::text(bytes, &format!("`{shown}`"), &shown, ""));
    let text = text.map_err(|failure| failure.context("--schema"))?.into_string();
    outputs(&text).map_err(|problem| Failure::usage(format!("--schema: `{shown}`: {problem}")))
}

fn parse(text: &str) -> Result<TaskSignature, Failure> {
    text.parse().map_err(|error| Failure::before_run(&error))
}

/// The properties of a schema of an object, as outputs.
fn outputs(text: &str) -> Result<Vec<Field>, String> {
    let root: Json = serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))?;
    let properties = root.get("properties").and_then(Json::as_object);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return Err("expected the JSON Schema of an object, with the outputs as its `properties`, such as \
                    {\"type\": \"object\", \"properties\": {\"modules\": {\"type\": \"array\"}}}"
            .to_owned());
    };
    // Without `required`, all properties are required.
    let required = root.get("required").and_then(Json::as_array);
    let is_required =
        |name: &str| required.is_none_or(|required| required.iter().any(|one| one.as_str() == Some(name)));
    let mut fields = Vec::new();
    for (name, schema) in properties {
        if !schema.is_object() && !schema.is_boolean() {
            return Err(format!("the property `{name}` is no JSON Schema"));
        }
        let DescribedType { ty, description, notes, .. } = DescribedType::from_schema(name, schema, &root);
        let field = Field::new(name, if is_required(name) { ty } else { ty.optional() });
        let words: Vec<String> = description.into_iter().chain(notes).collect();
        fields.push(if words.is_empty() { field } else { field.with_description(words.join("; ")) });
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_outputs() {
        let schema = r##"{
            "type": "object",
            "properties": {
                "names": {"type": "array", "items": {"type": "string"}, "description": "All names"},
                "level": {"enum": ["low", "high"]},
                "home": {"$ref": "#/$defs/Home"}
            },
            "required": ["names", "level"],
            "$defs": {
                "Home": {"type": "object", "properties": {"zip": {"type": "integer"}}, "required": ["zip"]}
            }
        }"##;
        let fields = outputs(schema).unwrap();
        let shown: Vec<_> = fields.iter().map(Field::to_string).collect();
        assert_eq!(shown, ["names: list[str]", "level: Literal['low', 'high']", "home: {'zip': int} | None"]);
        assert_eq!(fields[0].description(), Some("All names"));
    }

    #[test]
    fn what_is_no_schema_of_outputs() {
        for (text, expected) in [
            ("{", "this is not JSON"),
            ("[]", "`properties`"),
            (r#"{"type": "string"}"#, "`properties`"),
            (r#"{"properties": {}}"#, "`properties`"),
            (r#"{"properties": {"a": 1}}"#, "the property `a`"),
        ] {
            assert!(outputs(text).unwrap_err().contains(expected), "{text}");
        }
    }
}

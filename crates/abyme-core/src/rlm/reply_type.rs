//! The type that a sub-call's reply has to be of: from the argument `schema`, into the prompt, and onto the
//! reply.

use serde_json::Value as Json;

use super::reply_values::{structures, unfenced, whole_value};
use crate::{
    error::{Error, ErrorKind, Result},
    prompt,
    signature::{CoerceError, DescribedType, FieldType, RecordField},
    value::{Value, text_repr},
};

/// What the value is called in what is said about its parts.
const REPLY: &str = "reply";
/// The longest text of a type that a prompt takes up.
const MAX_CHARS: usize = 20_000;
/// How deep dicts of types may be nested.
const MAX_DEPTH: usize = 32;

/// A type, and what is said about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ReplyType {
    ty: FieldType,
    /// What a JSON Schema says besides the type.
    notes: Vec<String>,
    json: Json,
}

impl ReplyType {
    /// The type that the argument `schema` means: `None` for one that every reply is of.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for what is no type.
    pub(super) fn from_value(schema: &Value) -> Result<Option<Self>> {
        let reply_type = match schema {
            Value::Dict(entries) if is_json_schema(schema) => {
                let json = Value::Dict(entries.clone()).to_json();
                let DescribedType { ty, description, notes, .. } =
                    DescribedType::from_schema(REPLY, &json, &json);
                let notes = description.map(|text| format!("{REPLY}: {text}")).into_iter().chain(notes);
                Self { ty, notes: notes.collect(), json }
            }
            _ => {
                let ty = type_of(schema, REPLY, 0)?;
                Self { json: ty.json_schema(), ty, notes: Vec::new() }
            }
        };
        let chars = reply_type.to_string().chars().count();
        if chars > MAX_CHARS {
            let message = format!(
                "the schema is too large for a prompt: {chars} characters, where {MAX_CHARS} are allowed; \
                 ask for less at once"
            );
            return Err(invalid(message));
        }
        // A text is what every reply is.
        Ok((reply_type.ty != FieldType::Str || !reply_type.notes.is_empty()).then_some(reply_type))
    }

    /// The type of one output of a signature, or of a dict of several.
    pub(super) fn of(ty: FieldType, notes: Vec<String>) -> Self {
        Self { json: ty.json_schema(), ty, notes }
    }

    /// The prompt, with what the reply has to be.
    pub(super) fn prompt(&self, prompt: &str) -> String {
        prompt::typed_sub_call(prompt, &self.ty.to_string(), &self.notes)
    }

    /// The JSON Schema of the reply.
    pub(super) fn json_schema(&self) -> &Json {
        &self.json
    }

    /// The value in a reply. Fails with what does not fit, for the model to read.
    pub(super) fn read(&self, reply: &str, is_cut: bool) -> Result<Value, String> {
        let mut problem = None;
        let mut fits = |candidate: Value| self.fitting(candidate).map_err(|error| problem = Some(error)).ok();
        let found = match whole_value(reply) {
            Some(value) => fits(value),
            // Of what was cut, a part may look like the whole.
            None if is_cut => None,
            None => structures(reply).into_iter().rev().find_map(&mut fits),
        };
        let found = found.or_else(|| {
            let text = unfenced(reply.trim());
            let bare = text.trim_matches(|char: char| {
                matches!(char, '*' | '`' | '"' | '\'' | '.') || char.is_whitespace()
            });
            let texts = [text, bare].into_iter().filter(|_| !is_cut && self.takes_words(&self.ty));
            texts.filter(|text| !text.is_empty()).find_map(|text| self.ty.coerce(text.into()).ok())
        });
        found.ok_or_else(|| match problem {
            _ if is_cut => "the reply was cut off by its length limit; it has to be shorter".to_owned(),
            Some(error) => said(&error),
            None => format!("the reply holds no value of the type {}", self.ty),
        })
    }

    /// The value as the type, or what is inside of it where a model has wrapped it: `{"answer": [...]}`.
    fn fitting(&self, value: Value) -> Result<Value, CoerceError> {
        let inner = match &value {
            Value::Dict(entries) if entries.len() == 1 => entries.values().next().cloned(),
            _ => None,
        };
        self.ty.coerce(value).or_else(|error| match inner.map(|inner| self.ty.coerce(inner)) {
            Some(Ok(value)) => Ok(value),
            _ => Err(error),
        })
    }

    /// Whether a reply in words, without quotes, can be a value of the type.
    fn takes_words(&self, ty: &FieldType) -> bool {
        match ty {
            FieldType::Union(members) => members.iter().any(|member| self.takes_words(member)),
            FieldType::List(_) | FieldType::Set(_) | FieldType::Tuple(_) | FieldType::TupleOf(_) => false,
            FieldType::Dict(..) | FieldType::Record(_) => false,
            _ => true,
        }
    }
}

impl std::fmt::Display for ReplyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ty.fmt(f)?;
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// The type that a text, a dict of types, or a list of one type means. `path` is where it stands.
fn type_of(schema: &Value, path: &str, depth: usize) -> Result<FieldType> {
    if depth > MAX_DEPTH {
        return Err(invalid(format!("the schema is nested deeper than {MAX_DEPTH} levels")));
    }
    match schema {
        Value::Text(text) => {
            let ty = text.as_str().parse::<FieldType>();
            ty.map_err(|error| invalid(format!("{path}: {}", error.message())))
        }
        Value::None => Ok(FieldType::None),
        Value::List(items) if items.len() == 1 => {
            Ok(FieldType::list(type_of(&items[0], &format!("{path}[...]"), depth + 1)?))
        }
        Value::Dict(entries) if !entries.is_empty() => {
            let fields = entries.iter().map(|(name, schema)| {
                let (schema, required) = match optional(schema) {
                    Some(inner) => (inner, false),
                    None => (schema.clone(), true),
                };
                let path = format!("{path}[{}]", text_repr(name, 60));
                Ok(RecordField { name: name.clone(), ty: type_of(&schema, &path, depth + 1)?, required })
            });
            Ok(FieldType::Record(fields.collect::<Result<_>>()?))
        }
        other => {
            let what = match other {
                Value::Dict(_) => "an empty dict is no type: name its fields, or write dict".to_owned(),
                Value::List(items) => {
                    format!("a list of {} is no type: write list[T], or [T]", items.len())
                }
                other => format!("{} is no type", other.repr(60)),
            };
            Err(invalid(format!("{path}: {what}")))
        }
    }
}

/// `T` of `NotRequired[T]`.
fn optional(schema: &Value) -> Option<Value> {
    let text = schema.as_text()?;
    let inner = text.strip_prefix("typing.").unwrap_or(text).strip_prefix("NotRequired[")?;
    inner.strip_suffix(']').map(Value::from)
}

/// The names of types in JSON Schema. None of them is one in Python but `object`, which a session writes as
/// `Any`.
const JSON_TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "null", "array", "object"];

/// Whether a dict is a JSON Schema, not a dict of types: it has a keyword with a value that no type is.
fn is_json_schema(schema: &Value) -> bool {
    let Value::Dict(entries) = schema else { return false };
    let is_type_name = |value: &Value| value.as_text().is_some_and(|name| JSON_TYPES.contains(&name));
    let are = |value: &Value, all: &dyn Fn(&Value) -> bool| match value {
        Value::List(items) => !items.is_empty() && items.iter().all(all),
        _ => false,
    };
    entries.iter().any(|(keyword, value)| match keyword.as_str() {
        "$schema" | "$ref" | "$defs" => true,
        "type" => is_type_name(value) || are(value, &is_type_name),
        "enum" => matches!(value, Value::List(_)),
        "anyOf" | "oneOf" | "allOf" => are(value, &is_json_schema),
        "properties" => matches!(value, Value::Dict(inner) if inner.values().all(is_json_schema)),
        _ => false,
    })
}

/// A problem in words. What a cell should submit instead is no advice for a model that answers.
fn said(error: &CoerceError) -> String {
    let place = if error.path().is_empty() { String::new() } else { format!("at {}: ", error.path()) };
    let hint = error.hint().filter(|hint| !hint.starts_with("submit"));
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{place}expected {}, got {}{hint}", error.expected(), error.got())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: impl Into<Value>) -> ReplyType {
        ReplyType::from_value(&schema.into()).unwrap().unwrap()
    }

    fn json(text: &str) -> Value {
        Value::parse_json(text).unwrap()
    }

    fn problem(schema: impl Into<Value>) -> String {
        ReplyType::from_value(&schema.into()).unwrap_err().to_string()
    }

    #[test]
    fn types_dicts_of_types_and_json_schemas_are_told_apart() {
        for (schema, ty) in [
            (r#""list[str]""#, "list[str]"),
            (r#"["int"]"#, "list[int]"),
            (
                r#"{"name": "str", "sizes": ["int"], "home": {"zip": "str | None"}}"#,
                "{'name': str, 'sizes': list[int], 'home': {'zip': str | None}}",
            ),
            (r#"{"a": "NotRequired[int]", "b": null}"#, "{'a': NotRequired[int], 'b': None}"),
            (r#"{"type": "str", "properties": "list[str]"}"#, "{'type': str, 'properties': list[str]}"),
            (r#"{"type": "Any"}"#, "{'type': Any}"),
            (r#"{"properties": {"a": "int"}}"#, "{'properties': {'a': int}}"),
            (r#"{"type": "array", "items": {"type": "integer"}}"#, "list[int]"),
            (r#"{"type": ["string", "null"]}"#, "str | None"),
            (r#"{"enum": ["a", "b"]}"#, "Literal['a', 'b']"),
            (r#"{"properties": {"a": {"type": "string"}}, "required": ["a"]}"#, "{'a': str}"),
            (r##"{"$ref": "#/$defs/N", "$defs": {"N": {"type": "boolean"}}}"##, "bool"),
            (r#"{"anyOf": [{"type": "string"}, {"type": "integer"}]}"#, "str | int"),
        ] {
            assert_eq!(of(json(schema)).to_string(), ty, "{schema}");
        }
        assert_eq!(ReplyType::from_value(&"str".into()).unwrap(), None, "every reply is a text");
        let limited = of(json(r#"{"type": "integer", "minimum": 1, "description": "How many"}"#));
        assert_eq!(limited.to_string(), "int\nreply: How many; at least 1");
    }

    #[test]
    fn what_is_no_type_is_named_with_its_place() {
        assert!(
            problem("inte")
                .starts_with("reply: type \"inte\": at 0: unknown type `inte`, did you mean `int`?")
        );
        assert!(
            problem(json(r#"{"a": {"b": "lst"}}"#))
                .starts_with("reply['a']['b']: type \"lst\": at 0: unknown")
        );
        assert_eq!(problem(5), "reply: 5 is no type");
        assert_eq!(problem(json("{}")), "reply: an empty dict is no type: name its fields, or write dict");
        assert_eq!(
            problem(json(r#"["int", "str"]"#)),
            "reply: a list of 2 is no type: write list[T], or [T]"
        );
        let deep = (0..40).fold(Value::from("int"), |inner, _| Value::dict([("a", inner)]));
        assert_eq!(problem(deep), "the schema is nested deeper than 32 levels");
        let huge: Vec<_> = (0..3_000).map(|n| (format!("field_{n}"), Value::from("str"))).collect();
        assert!(
            problem(Value::Dict(huge.into_iter().collect()))
                .starts_with("the schema is too large for a prompt: ")
        );
    }

    #[test]
    fn replies_are_read_leniently() {
        for (ty, reply, value) in [
            ("list[int]", "[1, 2]", "[1, 2]"),
            ("list[int]", "```json\n[1, 2]\n```", "[1, 2]"),
            ("list[int]", "As in [3], but [x] is not:\n```python\n[1, '2']\n```\nDone.", "[1, 2]"),
            ("list[int]", "{\"answer\": [1, 2]}", "[1, 2]"),
            ("list[str]", "('a', 'b')", "['a', 'b']"),
            ("{'a': int, 'b': list[str]}", "So {'a': 1.0, 'b': ['x']}, I think", "{'a': 1, 'b': ['x']}"),
            ("dict[str, int]", "{\"answer\": 3}", "{'answer': 3}"),
            ("int", "42", "42"),
            ("int", "**42**.", "42"),
            ("int", "\"42\"", "42"),
            ("float | None", "None", "None"),
            ("float | None", "null", "None"),
            ("bool", "Yes", "True"),
            ("Literal['a', 'b c']", "b c", "'b c'"),
            ("Literal['a', 'b c']", "`a`\n", "'a'"),
            ("str | None", "Just words.", "'Just words.'"),
            ("str | None", "\"quoted\"", "'quoted'"),
            ("Any", "words", "'words'"),
            ("date", "2024-02-29", "'2024-02-29'"),
        ] {
            assert_eq!(
                of(ty).read(reply, false).map(|value| value.repr(80)).as_deref(),
                Ok(value),
                "{ty}: {reply}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (ty, reply, problem) in [
            ("list[int]", "[1, \"x\"]", "at [1]: expected int, got str 'x'"),
            ("list[int]", "none that I know", "the reply holds no value of the type list[int]"),
            ("{'a': int}", "{\"b\": 1}", "expected {'a': int}, got dict {'b': 1}; the key 'b' should be 'a'"),
            ("int", "about five", "the reply holds no value of the type int"),
            ("int", "", "the reply holds no value of the type int"),
            ("Literal['a']", "A", "the reply holds no value of the type Literal['a']"),
        ] {
            assert_eq!(of(ty).read(reply, false), Err(problem.to_owned()), "{ty}: {reply}");
        }
        let cut = "[{\"a\": 1}, {\"a\":";
        assert!(of("{'a': int}").read(cut, true).unwrap_err().contains("cut off"));
        assert!(of("int").read("12", true).is_ok(), "a whole value is one, however it ended");
    }
}

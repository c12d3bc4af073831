//! The type that a sub-call's reply has to be of: from the argument `schema`, into the prompt, and onto the
//! reply.

use serde_json::Value as Json;

use super::reply_values::{structures, unfenced, whole_value};
use crate::{
    error::{Error, ErrorKind, Result},
    prompt,
    signature::{CoerceError, DescribedType, Field, FieldType},
    value::Value,
};

/// What the value is called in what is said about its parts.
const REPLY: &str = "reply";
/// The longest text of a type that a prompt takes up.
const MAX_CHARS: usize = 20_000;

/// A type, and what is said about it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rlm) struct ReplyType {
    ty: FieldType,
    /// What a JSON Schema says besides the type.
    notes: Vec<String>,
    json: Json,
}

impl ReplyType {
    /// The type that the argument `schema` means: `None` for one that every reply is of.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] for what is no type, [`ErrorKind::InvalidInput`] for one that is too large.
    pub(in crate::rlm) fn from_value(schema: &Value) -> Result<Option<Self>> {
        let DescribedType { ty, description, notes, .. } = DescribedType::parse(REPLY, schema)?;
        let notes = description.map(|text| format!("{REPLY}: {text}")).into_iter().chain(notes);
        let reply_type = Self::of(ty, notes.collect());
        let chars = reply_type.to_string().chars().count();
        if chars > MAX_CHARS {
            let message = format!(
                "the schema is too large for a prompt: {chars} characters, where {MAX_CHARS} are allowed; \
                 ask for less at once"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        // A text is what every reply is.
        Ok((reply_type.ty != FieldType::Str || !reply_type.notes.is_empty()).then_some(reply_type))
    }

    /// The type of one output of a signature, or of a dict of several.
    pub(in crate::rlm) fn of(ty: FieldType, notes: Vec<String>) -> Self {
        Self { json: ty.json_schema(), ty, notes }
    }

    /// The output of a run that has to be of this type.
    pub(in crate::rlm) fn into_output(self, name: &str) -> Field {
        // The notes name the reply, and what is said of the whole ends with the limits, which fields say too.
        let limits = self.ty.limits().unwrap_or_default();
        let words = self.notes.iter().filter_map(|note| {
            let Some(rest) = note.strip_prefix(REPLY) else { return Some(note.clone()) };
            match rest.strip_prefix(": ") {
                Some(whole) => {
                    let whole = whole.strip_suffix(&limits).unwrap_or(whole).trim_end_matches("; ");
                    (!whole.is_empty()).then(|| whole.to_owned())
                }
                None => Some(format!("{name}{rest}")),
            }
        });
        let words: Vec<_> = words.collect();
        Field::new(name, self.ty).with_description(words.join("; "))
    }

    /// The prompt, with what the reply has to be.
    pub(in crate::rlm) fn prompt(&self, prompt: &str) -> String {
        prompt::typed_sub_call(prompt, &self.ty.to_string(), &self.notes)
    }

    /// The JSON Schema of the reply.
    pub(in crate::rlm) fn json_schema(&self) -> &Json {
        &self.json
    }

    /// The value in a reply. Fails with what does not fit, for the model to read.
    pub(in crate::rlm) fn read(&self, reply: &str, is_cut: bool) -> Result<Value, String> {
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
            FieldType::Constrained(inner, _) => self.takes_words(inner),
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
        assert!(problem("inte").contains("at 0: unknown type `inte`, did you mean `int`?"));
        assert!(problem(json(r#"{"a": {"b": 5}}"#)).contains("reply['a']['b']"));
        assert!(problem(5).contains("is no type"));
        let huge: Vec<_> = (0..3_000).map(|n| (format!("field_{n}"), Value::from("str"))).collect();
        let huge = problem(Value::Dict(huge.into_iter().collect()));
        assert!(huge.starts_with("the schema is too large for a prompt: "), "{huge}");
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

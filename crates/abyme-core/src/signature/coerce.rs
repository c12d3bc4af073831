//! Brings submitted values to their declared types: helpful like pydantic's lax mode, and never lossy.

use std::{borrow::Cow, collections::HashSet, fmt};

use indexmap::{IndexMap, map::Entry};

use super::{
    constraint::Constraint,
    date_time,
    field::{FieldType, RecordField, wrong_keys},
    scalar,
};
use crate::value::{Dialect, Reader, Value, text_repr};

#[cfg(test)]
mod tests;

/// How much of an offending value a message shows.
const SHOWN_CHARS: usize = 60;

/// A value that is not of its declared type: where, what was expected, what came, and what to submit instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoerceError {
    path: String,
    expected: String,
    got: String,
    hint: Cow<'static, str>,
}

impl CoerceError {
    fn new(expected: impl fmt::Display, value: &Value, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { path: String::new(), expected: expected.to_string(), got: shown(value), hint: hint.into() }
    }

    fn at_index(mut self, index: usize) -> Self {
        self.path.insert_str(0, &format!("[{index}]"));
        self
    }

    fn at_key(mut self, key: &str) -> Self {
        let key: String = key.chars().take(SHOWN_CHARS).collect();
        self.path.insert_str(0, &format!("[{key:?}]"));
        self
    }

    /// Where inside the value, such as `[2]["name"]`; empty for the value itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The type that was expected there, as a Python annotation.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What came: its Python type and the start of its `repr`.
    pub fn got(&self) -> &str {
        &self.got
    }

    /// What to submit instead, where that is known.
    pub fn hint(&self) -> Option<&str> {
        (!self.hint.is_empty()).then_some(&*self.hint)
    }
}

impl fmt::Display for CoerceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "at {}: ", self.path)?;
        }
        write!(f, "expected {}, got {}", self.expected, self.got)?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CoerceError {}

/// Type and bounded `repr`.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        other => format!("{} {}", other.type_name(), other.repr(SHOWN_CHARS)),
    }
}

impl FieldType {
    /// The value as this type, if it can be converted without loss and without a guess.
    ///
    /// | to | from |
    /// |---|---|
    /// | `str` | numbers and bools as Python's `str()` writes them; not `None`, lists, dicts or bytes |
    /// | `int` | whole floats (`3.0`), text that `int()` takes, `"3.0"`; not bools, not `3.7` |
    /// | `float` | ints that a float holds exactly, text that `float()` takes, `"nan"` too; not bools |
    /// | `bool` | `0`, `1`, and pydantic's words (`"true"`, `"No"`, `"on"` ...) |
    /// | `None` | the text `"None"` or `"null"` |
    /// | `bytes` | text, as its UTF-8 bytes |
    /// | `date`, `datetime` | ISO 8601 text; a `date` also from a midnight, a `datetime` from a date |
    /// | `time`, `timedelta` | ISO 8601 text; a `timedelta` also from what Python's `str()` writes of it |
    /// | `Decimal` | its text, ints, and floats as Python writes them; not `nan` |
    /// | lists, sets, tuples | a list, or text of one (JSON or a Python `repr`); each item is converted |
    /// | `dict[K, V]` | a dict, or text of one; keys stay text but must read as a `K` |
    /// | `{'name': str}` | a dict with the keys that must be there, or text of one; other keys are kept |
    /// | `Literal` | the very option, or one that the value converts to (`"1"` for `1`); case matters |
    /// | a type with constraints | the same as the type, if the constraints hold for what comes of it |
    /// | unions | the first member that it [is of](Self::matches), or the first that it converts to |
    ///
    /// Pydantic's lax mode also makes ints of bools; that is refused here, since a submitted bool is nearly
    /// always a comparison where a count was meant, and the model can still say `int(value)`.
    ///
    /// ```
    /// use abyme_core::{Value, signature::FieldType};
    ///
    /// let ty: FieldType = "dict[str, list[int]]".parse()?;
    /// let value = ty.coerce(Value::dict([("a", Value::from(["1", " 2 "]))])).unwrap();
    /// assert_eq!(value.repr(40), "{'a': [1, 2]}");
    /// let error = ty.coerce(Value::dict([("a", vec![1.5])])).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "at [\"a\"][0]: expected int, got float 1.5; submit round(value) or int(value) if a whole \
    ///      number is meant"
    /// );
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`CoerceError`] for the first part that does not fit.
    pub fn coerce(&self, value: Value) -> Result<Value, CoerceError> {
        let value = if self.is_container() { unfenced(value) } else { value };
        let converted = match self {
            FieldType::Any => return Ok(value),
            FieldType::None => scalar::none(&value),
            FieldType::Bool => scalar::bool(&value),
            FieldType::Int => scalar::int(&value),
            FieldType::Float => scalar::float(&value),
            FieldType::Str => scalar::str(&value),
            FieldType::Bytes => scalar::bytes(&value),
            FieldType::Date => date_time::date(&value),
            FieldType::Time => date_time::time(&value),
            FieldType::Datetime => date_time::datetime(&value),
            FieldType::Timedelta => date_time::timedelta(&value),
            FieldType::Decimal => scalar::decimal(&value),
            FieldType::Literal(options) => scalar::literal(options, &value),
            FieldType::List(item) | FieldType::TupleOf(item) => {
                return each(self.coerce_items(value)?, |_| item).map(Value::List);
            }
            FieldType::Set(item) => {
                return each(self.coerce_items(value)?, |_| item).map(|items| Value::List(unique(items)));
            }
            FieldType::Tuple(types) => return self.coerce_tuple(types, value),
            FieldType::Dict(key, inner) => return self.coerce_dict(key, inner, value),
            FieldType::Record(fields) => return self.coerce_record(fields, value),
            FieldType::Union(members) => return self.coerce_union(members, value),
            FieldType::Constrained(inner, constraints) => {
                return inner.coerce_constrained(constraints, value);
            }
        };
        converted.map_err(|hint| CoerceError::new(self, &value, hint))
    }

    fn is_container(&self) -> bool {
        matches!(
            self,
            FieldType::List(_)
                | FieldType::TupleOf(_)
                | FieldType::Set(_)
                | FieldType::Tuple(_)
                | FieldType::Dict(..)
        )
    }

    /// The items of a list, or of a text that holds one.
    fn coerce_items(&self, value: Value) -> Result<Vec<Value>, CoerceError> {
        match value {
            Value::List(items) => Ok(items),
            Value::Text(text) if text.trim_start().starts_with(['[', '(']) => match structure(&text) {
                Ok(Value::List(items)) => Ok(items),
                Ok(_) => Err(CoerceError::new(self, &text.into(), "submit the list itself")),
                Err(hint) => Err(CoerceError::new(self, &text.into(), hint)),
            },
            other => {
                let hint = match &other {
                    Value::None | Value::Dict(_) => "",
                    Value::Text(text) if text.trim().contains([',', '\n']) => "submit a list of its items",
                    _ => "submit [value] for a list of one",
                };
                Err(CoerceError::new(self, &other, hint))
            }
        }
    }

    fn coerce_tuple(&self, types: &[FieldType], value: Value) -> Result<Value, CoerceError> {
        let items = self.coerce_items(value)?;
        if items.len() != types.len() {
            let hint = format!("that is {} of {} items", items.len(), types.len());
            return Err(CoerceError::new(self, &Value::List(items), hint));
        }
        each(items, |index| &types[index]).map(Value::List)
    }

    /// The entries of a dict, or of a text that holds one.
    fn coerce_entries(&self, value: Value) -> Result<IndexMap<String, Value>, CoerceError> {
        match value {
            Value::Dict(entries) => Ok(entries),
            Value::Text(text) if text.trim_start().starts_with('{') => match structure(&text) {
                Ok(Value::Dict(entries)) => Ok(entries),
                Ok(_) => Err(CoerceError::new(self, &text.into(), "submit the dict itself")),
                Err(hint) => Err(CoerceError::new(self, &text.into(), hint)),
            },
            other => Err(CoerceError::new(self, &other, "")),
        }
    }

    fn coerce_record(&self, fields: &[RecordField], value: Value) -> Result<Value, CoerceError> {
        let mut entries = self.coerce_entries(value)?;
        if let Some(hint) = wrong_keys(fields, &entries) {
            return Err(CoerceError::new(self, &Value::Dict(entries), hint));
        }
        for field in fields {
            if let Some(value) = entries.get_mut(&field.name) {
                let converted = field.ty.coerce(std::mem::take(value));
                *value = converted.map_err(|error| error.at_key(&field.name))?;
            }
        }
        Ok(Value::Dict(entries))
    }

    fn coerce_dict(&self, key: &FieldType, inner: &FieldType, value: Value) -> Result<Value, CoerceError> {
        let entries = self.coerce_entries(value)?;
        let mut converted = IndexMap::with_capacity(entries.len());
        for (name, value) in entries {
            let name = key.coerce_key(&name)?;
            let value = inner.coerce(value).map_err(|error| error.at_key(&name))?;
            match converted.entry(name) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(entry) => {
                    let twice = Value::from(entry.key().as_str());
                    let hint = format!("two keys mean the same {key}");
                    return Err(CoerceError::new(format_args!("each key once in {self}"), &twice, hint));
                }
            };
        }
        Ok(Value::Dict(converted))
    }

    /// The text of a key that reads as this type: the number `" 3 "` becomes `"3"`.
    pub(super) fn coerce_key(&self, key: &str) -> Result<String, CoerceError> {
        if matches!(self, FieldType::Str | FieldType::Any) {
            return Ok(key.to_owned());
        }
        match self.coerce(Value::from(key)) {
            Ok(Value::Text(text)) => Ok(text.into()),
            // The text of a tuple, for example: it reads as one, and a key needs no more than that.
            Ok(Value::List(_) | Value::Dict(_) | Value::Bytes(_)) => Ok(key.to_owned()),
            Ok(simple) => Ok(simple.repr(usize::MAX)),
            Err(error) => Err(CoerceError {
                path: String::new(),
                expected: format!("keys of type {self}"),
                got: format!("the key {}", text_repr(key, SHOWN_CHARS)),
                hint: error.hint,
            }),
        }
    }

    /// The value as this type, if the constraints hold for it.
    fn coerce_constrained(&self, constraints: &[Constraint], value: Value) -> Result<Value, CoerceError> {
        let value = self.coerce(value)?;
        for constraint in constraints {
            if let Err(hint) = constraint.check(&value) {
                return Err(CoerceError::new(format_args!("{self} ({constraint})"), &value, hint));
            }
        }
        Ok(value)
    }

    fn coerce_union(&self, members: &[FieldType], value: Value) -> Result<Value, CoerceError> {
        if let Some(member) = members.iter().find(|member| member.matches(&value)) {
            return member.coerce(value);
        }
        let mut errors = Vec::new();
        for member in members {
            match member.coerce(value.clone()) {
                Ok(value) => return Ok(value),
                Err(error) => errors.push((member, error)),
            }
        }
        // A dict whose tag is that of one choice is meant as that one.
        if let Some(at) = errors.iter().position(|(member, _)| member.has_tag_of(&value)) {
            return Err(errors.swap_remove(at).1);
        }
        // With one real choice, its error says the most; and so does one from inside a list or dict.
        let choices = errors.iter().filter(|(member, _)| **member != FieldType::None).count();
        let telling = errors.into_iter().find_map(|(member, error)| {
            let real = *member != FieldType::None && choices == 1;
            (real || !error.path.is_empty()).then_some(error)
        });
        match telling {
            Some(error) if !error.path.is_empty() => Err(error),
            Some(error) => Err(CoerceError { expected: self.to_string(), ..error }),
            None => Err(CoerceError::new(self, &value, "")),
        }
    }
}

impl FieldType {
    /// Whether this is a record with a tag (a key that has one option), and the value has that tag.
    fn has_tag_of(&self, value: &Value) -> bool {
        if let FieldType::Constrained(inner, _) = self {
            return inner.has_tag_of(value);
        }
        let (FieldType::Record(fields), Value::Dict(entries)) = (self, value) else { return false };
        fields.iter().any(|field| match (&field.ty, entries.get(&field.name)) {
            (FieldType::Literal(options), Some(tag)) => options.len() == 1 && options[0] == *tag,
            _ => false,
        })
    }
}

/// Converts every item.
fn each<'a>(items: Vec<Value>, ty: impl Fn(usize) -> &'a FieldType) -> Result<Vec<Value>, CoerceError> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| ty(index).coerce(item).map_err(|error| error.at_index(index)))
        .collect()
}

/// The first of each.
fn unique(mut items: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(item.repr(usize::MAX)));
    items
}

/// A text without the fence of Markdown around it, in which models like to put JSON.
fn unfenced(value: Value) -> Value {
    let inner = value.as_text().and_then(|text| {
        let inner = text.trim().strip_prefix("```")?.strip_suffix("```")?;
        let (tag, inner) = inner.split_once('\n')?;
        tag.trim().chars().all(char::is_alphanumeric).then(|| inner.to_owned())
    });
    inner.map_or(value, Value::from)
}

/// The list or dict that a text holds as JSON, or as Python prints it.
fn structure(text: &str) -> Result<Value, String> {
    let json = match Reader::new(text, 0, Dialect::Json).only_value() {
        Ok(value) => return Ok(value),
        Err(problem) => problem,
    };
    Reader::new(text, 0, Dialect::Python).only_value().map_err(|_| {
        format!("the text is not JSON: {} at character {}", json.message, text[..json.at].chars().count())
    })
}

//! Reads what a driver sends, entry by entry. Nothing in it is trusted.

use abyme_core::Value;
use bytes::Bytes;
use indexmap::IndexMap;

/// A dict that is read entry by entry. An entry that is `None` counts as missing.
pub(crate) struct Entries {
    name: &'static str,
    entries: IndexMap<String, Value>,
}

impl Entries {
    pub(crate) fn of(name: &'static str, value: Value) -> Result<Self, String> {
        match value {
            Value::Dict(entries) => Ok(Self { name, entries }),
            other => Err(format!("{name} is of type {}, not dict", other.type_name())),
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.entries.get_mut(key).map(std::mem::take).filter(|value| !value.is_none())
    }

    pub(crate) fn lacks(&self, key: &str) -> String {
        format!("{} has no `{key}`", self.name)
    }

    fn type_problem(&self, key: &str, value: &Value, expected: &str) -> String {
        format!("`{key}` of {} is of type {}, not {expected}", self.name, value.type_name())
    }

    pub(crate) fn inner(&mut self, key: &'static str) -> Result<Entries, String> {
        self.optional_inner(key)?.ok_or_else(|| self.lacks(key))
    }

    pub(crate) fn optional_inner(&mut self, key: &'static str) -> Result<Option<Entries>, String> {
        self.take(key).map(|value| Entries::of(key, value)).transpose()
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<String, String> {
        self.optional_text(key)?.ok_or_else(|| self.lacks(key))
    }

    pub(crate) fn optional_text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.into_string())),
            Some(other) => Err(self.type_problem(key, &other, "str")),
        }
    }

    pub(crate) fn optional_bytes(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(other) => Err(self.type_problem(key, &other, "bytes")),
        }
    }

    pub(crate) fn optional_size(&mut self, key: &str) -> Result<Option<usize>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(number @ (Value::Int(_) | Value::BigInt(_))) => match number.as_i64().map(usize::try_from) {
                Some(Ok(size)) => Ok(Some(size)),
                _ => Err(format!("`{key}` of {} cannot be {}", self.name, number.repr(60))),
            },
            Some(other) => Err(self.type_problem(key, &other, "int")),
        }
    }

    pub(crate) fn optional_bool(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(self.type_problem(key, &other, "bool")),
        }
    }

    pub(crate) fn optional_list(&mut self, key: &str) -> Result<Option<Vec<Value>>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::List(items)) => Ok(Some(items)),
            Some(other) => Err(self.type_problem(key, &other, "list")),
        }
    }

    /// A number that a message has to have, such as the id of a cell.
    pub(crate) fn number(&mut self, key: &str) -> Result<u64, String> {
        let size = self.optional_size(key)?.ok_or_else(|| self.lacks(key))?;
        Ok(size as u64)
    }

    /// The entries that were not taken, and `None` for those that were.
    pub(crate) fn into_entries(self) -> IndexMap<String, Value> {
        self.entries
    }
}

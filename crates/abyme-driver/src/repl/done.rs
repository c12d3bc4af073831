//! The answer of `Repl.run`, which a `done` message carries.

use abyme_core::{ChangedVariable, PythonError, Stage, Value};
use indexmap::IndexMap;

/// What the driver says at the end of a cell.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Done {
    /// The part of stdout that was not sent while the cell ran.
    pub stdout: StreamRemainder,
    /// The part of stderr that was not sent while the cell ran.
    pub stderr: StreamRemainder,
    /// The value of the last expression, unless that was `None`.
    pub value: Option<ValueRepr>,
    /// The exception that ended the cell.
    pub error: Option<PythonError>,
    /// The first of the variables that are new, rebound or of another size.
    pub changed: Vec<ChangedVariable>,
    /// How many such variables there were.
    pub changed_total: usize,
    /// The variables that the host reads.
    pub variables: IndexMap<String, Value>,
    /// Variables that the host reads and Python cannot convert, with the reason.
    pub unreadable: IndexMap<String, String>,
    /// Whether an interrupt reached this cell.
    pub interrupted: bool,
}

/// The `repr` of a value: whole, or cut in the middle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueRepr {
    /// The text, or its first part.
    pub head: String,
    /// Its last part, where the middle was left out.
    pub tail: String,
    /// Length of the whole in characters. `None` where the whole was never built.
    pub total: Option<usize>,
}

/// The part of a stream that was not sent while the cell ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamRemainder {
    /// What remains of its head.
    pub head: String,
    /// Its last part.
    pub tail: String,
    /// Length of the whole in characters, including what was sent before.
    pub total: usize,
}

impl Done {
    /// Reads the answer of `Repl.run`. It must have `stdout` and `stderr`, all other entries are optional,
    /// and unknown entries are ignored.
    ///
    /// # Errors
    /// What is wrong with the answer, for a message to its sender.
    pub fn from_value(answer: Value) -> Result<Self, String> {
        let mut answer = Entries::of("the answer", answer)?;
        Ok(Self {
            stdout: StreamRemainder::read(answer.inner("stdout")?)?,
            stderr: StreamRemainder::read(answer.inner("stderr")?)?,
            value: answer.optional_inner("value")?.map(ValueRepr::read).transpose()?,
            error: answer.optional_inner("error")?.map(python_error).transpose()?,
            changed: changed(answer.take("changed"))?,
            changed_total: answer.optional_size("changed_total")?.unwrap_or(0),
            variables: answer.optional_inner("variables")?.map_or_else(IndexMap::new, |inner| inner.entries),
            unreadable: answer.optional_inner("unreadable")?.map(texts).transpose()?.unwrap_or_default(),
            interrupted: answer.optional_bool("interrupted")?,
        })
    }
}

impl ValueRepr {
    fn read(mut value: Entries) -> Result<Self, String> {
        Ok(Self {
            head: value.text("text")?,
            tail: value.optional_text("tail")?.unwrap_or_default(),
            total: value.optional_size("total")?,
        })
    }
}

impl StreamRemainder {
    fn read(mut stream: Entries) -> Result<Self, String> {
        Ok(Self {
            head: stream.text("head")?,
            tail: stream.text("tail")?,
            total: stream.optional_size("total")?.ok_or_else(|| stream.lacks("total"))?,
        })
    }
}

fn python_error(mut error: Entries) -> Result<PythonError, String> {
    let stage = match error.optional_text("stage")?.as_deref() {
        None | Some("run") => Stage::Run,
        Some("compile") => Stage::Compile,
        Some("scope") => Stage::Scope,
        Some(other) => return Err(format!("`{}` is not a stage of a cell", other.escape_debug())),
    };
    let line = match error.optional_size("line")?.map(u32::try_from) {
        None => None,
        Some(Ok(line)) => Some(line),
        Some(Err(_)) => return Err("the line of an error is too large".to_owned()),
    };
    Ok(PythonError::new(error.text("type")?, error.text("message")?)
        .traceback(error.text("traceback")?)
        .stage(stage)
        .line(line))
}

fn changed(list: Option<Value>) -> Result<Vec<ChangedVariable>, String> {
    let list = match list {
        None => return Ok(Vec::new()),
        Some(Value::List(list)) => list,
        Some(other) => return Err(format!("`changed` is of type {}, not list", other.type_name())),
    };
    let variable = |value| {
        let mut variable = Entries::of("a changed variable", value)?;
        Ok(ChangedVariable::new(variable.text("name")?, variable.text("type")?, variable.text("summary")?))
    };
    list.into_iter().map(variable).collect()
}

fn texts(inner: Entries) -> Result<IndexMap<String, String>, String> {
    let text = |(key, value): (String, Value)| match value {
        Value::Text(text) => Ok((key, text.into_string())),
        other => Err(format!("an entry of `{}` is of type {}, not str", inner.name, other.type_name())),
    };
    inner.entries.into_iter().map(text).collect()
}

/// A dict that is read entry by entry. An entry that is `None` counts as missing.
struct Entries {
    name: &'static str,
    entries: IndexMap<String, Value>,
}

impl Entries {
    fn of(name: &'static str, value: Value) -> Result<Self, String> {
        match value {
            Value::Dict(entries) => Ok(Self { name, entries }),
            other => Err(format!("{name} is of type {}, not dict", other.type_name())),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.entries.get_mut(key).map(std::mem::take).filter(|value| !value.is_none())
    }

    fn lacks(&self, key: &str) -> String {
        format!("{} has no `{key}`", self.name)
    }

    fn type_problem(&self, key: &str, value: &Value, expected: &str) -> String {
        format!("`{key}` of {} is of type {}, not {expected}", self.name, value.type_name())
    }

    fn inner(&mut self, key: &'static str) -> Result<Entries, String> {
        self.optional_inner(key)?.ok_or_else(|| self.lacks(key))
    }

    fn optional_inner(&mut self, key: &'static str) -> Result<Option<Entries>, String> {
        self.take(key).map(|value| Entries::of(key, value)).transpose()
    }

    fn text(&mut self, key: &str) -> Result<String, String> {
        self.optional_text(key)?.ok_or_else(|| self.lacks(key))
    }

    fn optional_text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.into_string())),
            Some(other) => Err(self.type_problem(key, &other, "str")),
        }
    }

    fn optional_size(&mut self, key: &str) -> Result<Option<usize>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(number @ (Value::Int(_) | Value::BigInt(_))) => match number.as_i64().map(usize::try_from) {
                Some(Ok(size)) => Ok(Some(size)),
                _ => Err(format!("`{key}` of {} cannot be {}", self.name, number.repr(60))),
            },
            Some(other) => Err(self.type_problem(key, &other, "int")),
        }
    }

    fn optional_bool(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(self.type_problem(key, &other, "bool")),
        }
    }
}

#[cfg(test)]
mod tests;

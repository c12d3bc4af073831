//! The answer of `Repl.run`, which a `done` message carries.

use abyme_core::{ChangedVariable, PythonError, Stage, Value};
use indexmap::IndexMap;

use crate::repl::entries::Entries;

/// How many changed variables are kept, and how many characters of a name: the driver sends no more.
const MAX_CHANGED: usize = 30;
const MAX_NAME_CHARS: usize = 1000;

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
    /// The numbers of the given texts that the session still has.
    pub given: Vec<u64>,
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
            changed: changed(answer.optional_list("changed")?.unwrap_or_default())?,
            changed_total: answer.optional_size("changed_total")?.unwrap_or(0),
            variables: answer
                .optional_inner("variables")?
                .map_or_else(IndexMap::new, |inner| inner.into_entries()),
            unreadable: answer.optional_inner("unreadable")?.map(texts).transpose()?.unwrap_or_default(),
            given: numbers(answer.optional_list("given")?.unwrap_or_default())?,
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
    Ok(PythonError::new(cut(error.text("type")?), error.text("message")?)
        .traceback(error.text("traceback")?)
        .stage(stage)
        .line(line))
}

fn changed(list: Vec<Value>) -> Result<Vec<ChangedVariable>, String> {
    let variable = |value| {
        let mut variable = Entries::of("a changed variable", value)?;
        let mut text = |key| variable.text(key).map(cut);
        Ok(ChangedVariable::new(text("name")?, text("type")?, text("summary")?))
    };
    list.into_iter().take(MAX_CHANGED).map(variable).collect()
}

fn numbers(list: Vec<Value>) -> Result<Vec<u64>, String> {
    let number = |value: Value| value.as_i64().and_then(|number| u64::try_from(number).ok());
    let numbers: Option<_> = list.into_iter().map(number).collect();
    numbers.ok_or_else(|| "`given` of the answer holds what is no number".to_owned())
}

/// The beginning of a name.
fn cut(mut name: String) -> String {
    if let Some((end, _)) = name.char_indices().nth(MAX_NAME_CHARS) {
        name.truncate(end);
        name.shrink_to_fit();
    }
    name
}

fn texts(inner: Entries) -> Result<IndexMap<String, String>, String> {
    let text = |(key, value): (String, Value)| match value {
        Value::Text(text) => Ok((key, text.into_string())),
        other => Err(format!("an entry of `unreadable` is of type {}, not str", other.type_name())),
    };
    inner.into_entries().into_iter().map(text).collect()
}

#[cfg(test)]
mod tests;

//! What a cell produced.

use std::{fmt, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    value::Value,
};

/// What a cell produced. An exception is a part of it, so it has to be looked at: [`check`](Self::check)
/// makes an error of one.
#[must_use = "an exception of the cell is in its observation; `check()?` makes an error of it"]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Observation {
    /// What the cell wrote to stdout.
    #[serde(skip_serializing_if = "Captured::is_empty")]
    pub stdout: Captured,
    /// What the cell wrote to stderr.
    #[serde(skip_serializing_if = "Captured::is_empty")]
    pub stderr: Captured,
    /// `repr` of the last expression, unless it was `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Captured>,
    /// The exception that ended the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<PythonError>,
    /// The first submission of the cell (C7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submission: Option<Submission>,
    /// Variables that the cell made, rebound or grew; at most a screenful.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ChangedVariable>,
    /// How many variables changed in all, where [`changed`](Self::changed) was cut.
    #[serde(skip_serializing_if = "is_zero")]
    pub changed_total: usize,
    /// The variables that the cell asked to read, by name. Those that do not exist are absent.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, Value>,
    /// How the cell's time limit ended it, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption: Option<Interruption>,
    /// Why the session is over, if this cell ended it. Every later call answers `SessionEnded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_ended: Option<String>,
    /// What happened to the interpreter, if this cell crashed it or had to be killed and the session was put
    /// back to its state before the cell. Nothing the cell did to variables and files is kept; its output and
    /// submission are. For backends that declare [`Capabilities::restores`](super::Capabilities::restores).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<String>,
    /// How long the cell took, host calls included.
    #[serde(rename = "seconds", with = "crate::seconds")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub duration: Duration,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Observation {
    /// Whether the cell was refused by the compiler: nothing of it ran.
    pub fn is_syntax_error(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.stage == Stage::Compile)
    }

    /// An error if the cell did not come to its end: for programs to which an exception of the cell is a
    /// failure.
    ///
    /// ```
    /// # async fn example(mut session: abyme_core::Session) -> abyme_core::Result<()> {
    /// session.run_code("import math").await?.check()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Python`] with the exception, or with why the cell was cut off;
    /// [`ErrorKind::SessionEnded`] if the session died in the cell. The report has the traceback.
    pub fn check(&self) -> Result<()> {
        let python = |message: String| Error::new(ErrorKind::Python, message);
        if let Some(reason) = &self.session_ended {
            return Err(Error::new(ErrorKind::SessionEnded, format!("the session has ended: {reason}")));
        }
        if let Some(reason) = &self.restored {
            return Err(python(format!("the session was put back to its state before the cell: {reason}")));
        }
        match (&self.error, self.interruption) {
            (Some(error), interruption) => {
                let limit = if interruption.is_some() { "the cell reached its time limit: " } else { "" };
                let traceback = format!("\n{}", error.traceback.trim_end());
                Err(python(format!("{limit}{error}")).with("traceback", traceback))
            }
            (None, Some(_)) => Err(python("the cell reached its time limit".to_owned())),
            (None, None) => Ok(()),
        }
    }

    /// The observation, if [`check`](Self::check) finds nothing.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn into_result(self) -> Result<Self> {
        self.check().map(|()| self)
    }

    /// Whether the cell ended without an exception.
    pub fn is_ok(&self) -> bool {
        self.error.is_none()
            && self.interruption.is_none()
            && self.session_ended.is_none()
            && self.restored.is_none()
    }
}

/// Text with a cap: all of it if it fitted, or its first and last part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Captured {
    /// The text, or its first part.
    pub head: String,
    /// The last part, where the middle was left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tail: String,
    /// Length of the whole in characters.
    pub total_chars: usize,
    /// How many characters of the middle were left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted_chars: usize,
}

impl Captured {
    /// A text that fitted.
    pub fn whole(text: impl Into<String>) -> Self {
        let head = text.into();
        let total_chars = head.chars().count();
        Self { head, tail: String::new(), total_chars, omitted_chars: 0 }
    }

    /// A text whose middle was left out. If the parts make up the total, nothing was.
    pub fn cut(head: impl Into<String>, tail: impl Into<String>, total_chars: usize) -> Self {
        let (mut head, tail) = (head.into(), tail.into());
        let kept = head.chars().count() + tail.chars().count();
        if kept >= total_chars {
            head.push_str(&tail);
            return Self { head, tail: String::new(), total_chars: kept, omitted_chars: 0 };
        }
        Self { head, tail, total_chars, omitted_chars: total_chars - kept }
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.total_chars == 0
    }

    /// The same text cut to at most `max_chars`, keeping the first and the last half.
    pub fn shortened(&self, max_chars: usize) -> Captured {
        self.shortened_to(max_chars.div_ceil(2), max_chars / 2)
    }

    /// The same text cut to its `first` and `last` characters.
    pub(super) fn shortened_to(&self, first: usize, last: usize) -> Captured {
        let (kept, max_chars) = (self.total_chars - self.omitted_chars, first.saturating_add(last));
        if kept <= max_chars {
            return self.clone();
        }
        let text = [self.head.as_str(), self.tail.as_str()].concat();
        let head = text.chars().take(first).collect::<String>();
        let tail = text.chars().skip(kept - last).collect::<String>();
        Captured { head, tail, total_chars: self.total_chars, omitted_chars: self.total_chars - max_chars }
    }
}

/// The text, with `... (N characters omitted) ...` where the middle was left out.
impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        if self.omitted_chars > 0 {
            write!(f, "\n... ({} characters omitted) ...\n", self.omitted_chars)?;
        }
        f.write_str(&self.tail)
    }
}

impl<T: Into<String>> From<T> for Captured {
    fn from(text: T) -> Self {
        Self::whole(text)
    }
}

/// A Python exception, as an observation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PythonError {
    /// The exception's class name.
    #[serde(rename = "type")]
    pub type_name: String,
    /// `str` of the exception.
    pub message: String,
    /// The formatted traceback, ending in the exception itself, with only the cell's own frames.
    pub traceback: String,
    /// When it happened.
    #[serde(default)]
    pub stage: Stage,
    /// The line of the cell it points at, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl PythonError {
    /// An exception raised while the cell ran.
    pub fn new(type_name: impl Into<String>, message: impl Into<String>) -> Self {
        let (type_name, message) = (type_name.into(), message.into());
        let traceback = format!("{type_name}: {message}");
        Self { type_name, message, traceback, ..Self::default() }
    }

    /// Sets the traceback.
    pub fn traceback(mut self, traceback: impl Into<String>) -> Self {
        self.traceback = traceback.into();
        self
    }

    /// Sets when it happened.
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Sets the line it points at.
    pub fn line(mut self, line: impl Into<Option<u32>>) -> Self {
        self.line = line.into();
        self
    }
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => f.write_str(&self.type_name),
            message => write!(f, "{}: {message}", self.type_name),
        }
    }
}

/// When an exception happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// The compiler refused the cell; nothing of it ran.
    Compile,
    /// The user's Python tools could not be loaded; nothing of the cell ran.
    Scope,
    /// The code policy refused the cell; nothing of it ran.
    Policy,
    /// While the cell ran.
    #[default]
    Run,
}

/// A recorded call of `SUBMIT`, `FINAL` or `FINAL_VAR`, or an `answer` that was ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Submission {
    /// Which way was used.
    pub via: Via,
    /// What was submitted.
    #[serde(flatten)]
    pub submitted: Submitted,
}

impl Submission {
    /// Outputs by name.
    pub fn fields(via: Via, fields: IndexMap<String, Value>) -> Self {
        Self { via, submitted: Submitted::Fields(fields) }
    }

    /// One value.
    pub fn value(via: Via, value: impl Into<Value>) -> Self {
        Self { via, submitted: Submitted::Value(value.into()) }
    }

    /// What was submitted as one value: outputs by name are a dict.
    pub fn to_value(&self) -> Value {
        match &self.submitted {
            Submitted::Fields(fields) => Value::Dict(fields.clone()),
            Submitted::Value(value) => value.clone(),
        }
    }
}

/// What was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Submitted {
    /// Outputs by name.
    Fields(IndexMap<String, Value>),
    /// One value.
    Value(Value),
}

/// The ways to submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Via {
    /// `SUBMIT(...)`, after DSPy.
    #[serde(rename = "SUBMIT")]
    Submit,
    /// `FINAL(value)`, after the RLM paper.
    #[serde(rename = "FINAL")]
    Final,
    /// `FINAL_VAR("name")`, after the RLM paper.
    #[serde(rename = "FINAL_VAR")]
    FinalVar,
    /// `answer["ready"] = True`, after `rlms` and OpenJarvis.
    #[serde(rename = "answer")]
    Answer,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Via::Submit => "SUBMIT",
            Via::Final => "FINAL",
            Via::FinalVar => "FINAL_VAR",
            Via::Answer => "answer",
        })
    }
}

/// A variable that a cell made, rebound or grew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChangedVariable {
    /// Its name.
    pub name: String,
    /// Its type's name.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its type with its size, such as `list[412]` or `DataFrame 1000000x4`.
    pub summary: String,
}

impl ChangedVariable {
    /// A variable of a type, with its summary.
    pub fn new(name: impl Into<String>, type_name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { name: name.into(), type_name: type_name.into(), summary: summary.into() }
    }
}

/// How a time limit ended a cell (C10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Interruption {
    /// The cell was interrupted; variables and the session are kept.
    Interrupted,
    /// The cell did not answer the interrupt; the session has ended, or was put back to its state before the
    /// cell.
    Killed,
}

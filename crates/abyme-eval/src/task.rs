//! One question with its expected answer.

use std::path::{Path, PathBuf};

use abyme_core::{Error, ErrorKind, Inputs, Result, TaskSignature, Text, Value};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::scorer::{self, Scorer};

/// The input that every task has.
pub(crate) const QUESTION: &str = "question";
/// The output that every task has.
pub(crate) const ANSWER: &str = "answer";

/// A question over inputs, with the expected answer and how answers are compared with it. In a file it is one
/// line of JSON.
///
/// ```
/// use abyme_eval::{Scorer, Task};
///
/// let line = r#"{"id": "refunds", "question": "Which plan has the highest refund rate?",
///     "inputs": {"orders": {"file": "orders.csv"}}, "expected": ["basic", "Basic"], "scorer": "text"}"#;
/// let task: Task = serde_json::from_str(line)?;
/// assert_eq!(task.scorer, Scorer::Text);
/// assert_eq!(task.signature()?.to_string(), "orders, question: str -> answer: str");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Task {
    /// Its name, which no other task of the file has. Default: `task-` and the number of its line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What it has in common with others: a report has a table by groups. Default: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The question.
    pub question: String,
    /// What the question is about, by the names that variables will have. Default: nothing.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, TaskInput>,
    /// The type of the answer, as a signature has it. Default: what the scorer compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The expected answer, in the form that the scorer wants.
    pub expected: serde_json::Value,
    /// How answers are compared with it. Default: [`Scorer::Exact`].
    #[serde(default, deserialize_with = "scorer::read")]
    pub scorer: Scorer,
}

/// An input of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum TaskInput {
    /// The text of a file.
    File(TextFile),
    /// A value.
    Value(serde_json::Value),
}

/// A file of UTF-8 text. A relative path begins at the directory of the file of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TextFile {
    /// Its path.
    pub file: PathBuf,
}

impl TextFile {
    /// Its text. A relative path begins at `directory`.
    ///
    /// # Errors
    /// Those of [`Text::from_file`].
    pub(crate) fn read(&self, directory: &Path) -> Result<Text> {
        Text::from_file(directory.join(&self.file))
    }
}

impl Task {
    /// A question without inputs, whose answer is to be exactly what is expected.
    pub fn new(question: impl Into<String>, expected: impl Into<serde_json::Value>) -> Self {
        Self {
            id: String::new(),
            group: String::new(),
            question: question.into(),
            inputs: IndexMap::new(),
            output: None,
            expected: expected.into(),
            scorer: Scorer::default(),
        }
    }

    /// Sets its name.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets what it has in common with others.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Adds an input.
    pub fn input(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.inputs.insert(name.into(), TaskInput::Value(value.into()));
        self
    }

    /// Sets the type of the answer.
    pub fn output(mut self, output: impl Into<String>) -> Self {
        self.output = Some(output.into());
        self
    }

    /// Sets how answers are compared with the expected one.
    pub fn scorer(mut self, scorer: Scorer) -> Self {
        self.scorer = scorer;
        self
    }

    /// What an [`Rlm`](abyme_core::Rlm) is to do: `inputs, question: str -> answer: type`. Tasks with inputs
    /// of the same names and answers of the same type have the same signature.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if an input cannot have its name, or the type of the answer is none.
    pub fn signature(&self) -> Result<TaskSignature> {
        if self.inputs.contains_key(QUESTION) {
            let message = format!("no input can be called `{QUESTION}`: that is the question itself");
            return Err(Error::new(ErrorKind::Signature, message));
        }
        let inputs: String = self.inputs.keys().map(|name| format!("{name}, ")).collect();
        let output = self.output.as_deref().unwrap_or(self.scorer.output());
        format!("{inputs}{QUESTION}: str -> {ANSWER}: {output}").parse()
    }

    /// The inputs with the question. Files are read from `directory`.
    ///
    /// # Errors
    /// Those of [`Text::from_file`].
    pub(crate) fn values(&self, directory: &Path) -> Result<Inputs> {
        let value = |(name, input): (&String, &TaskInput)| {
            let value = match input {
                TaskInput::Value(value) => Value::from(value.clone()),
                TaskInput::File(file) => file.read(directory)?.into(),
            };
            Ok((name.clone(), value))
        };
        let inputs = self.inputs.iter().map(value).collect::<Result<Inputs>>()?;
        Ok(inputs.with(QUESTION, self.question.as_str()))
    }
}

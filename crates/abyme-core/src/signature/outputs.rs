//! Brings submissions to the declared outputs, and says all that is wrong with them in words for the model.

use std::fmt;

use indexmap::IndexMap;

use super::{
    coerce::{CoerceError, shown},
    field::{Field, FieldType},
    suggest::nearest,
    task::TaskSignature,
};
use crate::{
    error::{Error, ErrorKind},
    names::ticked,
    value::Value,
};

#[cfg(test)]
mod tests;

/// Everything that is wrong with a submission. `Display` has one line per problem, for the model to read.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputErrors {
    problems: Vec<OutputProblem>,
}

/// One thing that is wrong with a submission.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OutputProblem {
    /// An output was not submitted.
    Missing {
        /// Its name.
        name: String,
        /// Its type.
        ty: FieldType,
    },
    /// Something was submitted that is not an output.
    Unknown {
        /// Its name.
        name: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// An output is not of its type.
    Invalid {
        /// Its name.
        name: String,
        /// What does not fit.
        error: CoerceError,
    },
    /// An output, or all outputs together, cannot be read as the Rust type that is asked for, or do not pass
    /// a check.
    Unreadable {
        /// The output's name; `None` for all together.
        name: Option<String>,
        /// What `serde` says, and where in the value; or what the check says.
        message: String,
    },
    /// One value was submitted for several outputs.
    NotFields {
        /// The names of the outputs.
        outputs: Vec<String>,
        /// What came: its Python type and the start of its `repr`.
        got: String,
    },
}

impl OutputErrors {
    /// The problems, in the order of the outputs; those about other names come last.
    pub fn problems(&self) -> &[OutputProblem] {
        &self.problems
    }
}

impl fmt::Display for OutputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(OutputProblem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for OutputProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputProblem::Missing { name, ty } => write!(f, "output `{name}` is missing: submit it as {ty}"),
            OutputProblem::Unknown { name, suggestion: Some(near) } => {
                write!(f, "{} is not an output, did you mean `{near}`?", ticked(name))
            }
            OutputProblem::Unknown { name, suggestion: None } => {
                write!(f, "{} is not an output: leave it out", ticked(name))
            }
            OutputProblem::Invalid { name, error } => write!(f, "output `{name}`: {error}"),
            OutputProblem::Unreadable { name: Some(name), message } => {
                write!(f, "output `{name}`: {message}")
            }
            OutputProblem::Unreadable { name: None, message } => {
                write!(f, "the outputs do not fit: {message}")
            }
            OutputProblem::NotFields { outputs, got } => {
                let call: Vec<_> = outputs.iter().map(|name| format!("{name}=...")).collect();
                let count = outputs.len();
                write!(
                    f,
                    "{count} outputs are expected, got one {got}; submit all by name: SUBMIT({})",
                    call.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for OutputErrors {}

impl From<OutputErrors> for Error {
    fn from(errors: OutputErrors) -> Self {
        let lines: Vec<_> = errors.problems.iter().map(OutputProblem::to_string).collect();
        Error::new(ErrorKind::OutputType, lines.join("; "))
    }
}

impl TaskSignature {
    /// The submitted outputs as their declared types, in declared order; see [`FieldType::coerce`].
    ///
    /// ```
    /// use abyme_core::{Value, signature::TaskSignature};
    /// use indexmap::IndexMap;
    ///
    /// let signature: TaskSignature = "docs -> modules: list[str], total: int".parse()?;
    /// let fields = |total: &str| IndexMap::from([
    ///     ("total".to_owned(), Value::from(total)),
    ///     ("modules".to_owned(), Value::from(vec!["a"])),
    /// ]);
    /// let outputs = signature.coerce_outputs(fields("1"))?;
    /// assert_eq!(outputs.keys().collect::<Vec<_>>(), ["modules", "total"]);
    /// assert_eq!(outputs["total"], Value::Int(1));
    ///
    /// let errors = signature.coerce_outputs(fields("one")).unwrap_err();
    /// assert_eq!(errors.to_string(), "output `total`: expected int, got str 'one'");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OutputErrors`] with every missing, unknown and unfitting output.
    pub fn coerce_outputs(
        &self,
        mut fields: IndexMap<String, Value>,
    ) -> Result<IndexMap<String, Value>, OutputErrors> {
        let mut outputs = IndexMap::with_capacity(self.outputs().len());
        let mut problems = Vec::new();
        for field in self.outputs() {
            let name = field.name().to_owned();
            match fields.shift_remove(field.name()).map(|value| field.ty().coerce(value)) {
                Some(Ok(value)) if value.has_more_levels_than(Value::MAX_LEVELS) => {
                    let message = format!("it is nested more than {} levels deep", Value::MAX_LEVELS);
                    problems.push(OutputProblem::Unreadable { name: Some(name), message });
                }
                Some(Ok(value)) => {
                    if let Some(message) = field.checks().iter().find_map(|check| check.run(&value).err()) {
                        problems.push(OutputProblem::Unreadable { name: Some(name.clone()), message });
                    }
                    outputs.insert(name, value);
                }
                Some(Err(error)) => problems.push(OutputProblem::Invalid { name, error }),
                None => problems.push(OutputProblem::Missing { name, ty: field.ty().clone() }),
            }
        }
        problems.extend(fields.into_keys().map(|name| OutputProblem::Unknown {
            suggestion: nearest(&name, self.outputs().iter().map(Field::name)).map(str::to_owned),
            name,
        }));
        if problems.is_empty() {
            let whole = Value::Dict(std::mem::take(&mut outputs));
            if let Some(message) = self.checks().iter().find_map(|check| check.run(&whole).err()) {
                problems.push(OutputProblem::Unreadable { name: None, message });
            }
            if let Value::Dict(entries) = whole {
                outputs = entries;
            }
        }
        if problems.is_empty() { Ok(outputs) } else { Err(OutputErrors { problems }) }
    }

    /// The outputs from one submitted value: `FINAL(value)`, `FINAL_VAR("name")` or `answer`.
    ///
    /// With one output, the value is that output, unless it is a dict with exactly that key. With several, it
    /// must be a dict of the outputs (or text of one).
    ///
    /// # Errors
    /// [`OutputErrors`], saying what to submit.
    pub fn coerce_single(&self, value: Value) -> Result<IndexMap<String, Value>, OutputErrors> {
        if let [field] = self.outputs() {
            let name = field.name().to_owned();
            let whole = |value| IndexMap::from([(name, value)]);
            return match value {
                Value::Dict(entries) if entries.len() == 1 && entries.contains_key(field.name()) => {
                    // A dict-typed output may itself have a key of the output's name.
                    match self.coerce_outputs(entries.clone()) {
                        Ok(outputs) => Ok(outputs),
                        Err(errors) => self.coerce_outputs(whole(Value::Dict(entries))).map_err(|_| errors),
                    }
                }
                value => self.coerce_outputs(whole(value)),
            };
        }
        let dict = FieldType::dict(FieldType::Str, FieldType::Any);
        let got = shown(&value);
        match dict.coerce(value) {
            Ok(Value::Dict(entries)) => self.coerce_outputs(entries),
            _ => {
                let outputs = self.outputs().iter().map(|field| field.name().to_owned()).collect();
                Err(OutputErrors { problems: vec![OutputProblem::NotFields { outputs, got }] })
            }
        }
    }
}

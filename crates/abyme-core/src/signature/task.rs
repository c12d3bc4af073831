//! What a task is: typed inputs, typed outputs, and instructions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    field::{Field, check_new_name},
    suggest::did_you_mean,
};
use crate::{
    error::{Error, ErrorKind, Result},
    names::{NameUse, ticked},
};

/// Typed inputs and outputs of a task, known at compile time.
///
/// Implemented by hand, in two lines:
///
/// ```
/// use abyme_core::signature::{Signature, TaskSignature};
///
/// #[derive(serde::Deserialize)]
/// struct Modules {
///     modules: Vec<String>,
/// }
///
/// impl Signature for Modules {
///     type Outputs = Modules;
///
///     fn signature() -> TaskSignature {
///         "docs, query -> modules: list[str]".parse().expect("a valid signature")
///     }
/// }
/// # assert_eq!(Modules::signature().outputs().len(), 1);
/// ```
pub trait Signature {
    /// The Rust type of all outputs together.
    type Outputs: serde::de::DeserializeOwned;

    /// The inputs, outputs and instructions as a value.
    fn signature() -> TaskSignature;
}

/// The inputs, outputs and instructions of a task.
///
/// ```
/// use abyme_core::signature::TaskSignature;
///
/// let signature: TaskSignature = "docs, query -> modules: list[str], total: int".parse()?;
/// let signature = signature.with_instructions("Find all modules.").describe("docs", "The API reference")?;
/// assert_eq!(signature.inputs()[0].name(), "docs");
/// assert_eq!(signature.outputs()[0].ty().to_string(), "list[str]");
/// assert_eq!(signature.to_string(), "docs, query -> modules: list[str], total: int");
///
/// let error = "docs -> total: inte".parse::<TaskSignature>().unwrap_err();
/// assert!(error.to_string().starts_with(
///     r#"signature "docs -> total: inte": at 15: unknown type `inte`, did you mean `int`?"#
/// ));
/// # Ok::<(), abyme_core::Error>(())
/// ```
///
/// # The string form
/// `inputs -> outputs`, each a list of `name` or `name: type` with commas between; spaces and newlines do not
/// matter. There may be no inputs (`-> numbers: list[int]`), but there is at least one output. An output
/// without a type is a `str`, as in DSPy. An input without a type takes any value, since `docs` may well be a
/// list. The types are those of [`FieldType`](super::FieldType); the names those that
/// [`check_name`](crate::names::check_name) allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct TaskSignature {
    instructions: Option<String>,
    inputs: Vec<Field>,
    outputs: Vec<Field>,
}

impl TaskSignature {
    /// A signature of these fields, without instructions.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if a name cannot be used or comes twice, if a type is an empty union or an
    /// impossible `Literal`, or if there is no output.
    pub fn new(
        inputs: impl IntoIterator<Item = Field>,
        outputs: impl IntoIterator<Item = Field>,
    ) -> Result<TaskSignature> {
        let mut signature = Self { instructions: None, inputs: Vec::new(), outputs: Vec::new() };
        for field in inputs {
            let field = signature.checked(field, NameUse::Input)?;
            signature.inputs.push(field);
        }
        for field in outputs {
            let field = signature.checked(field, NameUse::Output)?;
            signature.outputs.push(field);
        }
        if signature.outputs.is_empty() {
            return Err(Error::new(ErrorKind::Signature, "a signature needs at least one output"));
        }
        Ok(signature)
    }

    fn checked(&self, field: Field, usage: NameUse) -> Result<Field> {
        let invalid = |message| Error::new(ErrorKind::Signature, message);
        check_new_name(field.name(), usage, &self.inputs, &self.outputs).map_err(invalid)?;
        let name = field.name().to_owned();
        field.normalized().map_err(|message| invalid(format!("{usage} `{name}`: {message}")))
    }

    /// What the task is, in words.
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> &[Field] {
        &self.inputs
    }

    /// The outputs, in the order in which `SUBMIT` takes them.
    pub fn outputs(&self) -> &[Field] {
        &self.outputs
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&Field> {
        self.inputs.iter().find(|field| field.name() == name)
    }

    /// The output of this name.
    pub fn output(&self, name: &str) -> Option<&Field> {
        self.outputs.iter().find(|field| field.name() == name)
    }

    /// Says in words what the task is.
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Says in words what an input or output is.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if there is no field of that name.
    pub fn describe(mut self, name: &str, description: impl Into<String>) -> Result<Self> {
        let found = self.inputs.iter_mut().chain(&mut self.outputs).find(|field| field.name() == name);
        match found {
            Some(field) => field.set_description(description.into()),
            None => {
                let names = self.inputs.iter().chain(&self.outputs).map(Field::name);
                let near = did_you_mean(name, names);
                return Err(Error::new(
                    ErrorKind::Signature,
                    format!("no input or output is called {}{near}; the signature is `{self}`", ticked(name)),
                ));
            }
        }
        Ok(self)
    }
}

/// The string form. Instructions and descriptions are not part of it.
impl fmt::Display for TaskSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |fields: &[Field]| fields.iter().map(Field::to_string).collect::<Vec<_>>().join(", ");
        let space = if self.inputs.is_empty() { "" } else { " " };
        write!(f, "{}{space}-> {}", list(&self.inputs), list(&self.outputs))
    }
}

/// What a task can be described with: a [`TaskSignature`], or its string form.
pub trait IntoSignature {
    /// The signature.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if the string form does not parse.
    fn into_signature(self) -> Result<TaskSignature>;
}

impl IntoSignature for TaskSignature {
    fn into_signature(self) -> Result<TaskSignature> {
        Ok(self)
    }
}

impl IntoSignature for &TaskSignature {
    fn into_signature(self) -> Result<TaskSignature> {
        Ok(self.clone())
    }
}

impl IntoSignature for &str {
    fn into_signature(self) -> Result<TaskSignature> {
        self.parse()
    }
}

impl IntoSignature for &String {
    fn into_signature(self) -> Result<TaskSignature> {
        self.parse()
    }
}

impl IntoSignature for String {
    fn into_signature(self) -> Result<TaskSignature> {
        self.parse()
    }
}

impl<E: Into<Error>> IntoSignature for Result<TaskSignature, E> {
    fn into_signature(self) -> Result<TaskSignature> {
        self.map_err(Into::into)
    }
}

/// How `serde` sees a signature.
#[derive(Serialize, Deserialize)]
struct Parts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    #[serde(default)]
    inputs: Vec<Field>,
    outputs: Vec<Field>,
}

impl From<TaskSignature> for Parts {
    fn from(TaskSignature { instructions, inputs, outputs }: TaskSignature) -> Self {
        Self { instructions, inputs, outputs }
    }
}

impl TryFrom<Parts> for TaskSignature {
    type Error = Error;

    fn try_from(Parts { instructions, inputs, outputs }: Parts) -> Result<Self> {
        Ok(TaskSignature { instructions, ..TaskSignature::new(inputs, outputs)? })
    }
}

//! What a task is: typed inputs, typed outputs, and instructions.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    field::{Check, Field, check_new_name},
    suggest::did_you_mean,
};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    names::{NameUse, ticked},
    value::Value,
};

/// Typed inputs and outputs of a task, known at compile time.
///
/// `#[derive(Signature)]` implements it. By hand, it takes three lines:
///
/// ```
/// use abyme_core::{Inputs, Result, Signature, TaskSignature};
///
/// #[derive(serde::Deserialize)]
/// struct Modules {
///     modules: Vec<String>,
/// }
///
/// impl Signature for Modules {
///     type Inputs = Inputs;
///     type Outputs = Modules;
///
///     fn signature() -> Result<TaskSignature> {
///         "docs, query -> modules: list[str]".parse()
///     }
/// }
/// # assert_eq!(Modules::signature()?.outputs().len(), 1);
/// # Ok::<(), abyme_core::Error>(())
/// ```
///
/// A submission that `Outputs` cannot be read from goes back to the model. To show the model the shapes of
/// nested types, make the outputs with [`Field::of`], or give them by [`TaskSignature::output_as`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a signature known at compile time",
    note = "derive it: `#[derive(Signature)]` on a struct with fields marked `#[input]` and `#[output]`",
    note = "a signature in a text needs no type: `Rlm::builder(\"docs, query -> answer\")`"
)]
pub trait Signature: 'static {
    /// The Rust type of all inputs together.
    type Inputs: TryInto<Inputs, Error: Into<Error>>;

    /// The Rust type of all outputs together.
    type Outputs: DeserializeOwned + 'static;

    /// The inputs, outputs and instructions as a value.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`], saying what cannot be. [`RlmBuilder::build`](crate::RlmBuilder::build) gives
    /// it.
    fn signature() -> Result<TaskSignature>;
}

/// In the place of a [`Signature`] where there is none at compile time: inputs and outputs go by name. It is
/// what [`Rlm::builder`](crate::Rlm::builder) begins with.
#[derive(Clone, Copy, Debug)]
pub enum Untyped {}

impl Signature for Untyped {
    type Inputs = Inputs;
    type Outputs = IndexMap<String, Value>;

    fn signature() -> Result<TaskSignature> {
        let message = "`Untyped` has no signature of its own: give one to `Rlm::builder`";
        Err(Error::new(ErrorKind::Signature, message))
    }
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
#[serde(try_from = "SignatureParts", into = "SignatureParts")]
pub struct TaskSignature {
    instructions: Option<String>,
    inputs: Vec<Field>,
    outputs: Vec<Field>,
    /// What Rust has to say about all outputs together.
    checks: Vec<Check>,
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
        let mut signature =
            Self { instructions: None, inputs: Vec::new(), outputs: Vec::new(), checks: Vec::new() };
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

    /// Makes an output one that holds a `T`: see [`Field::of`].
    ///
    /// ```
    /// use abyme_core::signature::TaskSignature;
    /// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Module { name: String, lines: u32 }
    ///
    /// let signature: TaskSignature = "docs -> modules".parse()?;
    /// let signature = signature.output_as::<Vec<Module>>("modules")?;
    /// assert_eq!(signature.to_string(), "docs -> modules: list[{'name': str, 'lines': int}]");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if there is no output of that name.
    pub fn output_as<T: DeserializeOwned + JsonSchema>(mut self, name: &str) -> Result<Self> {
        let Some(at) = self.outputs.iter().position(|field| field.name() == name) else {
            let near = did_you_mean(name, self.outputs.iter().map(Field::name));
            let message = format!("no output is called {}{near}; the signature is `{self}`", ticked(name));
            return Err(Error::new(ErrorKind::Signature, message));
        };
        let field = self.outputs.remove(at).typed::<T>();
        let invalid = |message| Error::new(ErrorKind::Signature, format!("output `{name}`: {message}"));
        self.outputs.insert(at, field.normalized().map_err(invalid)?);
        Ok(self)
    }

    /// Refuses submissions from which a `T` cannot be read that has a field for each output.
    /// [`Rlm::of`](crate::Rlm::of) calls it with the [`Signature`]'s outputs.
    pub fn outputs_as<T: DeserializeOwned>(mut self) -> Self {
        self.checks.insert(0, Check::reads::<T>());
        self
    }

    /// Has a function look at all outputs together, read as a `T`. The model is told the `words`; what the
    /// function says is wrong goes back to it. For one output, see [`Field::check`].
    pub fn check_outputs<T: DeserializeOwned, E: fmt::Display>(
        mut self,
        words: impl Into<String>,
        check: impl Fn(&T) -> std::result::Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check::by(words, check));
        self
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether code of the host's looks at the outputs.
    pub(crate) fn has_checks(&self) -> bool {
        !self.checks.is_empty() || self.outputs().iter().any(|field| !field.checks().is_empty())
    }

    /// What the model is told about all outputs together.
    pub(crate) fn said_of_outputs(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter_map(Check::words)
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe a task",
    note = "pass a signature as a text, such as `\"docs, query -> answer: list[str]\"`, or a `TaskSignature`",
    note = "for a type that implements `Signature`, call `Rlm::of::<ThatType>()`"
)]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SignatureParts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    #[serde(default)]
    inputs: Vec<Field>,
    outputs: Vec<Field>,
}

/// As a record has it.
#[cfg(test)]
impl schemars::JsonSchema for TaskSignature {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TaskSignature".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        SignatureParts::json_schema(generator)
    }
}

impl From<TaskSignature> for SignatureParts {
    fn from(TaskSignature { instructions, inputs, outputs, checks: _ }: TaskSignature) -> Self {
        Self { instructions, inputs, outputs }
    }
}

impl TryFrom<SignatureParts> for TaskSignature {
    type Error = Error;

    fn try_from(SignatureParts { instructions, inputs, outputs }: SignatureParts) -> Result<Self> {
        Ok(TaskSignature { instructions, ..TaskSignature::new(inputs, outputs)? })
    }
}

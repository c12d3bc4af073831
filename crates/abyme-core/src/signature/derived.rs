//! What `#[derive(Signature)]` generates calls of, beside the public types: choices that depend on which
//! traits a field's type has, and the check of names while compiling.

use std::marker::PhantomData;

use schemars::JsonSchema;
pub use serde;
use serde::{Serialize, de::DeserializeOwned};

use super::field::Field;
use crate::{
    error::Result,
    names::{KEYWORDS, RELIED_ON, RESERVED, is_same, listed},
    value::Value,
};

/// A type that an output of a signature can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an output",
    label = "cannot be shown to a model, or not be read",
    note = "derive `serde::Deserialize` and `schemars::JsonSchema` for it"
)]
pub trait OutputType: DeserializeOwned + JsonSchema {}

impl<T: DeserializeOwned + JsonSchema> OutputType for T {}

/// An output of this type.
pub fn output<T: OutputType>(name: &str) -> Field {
    Field::of::<T>(name)
}

/// A type, asked for its traits: of two methods of a name, the compiler takes the one that needs no
/// reference.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    /// Asks about a type.
    #[allow(clippy::new_without_default, reason = "only generated code makes one")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// An input whose type has a schema is shown with it.
pub trait WithSchema {
    /// The input.
    fn input(&self, name: &str) -> Field;
}

impl<T: JsonSchema> WithSchema for Probe<T> {
    fn input(&self, name: &str) -> Field {
        Field::input_of::<T>(name)
    }
}

/// Any other input goes by its value.
pub trait WithoutSchema {
    /// The input.
    fn input(&self, name: &str) -> Field;
}

impl<T> WithoutSchema for &Probe<T> {
    fn input(&self, name: &str) -> Field {
        Field::untyped(name)
    }
}

/// A value that converts by itself, without a copy of a long text.
pub trait ByValue {
    /// How it converts.
    fn way(&self) -> Convert {
        Convert
    }
}

impl<T: Into<Value>> ByValue for Probe<T> {}

/// Any other value converts by `serde`.
pub trait BySerde {
    /// How it converts.
    fn way(&self) -> Read {
        Read
    }
}

impl<T> BySerde for &Probe<T> {}

/// Conversion by `Into`.
#[derive(Debug)]
pub struct Convert;

impl Convert {
    /// The value of an input.
    ///
    /// # Errors
    /// None.
    pub fn convert<T: Into<Value>>(self, _: &str, value: T) -> Result<Value> {
        Ok(value.into())
    }
}

/// Conversion by `serde`.
#[derive(Debug)]
pub struct Read;

impl Read {
    /// The value of an input.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is no value of Python.
    pub fn convert<T: InputType>(self, name: &str, value: T) -> Result<Value> {
        Value::from_serialize(&value).map_err(|error| error.context(format_args!("input `{name}`")))
    }
}

/// A type that an input of a signature can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of an input",
    label = "cannot be made a value of Python",
    note = "derive `serde::Serialize` for it, and `schemars::JsonSchema` to show the model its shape"
)]
pub trait InputType: Serialize {}

impl<T: Serialize> InputType for T {}

/// Refuses a name that an input or output cannot have, while compiling. What takes tables of Unicode is left
/// to [`check_name`](crate::names::check_name), when the signature is made.
#[allow(clippy::panic, reason = "it runs while compiling, where this is how an error is made")]
pub const fn assert_name(name: &str, is_input: bool) {
    if listed(KEYWORDS, name) {
        panic!("this name is a keyword of Python: give the field another one");
    }
    if listed(RESERVED, name) && !is_same(name, "answer") {
        panic!("the session provides something of this name: give the field another one");
    }
    if is_input && listed(RELIED_ON, name) {
        panic!("an input of this name would hide the Python name that the model's code relies on");
    }
}

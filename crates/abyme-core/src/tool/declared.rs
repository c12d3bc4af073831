//! What the attribute `#[tool]` generates calls of: parameters that are declared one by one, arguments that
//! are taken one by one, and results of any type.

use std::{future::Future, marker::PhantomData};

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value as Json, json};

use super::function::{Serialized, ToolReturn, called_off_the_runtime};
use crate::{
    interpreter::HostError,
    names::{KEYWORDS, RELIED_ON, RESERVED, listed},
    signature::DescribedType,
    value::Value,
};

/// A type that a parameter of a tool can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a tool's parameter",
    label = "has no schema, or cannot be read",
    note = "derive `serde::Deserialize` and `schemars::JsonSchema` for it"
)]
pub trait ToolParameter: DeserializeOwned + JsonSchema {}

impl<T: DeserializeOwned + JsonSchema> ToolParameter for T {}

/// The parameters of a tool, declared one by one.
#[derive(Debug, Default)]
pub struct ToolParameters {
    generator: SchemaGenerator,
    properties: Map<String, Json>,
    required: Vec<String>,
}

impl ToolParameters {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter that has to be given.
    pub fn required<T: ToolParameter>(mut self, name: &str, description: &str) -> Self {
        self.required.push(name.to_owned());
        self.property::<T>(name, description, None)
    }

    /// Adds a parameter that is `None` where it is left out.
    pub fn optional<T: ToolParameter>(self, name: &str, description: &str) -> Self {
        self.property::<T>(name, description, Some(Json::Null))
    }

    /// Adds a parameter that may be left out.
    pub fn with_default<T: ToolParameter + Serialize>(
        self,
        name: &str,
        description: &str,
        default: T,
    ) -> Self {
        // What JSON cannot hold is not shown, and `Arguments::take_or` takes it all the same.
        let default = serde_json::to_value(default).unwrap_or(Json::Null);
        self.property::<T>(name, description, Some(default))
    }

    fn property<T: JsonSchema>(mut self, name: &str, description: &str, default: Option<Json>) -> Self {
        let mut schema: Schema = self.generator.subschema_for::<T>();
        let keywords = schema.ensure_object();
        if !description.is_empty() {
            keywords.insert("description".to_owned(), description.into());
        }
        if let Some(default) = default {
            keywords.insert("default".to_owned(), default);
        }
        self.properties.insert(name.to_owned(), schema.to_value());
        self
    }

    /// The schema of an object with these properties.
    pub(super) fn into_schema(self) -> Json {
        json!({
            "type": "object",
            "$defs": self.generator.definitions(),
            "properties": self.properties,
            "required": self.required,
        })
    }
}

/// The arguments of one call.
#[derive(Debug)]
pub struct Arguments(pub(super) IndexMap<String, Value>);

impl Arguments {
    /// Takes an argument. One that was not given is `None`.
    ///
    /// # Errors
    /// A `TypeError` that names the argument and the place in it, if it is no `T`.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, HostError> {
        let value = self.0.shift_remove(name).unwrap_or_default();
        value.to().map_err(|error| {
            let message = error.message();
            let message = match message.strip_prefix("at ") {
                Some(inside) => format!("at {name}{inside}"),
                None => format!("at {name}: {message}"),
            };
            HostError::type_error(message)
        })
    }

    /// Takes an argument. One that was not given is `default`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_or<T: DeserializeOwned>(
        &mut self,
        name: &str,
        default: impl FnOnce() -> T,
    ) -> Result<T, HostError> {
        match self.0.contains_key(name) {
            true => self.take(name),
            false => Ok(default()),
        }
    }
}

/// Runs a function that may block off the runtime's threads.
///
/// # Errors
/// Those of the function.
pub async fn blocking(
    function: impl FnOnce() -> Result<Value, HostError> + Send + 'static,
) -> Result<Value, HostError> {
    called_off_the_runtime(function).await
}

/// Asks a future to be `Send`, where its attribute can say so.
pub fn asynchronous<F: Future<Output = Result<Value, HostError>> + Send>(future: F) -> F {
    future
}

/// What a tool returned: by [`ToolReturn`] where it has that, and else as `serde` writes it.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is a wrapper")]
pub struct Returned<T>(pub T);

impl<T: ToolReturn> Returned<T> {
    /// The value, or the exception to raise.
    ///
    /// # Errors
    /// The tool's own, as a Python exception.
    pub fn into_result(self) -> Result<Value, HostError> {
        self.0.into_result()
    }
}

/// The second choice of [`Returned`].
pub trait ReturnedBySerde {
    /// The value.
    ///
    /// # Errors
    /// If it cannot be a value.
    fn into_result(self) -> Result<Value, HostError>;
}

impl<T: Serialize> ReturnedBySerde for Returned<T> {
    fn into_result(self) -> Result<Value, HostError> {
        Serialized(self.0).into_result()
    }
}

/// Asks for the type that a tool returns, as the model reads it: the first that there is of an inherent
/// method, [`ResultOfSchema`] and [`ResultWithoutSchema`].
#[derive(Debug)]
pub struct ResultType<T>(PhantomData<fn() -> T>);

impl<T> ResultType<T> {
    /// Asks about `T`.
    #[allow(clippy::new_without_default, reason = "only generated code asks")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: JsonSchema, E> ResultType<Result<T, E>> {
    /// That of the success.
    pub fn described(&self) -> Option<DescribedType> {
        Some(DescribedType::of::<T>("result"))
    }
}

/// A result with a schema.
pub trait ResultOfSchema {
    /// What the schema says.
    fn described(&self) -> Option<DescribedType>;
}

impl<T: JsonSchema> ResultOfSchema for ResultType<T> {
    fn described(&self) -> Option<DescribedType> {
        Some(DescribedType::of::<T>("result"))
    }
}

/// A result without a schema.
pub trait ResultWithoutSchema {
    /// Nothing is known.
    fn described(&self) -> Option<DescribedType>;
}

impl<T> ResultWithoutSchema for &ResultType<T> {
    fn described(&self) -> Option<DescribedType> {
        None
    }
}

/// Whether a tool may have this name, as far as that can be said while compiling.
pub const fn is_tool_name(name: &str) -> bool {
    is_parameter_name(name) && !listed(RESERVED, name) && !listed(RELIED_ON, name)
}

/// Whether a parameter may have this name, as far as that can be said while compiling.
pub const fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && !listed(KEYWORDS, name)
}

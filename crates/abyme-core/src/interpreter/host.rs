//! Functions that Python calls and the host runs.

use std::fmt;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::value::Value;

/// Serves the calls a cell makes: `llm_query` and its family, and the user's tools.
///
/// A run brings its own implementation; [`Tool`](crate::Tool)s are the way to add functions to it. A program
/// that uses a [`Session`](super::Session) without a run implements this for the functions that cells may
/// call.
///
/// Calls of one cell may be in flight at the same time, on one task: an implementation that computes for long
/// should move that to `spawn_blocking`.
#[async_trait]
pub trait HostFunctions: Send + Sync {
    /// Runs one call. Its failure raises in Python (C8).
    async fn call(&self, call: HostCall) -> Result<Value, HostError>;

    /// Whether the clock of the cell's [time limit](super::Cell::timeout) stands still while this call is in
    /// flight: for calls that wait for something with a time limit of its own, such as a model. Default: it
    /// does not.
    fn stops_clock(&self, call: &HostCall) -> bool {
        let _ = call;
        false
    }
}

/// One call from Python. Arguments of named parameters arrive by name, with the defaults filled in; `args`
/// holds only what a `*args` parameter took.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct HostCall {
    /// The function's name.
    pub name: String,
    /// What `*args` took.
    pub args: Vec<Value>,
    /// Arguments by name.
    pub kwargs: IndexMap<String, Value>,
}

impl HostCall {
    /// A call of `name` without arguments.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets the positional arguments.
    pub fn args(mut self, args: Vec<Value>) -> Self {
        self.args = args;
        self
    }

    /// Sets the arguments by name.
    pub fn kwargs(mut self, kwargs: IndexMap<String, Value>) -> Self {
        self.kwargs = kwargs;
        self
    }

    /// Adds one argument by name.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.kwargs.insert(name.into(), value.into());
        self
    }
}

/// What a failed call raises in Python: the built-in exception called `type_name`, or a `RuntimeError` of
/// that name where Python has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HostError {
    /// The exception's class name, such as `ValueError`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its message.
    pub message: String,
}

impl HostError {
    /// An exception of class `type_name` with `message`.
    pub fn new(type_name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_name: type_name.into(), message: message.into() }
    }

    /// The exception Python raises for wrong arguments.
    pub fn type_error(message: impl Into<String>) -> Self {
        Self::new("TypeError", message)
    }

    /// The exception Python raises for a bad value.
    pub fn value_error(message: impl Into<String>) -> Self {
        Self::new("ValueError", message)
    }

    /// The exception for everything else.
    pub fn runtime_error(message: impl Into<String>) -> Self {
        Self::new("RuntimeError", message)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.type_name, self.message)
    }
}

/// Any Rust error becomes a `RuntimeError` with its message; another exception has to be named on purpose,
/// with [`HostError::new`] or one of its constructors. (This is possible because `HostError` itself does
/// not implement `std::error::Error`.)
impl<E: std::error::Error> From<E> for HostError {
    fn from(error: E) -> Self {
        Self::runtime_error(error.to_string())
    }
}

/// A host without functions.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHostFunctions;

#[async_trait]
impl HostFunctions for NoHostFunctions {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        Err(HostError::new("NameError", format!("the host has no function `{}`", call.name)))
    }
}

//! Tools: the user's functions that a cell can call.

mod schema;

use std::{fmt, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::FutureExt;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::{FunctionSpec, HostError, ParameterSpec},
    names::{self, NameUse},
    value::Value,
};

type Handler = Arc<
    dyn Fn(IndexMap<String, Value>) -> Pin<Box<dyn Future<Output = Result<Value, HostError>> + Send>>
        + Send
        + Sync,
>;

/// A user's function that a cell can call like any Python function.
///
/// ```
/// use abyme_core::{HostError, Tool};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Args {
///     /// Text to search
///     text: String,
///     /// What to count
///     needle: String,
/// }
///
/// let count = Tool::new("count", "Count how often a needle occurs.", |args: Args| async move {
///     Ok::<_, HostError>(args.text.matches(&args.needle).count())
/// });
/// assert_eq!(count.spec().parameters[1].name, "needle");
/// ```
#[derive(Clone)]
pub struct Tool {
    spec: FunctionSpec,
    handler: Handler,
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Tool {
    /// A tool over typed arguments. Parameters, their types, defaults and descriptions come from the type's
    /// JSON Schema. A failure raises the exception that its [`HostError`] names, which is `RuntimeError` for
    /// every other Rust error; a panic raises `RuntimeError` too.
    ///
    /// The function runs on the run's task: long computations belong in `tokio::task::spawn_blocking`.
    pub fn new<A, R, E, F, Fut>(name: impl Into<String>, description: impl Into<String>, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        R: Serialize,
        E: Into<HostError>,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let parameters = schema::parameters(schemars::schema_for!(A).as_value());
        let function = Arc::new(function);
        let required: Arc<[String]> = required_names(&parameters);
        Self::from_parts(name, description, parameters, move |arguments| {
            let (function, required) = (function.clone(), required.clone());
            async move {
                let arguments = without_unset(arguments, &required);
                let arguments: A = Value::Dict(arguments)
                    .to()
                    .map_err(|error| HostError::type_error(error.message().to_owned()))?;
                let returned = function(arguments).await.map_err(Into::into)?;
                Value::from_serialize(&returned).map_err(HostError::from)
            }
        })
    }

    /// A tool whose parameters are described by a JSON Schema of an object, over untyped arguments by name.
    ///
    /// Parameters that the schema does not require arrive as `None` unless the schema has a `default`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the schema is not that of an object.
    pub fn from_schema<F, Fut>(
        name: impl Into<String>,
        description: impl Into<String>,
        schema: &serde_json::Value,
        function: F,
    ) -> Result<Self>
    where
        F: Fn(IndexMap<String, Value>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HostError>> + Send + 'static,
    {
        let name = name.into();
        if !schema.get("properties").is_none_or(serde_json::Value::is_object)
            || schema.get("type").is_some_and(|ty| ty != "object")
            || !schema.is_object()
        {
            let message = format!(
                "the parameters of tool `{name}` need the JSON Schema of an object, \
                 such as {{\"type\": \"object\", \"properties\": {{\"text\": {{\"type\": \"string\"}}}}}}"
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Self::from_parts(name, description, schema::parameters(schema), function))
    }

    /// A tool with the given parameters, over untyped arguments by name.
    pub fn from_parts<F, Fut>(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: Vec<ParameterSpec>,
        function: F,
    ) -> Self
    where
        F: Fn(IndexMap<String, Value>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HostError>> + Send + 'static,
    {
        let mut spec = FunctionSpec::new(name, description);
        spec.parameters = parameters;
        Self { spec, handler: Arc::new(move |arguments| Box::pin(function(arguments))) }
    }

    /// Sets the annotation of what the tool returns, as the model reads it.
    pub fn returns(mut self, annotation: impl Into<String>) -> Self {
        self.spec.returns = Some(annotation.into());
        self
    }

    /// How Python sees the tool.
    pub fn spec(&self) -> &FunctionSpec {
        &self.spec
    }

    /// The tool's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Calls the tool. A panic in it is an error of this call.
    ///
    /// # Errors
    /// What the tool's function answers.
    pub async fn call(&self, arguments: IndexMap<String, Value>) -> Result<Value, HostError> {
        let called = AssertUnwindSafe(async { (self.handler)(arguments).await }).catch_unwind().await;
        called.unwrap_or_else(|panic| {
            let reason = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no reason given".to_owned());
            Err(HostError::runtime_error(format!("tool `{}` panicked: {reason}", self.name())))
        })
    }

    /// Checks the names of the tool and of its parameters.
    pub(crate) fn check(&self) -> Result<()> {
        names::check_name(self.name(), NameUse::Tool)?;
        for parameter in &self.spec.parameters {
            names::check_identifier(&parameter.name)
                .map_err(|problem| Error::from(problem).context(format!("tool `{}`", self.name())))?;
        }
        Ok(())
    }
}

fn required_names(parameters: &[ParameterSpec]) -> Arc<[String]> {
    parameters
        .iter()
        .filter(|parameter| parameter.default.is_none())
        .map(|parameter| parameter.name.clone())
        .collect()
}

/// Leaves out optional arguments that are `None`, so that `#[serde(default)]` fields take their default.
fn without_unset(arguments: IndexMap<String, Value>, required: &[String]) -> IndexMap<String, Value> {
    arguments.into_iter().filter(|(name, value)| !value.is_none() || required.contains(name)).collect()
}

//! The names a session offers to the code that runs in it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// How much of a default is shown.
const SHOWN_CHARS: usize = 60;

/// The names a session offers, next to the built-in `SUBMIT`, `FINAL`, `FINAL_VAR`, `answer` and `SHOW_VARS`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Scope {
    /// Functions that run on the host.
    pub functions: Vec<FunctionSpec>,
    /// Outputs in the order in which `SUBMIT` takes them.
    pub outputs: Vec<OutputSpec>,
    /// Python sources whose public functions become tools of the session.
    pub modules: Vec<ModuleSource>,
}

impl Scope {
    /// An empty scope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host function.
    pub fn function(mut self, function: FunctionSpec) -> Self {
        self.functions.push(function);
        self
    }

    /// Adds an output.
    pub fn output(mut self, name: impl Into<String>, ty: impl Into<String>) -> Self {
        self.outputs.push(OutputSpec { name: name.into(), ty: ty.into() });
        self
    }

    /// Adds a Python source of tools.
    pub fn module(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.modules.push(ModuleSource { name: name.into(), source: source.into() });
        self
    }
}

/// How Python sees a host function: enough for a real signature and docstring (C8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FunctionSpec {
    /// The function's name.
    pub name: String,
    /// Its docstring.
    #[serde(default, rename = "doc")]
    pub description: String,
    /// Its parameters, in order.
    #[serde(default)]
    pub parameters: Vec<ParameterSpec>,
    /// The annotation of what it returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<String>,
}

impl FunctionSpec {
    /// A function without parameters.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), parameters: Vec::new(), returns: None }
    }

    /// A function that takes any arguments: `name(*args, **kwargs)`.
    pub fn variadic(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self::new(name, description)
            .parameter(ParameterSpec::new("args").kind(ParameterKind::VarPositional))
            .parameter(ParameterSpec::new("kwargs").kind(ParameterKind::VarKeyword))
    }

    /// Adds a parameter.
    pub fn parameter(mut self, parameter: ParameterSpec) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Sets the annotation of what it returns.
    pub fn returns(mut self, annotation: impl Into<String>) -> Self {
        self.returns = Some(annotation.into());
        self
    }
}

/// The head of the function as Python writes it: `name(a: str, b: int = 0) -> list`.
impl fmt::Display for FunctionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parameters = Vec::new();
        for parameter in &self.parameters {
            if parameter.kind == ParameterKind::KeywordOnly
                && !parameters.iter().any(|one: &String| one.starts_with('*'))
            {
                parameters.push("*".to_owned());
            }
            parameters.push(parameter.to_string());
        }
        write!(f, "{}({})", self.name, parameters.join(", "))?;
        match &self.returns {
            Some(annotation) => write!(f, " -> {annotation}"),
            None => Ok(()),
        }
    }
}

/// One parameter of a host function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ParameterSpec {
    /// Its name.
    pub name: String,
    /// How it may be passed.
    #[serde(default)]
    pub kind: ParameterKind,
    /// Its type, as a Python annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotation: Option<String>,
    /// Its default; a parameter without one is required.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_value")]
    pub default: Option<Value>,
}

/// As Python writes it: `b: int = 0`.
impl fmt::Display for ParameterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ParameterKind::VarPositional => "*",
            ParameterKind::VarKeyword => "**",
            _ => "",
        })?;
        f.write_str(&self.name)?;
        if let Some(annotation) = &self.annotation {
            write!(f, ": {annotation}")?;
        }
        match &self.default {
            Some(value) => write!(f, " = {}", value.repr(SHOWN_CHARS)),
            None => Ok(()),
        }
    }
}

/// A default of `None` is written as `null`, which must not be read back as "no default".
fn some_value<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl ParameterSpec {
    /// A required parameter that may be passed by position or by name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ParameterKind::default(), annotation: None, default: None }
    }

    /// Sets how it may be passed.
    pub fn kind(mut self, kind: ParameterKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets its annotation.
    pub fn annotation(mut self, annotation: impl Into<String>) -> Self {
        self.annotation = Some(annotation.into());
        self
    }

    /// Sets its default, which makes it optional.
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }
}

/// How a parameter may be passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParameterKind {
    /// By position or by name.
    #[default]
    PositionalOrKeyword,
    /// By name only.
    KeywordOnly,
    /// `*args`.
    VarPositional,
    /// `**kwargs`.
    VarKeyword,
}

/// One output that `SUBMIT` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Its type, as a Python annotation; shown in messages, not enforced by the session.
    #[serde(rename = "type")]
    pub ty: String,
}

/// A Python source whose public functions become tools of the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleSource {
    /// A file name for tracebacks, such as `tools.py`.
    pub name: String,
    /// The source.
    pub source: String,
}

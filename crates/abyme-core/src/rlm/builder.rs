//! Putting an [`Rlm`] together; every mistake surfaces in [`RlmBuilder::build`], by name.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use super::{Limits, RESERVED_FUNCTIONS, Rlm, Shared, builtins};
use crate::{
    CodePolicy, Error, ErrorKind, EventSink, FunctionSpec, InterpreterFactory, LanguageModel, Result,
    RetryPolicy, Scope, TaskSignature, Tool, TrajectoryWriter,
    interpreter::ModuleSource,
    names::{self, NameUse},
    prompt,
};

/// Puts an [`Rlm`] together. Made by [`Rlm::builder`] and [`Rlm::of`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RlmBuilder {
    signature: Result<TaskSignature>,
    model: Option<Arc<dyn LanguageModel>>,
    sub_model: Option<Arc<dyn LanguageModel>>,
    factory: Option<Arc<dyn InterpreterFactory>>,
    tools: Vec<Tool>,
    modules: Vec<ModuleSource>,
    policy: Option<Arc<CodePolicy>>,
    limits: Limits,
    retry: RetryPolicy,
    sinks: Vec<Arc<dyn EventSink>>,
    trace: Option<PathBuf>,
}

impl RlmBuilder {
    pub(super) fn new(signature: Result<TaskSignature>) -> Self {
        Self {
            signature,
            model: None,
            sub_model: None,
            factory: None,
            tools: Vec::new(),
            modules: Vec::new(),
            policy: None,
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            sinks: Vec::new(),
            trace: None,
        }
    }

    /// Says what the task is and how to go about it.
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.signature = self.signature.map(|signature| signature.with_instructions(text));
        self
    }

    /// Describes an input or output for the model.
    pub fn describe(mut self, name: &str, text: impl Into<String>) -> Self {
        self.signature = self.signature.and_then(|signature| signature.describe(name, text));
        self
    }

    /// The model that plans: it writes the cells.
    pub fn model(mut self, model: impl LanguageModel + 'static) -> Self {
        self.model = Some(Arc::new(model));
        self
    }

    /// The model that answers `llm_query`. Default: the one that plans.
    pub fn sub_model(mut self, model: impl LanguageModel + 'static) -> Self {
        self.sub_model = Some(Arc::new(model));
        self
    }

    /// Where the Python runs.
    pub fn interpreter(mut self, factory: impl InterpreterFactory + 'static) -> Self {
        self.factory = Some(Arc::new(factory));
        self
    }

    /// Offers a tool to the cells.
    pub fn tool(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Offers several tools to the cells.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Offers the public functions of a Python source as tools. They run in the session, as the user's code does;
    /// `name` is shown in tracebacks.
    pub fn python_tools(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.modules.push(ModuleSource { name: name.into(), source: source.into() });
        self
    }

    /// Checks every cell before it runs. A guard rail, not a wall: see [`CodePolicy`].
    pub fn policy(mut self, policy: CodePolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Sets all limits at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how many replies the model has. Default 20.
    pub fn max_iterations(mut self, iterations: u32) -> Self {
        self.limits.max_iterations = iterations;
        self
    }

    /// Sets how many sub-calls the cells may make. Default 200.
    pub fn max_llm_calls(mut self, calls: u32) -> Self {
        self.limits.max_llm_calls = calls;
        self
    }

    /// Sets how many characters of an observation the model reads. Default 10 000.
    pub fn max_output_chars(mut self, chars: usize) -> Self {
        self.limits.max_output_chars = chars;
        self
    }

    /// Sets how long a cell may take. Default 120 s.
    pub fn cell_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.cell_timeout = limit.into();
        self
    }

    /// Sets how long the turns of a run may take together. Default: no limit.
    pub fn run_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.run_timeout = limit.into();
        self
    }

    /// Sets how many US dollars a run may use, as far as the provider reports them. Default: no limit.
    pub fn max_cost(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.limits.max_cost = dollars.into();
        self
    }

    /// Sets how many tokens a run may use, as far as the provider reports them. Default: no limit.
    pub fn max_tokens(mut self, tokens: impl Into<Option<u64>>) -> Self {
        self.limits.max_tokens = tokens.into();
        self
    }

    /// Sets how many model calls may be in flight at once. Default 16.
    pub fn max_concurrent_calls(mut self, calls: usize) -> Self {
        self.limits.max_concurrent_calls = calls;
        self
    }

    /// Sets how failed model calls are tried again, for models that do not do so themselves.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Shows every event of every run to `sink`, as it happens.
    pub fn on_event(mut self, sink: impl EventSink + 'static) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Writes the trajectory to a file, as it happens; [`build`](Self::build) makes the file. It is for one run:
    /// the events of several would stand in it one after the other, or mixed.
    pub fn trace(mut self, path: impl Into<PathBuf>) -> Self {
        self.trace = Some(path.into());
        self
    }

    /// Checks everything and puts the [`Rlm`] together.
    ///
    /// # Errors
    /// The first mistake, by name: [`ErrorKind::Signature`] for a signature that does not parse,
    /// [`ErrorKind::InvalidInput`] for a name that cannot be used, [`ErrorKind::Config`] for the rest.
    pub fn build(self) -> Result<Rlm> {
        let signature = self.signature?;
        let missing =
            |what: &str, how: &str| Error::new(ErrorKind::Config, format!("no {what} was given: {how}"));
        let model = self.model.ok_or_else(|| missing("model", "call `.model(...)` on the builder"))?;
        let factory =
            self.factory.ok_or_else(|| missing("interpreter", "call `.interpreter(...)` on the builder"))?;
        let sub_model = self.sub_model.unwrap_or_else(|| model.clone());
        model.check().map_err(|error| error.context("model"))?;
        sub_model.check().map_err(|error| error.context("sub-model"))?;
        check_limits(&self.limits)?;
        let python_tools = describe_all(&self.modules)?;
        check_names(&signature, &self.tools, &python_tools)?;
        let mut scope = Scope::new();
        scope.functions = builtins::specs();
        scope.functions.extend(self.tools.iter().map(|tool| tool.spec().clone()));
        for field in signature.outputs() {
            scope = scope.output(field.name(), field.ty().to_string());
        }
        scope.modules = self.modules;
        let mut sinks = self.sinks;
        if let Some(path) = self.trace {
            sinks.push(Arc::new(TrajectoryWriter::create(path)?));
        }
        Ok(Rlm {
            shared: Arc::new(Shared {
                sub_model,
                signature,
                model,
                factory,
                tools: self.tools,
                python_tools,
                scope: Arc::new(scope),
                policy: self.policy,
                limits: self.limits,
                retry: self.retry,
                sinks,
            }),
        })
    }
}

fn describe_all(modules: &[ModuleSource]) -> Result<Vec<FunctionSpec>> {
    let mut functions = Vec::new();
    for module in modules {
        functions.extend(prompt::describe_module(module)?);
    }
    Ok(functions)
}

fn check_limits(limits: &Limits) -> Result<()> {
    let wrong = |what: &str| Err(Error::new(ErrorKind::Config, what.to_owned()));
    match limits {
        Limits { max_iterations: 0, .. } => wrong("max_iterations is 0: a run needs at least one"),
        Limits { max_concurrent_calls: 0, .. } => {
            wrong("max_concurrent_calls is 0: no sub-call could ever start")
        }
        Limits { max_output_chars: 0, .. } => wrong("max_output_chars is 0: the model would see nothing"),
        Limits { model_timeout, .. } if model_timeout.is_zero() => {
            wrong("model_timeout is 0: no model could answer")
        }
        Limits { cell_timeout: Some(limit), .. } if limit.is_zero() => {
            wrong("cell_timeout is 0: no cell could run")
        }
        Limits { max_cost: Some(cost), .. } if cost.is_nan() || *cost < 0.0 => {
            wrong("max_cost is not an amount")
        }
        _ => Ok(()),
    }
}

/// Names have to be legal, and no two things of a session may have the same one.
fn check_names(signature: &TaskSignature, tools: &[Tool], python_tools: &[FunctionSpec]) -> Result<()> {
    let mut taken: HashSet<&str> = HashSet::from(RESERVED_FUNCTIONS);
    let inputs: HashSet<&str> = signature.inputs().iter().map(|field| field.name()).collect();
    for tool in tools {
        tool.check()?;
    }
    for function in python_tools {
        names::check_name(&function.name, NameUse::Tool)?;
    }
    for name in tools.iter().map(Tool::name).chain(python_tools.iter().map(|function| function.name.as_str()))
    {
        if !taken.insert(name) {
            let message = format!("two tools are called `{name}`: rename one of them");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if inputs.contains(name) {
            let message = format!("`{name}` is both an input and a tool: rename one of them");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

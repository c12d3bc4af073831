//! Puts an `Rlm` together. `build` refuses every part that cannot work, by name.

use std::{collections::HashSet, fmt, marker::PhantomData, sync::Arc};

use abyme_python_syntax::{CodePolicy, Function, public_functions};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{
    calls::{
        approval::{ApprovalRequest, Approver},
        builtins::RESERVED_FUNCTIONS,
    },
    config::{RlmConfig, check_inputs, scope_of, tool_names},
};
use crate::{
    compaction::Compaction,
    error::{Error, ErrorKind, Result},
    interpreter::{InterpreterFactory, ModuleSource},
    limits::Limits,
    model::{LanguageModel, RetryPolicy},
    names::{self, NameUse},
    prompt::Profile,
    signature::{Signature, TaskSignature, Untyped},
    telemetry::SpanContent,
    tool::Tool,
    trajectory::{Approval, EventSink},
};

/// Puts an [`Rlm`](crate::Rlm) together. Made by [`Rlm::builder`](crate::Rlm::builder) and
/// [`Rlm::of`](crate::Rlm::of).
#[must_use = "a builder does nothing until `build` is called"]
pub struct RlmBuilder<S = Untyped> {
    typed: PhantomData<fn() -> S>,
    signature: Result<TaskSignature>,
    model: Option<Arc<dyn LanguageModel>>,
    sub_model: Option<Arc<dyn LanguageModel>>,
    named_models: IndexMap<String, Arc<dyn LanguageModel>>,
    factory: Option<Arc<dyn InterpreterFactory>>,
    tools: Vec<Tool>,
    approver: Option<Approver>,
    modules: Vec<ModuleSource>,
    policy: Option<Arc<CodePolicy>>,
    limits: Limits,
    retry: RetryPolicy,
    compaction: Option<Compaction>,
    stop_early: bool,
    seed: Option<u64>,
    deterministic: bool,
    profile: Profile,
    span_content: SpanContent,
    sinks: Vec<Arc<dyn EventSink>>,
}

impl RlmBuilder {
    /// Makes an output one that holds a `T`: the model is shown the shape of `T` and its doc comments, and a
    /// submission that is not a `T` goes back to it. Read it with
    /// [`Prediction::get`](crate::Prediction::get).
    ///
    /// ```no_run
    /// # fn example(builder: abyme_core::RlmBuilder) {
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Module {
    ///     /// As `import` takes it
    ///     name: String,
    ///     lines: u32,
    /// }
    ///
    /// let builder = abyme_core::Rlm::builder("docs -> modules").output::<Vec<Module>>("modules");
    /// # }
    /// ```
    pub fn output<T: DeserializeOwned + JsonSchema>(mut self, name: &str) -> Self {
        self.signature = self.signature.and_then(|signature| signature.output_as::<T>(name));
        self
    }
}

impl<S: Signature> RlmBuilder<S> {
    pub(super) fn new(signature: Result<TaskSignature>) -> Self {
        Self {
            typed: PhantomData,
            signature,
            model: None,
            sub_model: None,
            named_models: IndexMap::new(),
            factory: None,
            tools: Vec::new(),
            approver: None,
            modules: Vec::new(),
            policy: None,
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            compaction: None,
            stop_early: true,
            seed: None,
            deterministic: false,
            profile: Profile::default(),
            span_content: SpanContent::default(),
            sinks: Vec::new(),
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

    /// The model that answers `llm_query`. Default: the model that plans.
    pub fn sub_model(mut self, model: impl LanguageModel + 'static) -> Self {
        self.sub_model = Some(Arc::new(model));
        self
    }

    /// A further model for `llm_query(prompt, model=name)`. A cell may use the models that were given a name
    /// here, and no others.
    pub fn named_model(mut self, name: impl Into<String>, model: impl LanguageModel + 'static) -> Self {
        self.named_models.insert(name.into(), Arc::new(model));
        self
    }

    /// The backend that runs the Python.
    pub fn interpreter(mut self, factory: impl InterpreterFactory + 'static) -> Self {
        self.factory = Some(Arc::new(factory));
        self
    }

    /// Offers a tool to the cells: a function with the attribute [`tool`](macro@crate::tool), or a [`Tool`].
    pub fn tool(mut self, tool: impl Into<Tool>) -> Self {
        self.tools.push(tool.into());
        self
    }

    /// Offers several tools to the cells.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Has calls of tools that [write](crate::Effect::Write) or use the [network](crate::Effect::Network)
    /// wait until `approve` answers, those of children too. Default: nobody is asked.
    ///
    /// A call that is [denied](Approval::Denied) is not made, and raises `PermissionError` with the reason in
    /// Python. It counts towards the [calls](crate::Tool::max_calls) that its tool may have. The answer is in
    /// the record ([`ToolCallStarted`](crate::Event::ToolCallStarted)), so a run that is resumed or replayed
    /// does not ask again about a call that it answers. The clock of the cell stands still during such a
    /// call, which may work for as long as a cell may
    /// ([`Limits::cell_timeout`](crate::Limits::cell_timeout)) once it is approved. Several calls may ask at
    /// the same time; a panic is a denial.
    ///
    /// It is asked about what the host does. Python that a session runs by itself, tools in Python included,
    /// is kept in by the backend.
    ///
    /// ```no_run
    /// use abyme_core::{Approval, Rlm};
    ///
    /// let builder = Rlm::builder("mails -> summary: str").approve_tools(|request| async move {
    ///     match &*request.tool {
    ///         "save_draft" => Approval::Given,
    ///         other => Approval::Denied(format!("nobody may use {other} at night")),
    ///     }
    /// });
    /// ```
    pub fn approve_tools<F, Fut>(mut self, approve: F) -> Self
    where
        F: Fn(ApprovalRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Approval> + Send + 'static,
    {
        self.approver = Some(Approver::new(approve));
        self
    }

    /// Offers the public functions of a Python source as tools. They run in the session, as the user's code
    /// does; tracebacks show `name`.
    pub fn python_tools(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        self.modules.push(ModuleSource { name: name.into(), source: source.into() });
        self
    }

    /// Checks every cell before it runs. A guard rail, not a wall: see [`CodePolicy`].
    pub fn policy(mut self, policy: CodePolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Changes the limits that every run starts from, as in
    /// `.limits(|limits| limits.max_iterations(5).max_cost(0.5))`.
    pub fn limits(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        self.limits = change(self.limits);
        self
    }

    /// Sets how failed model calls are tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets when the earlier turns of a run are summarised: see [`Compaction`]. Default: as there, and never
    /// where the run follows the [profile](Self::profile) of another system.
    pub fn compaction(mut self, compaction: Compaction) -> Self {
        self.compaction = Some(compaction);
        self
    }

    /// Sets whether a generation ends once its cell is complete. Default: it does.
    ///
    /// What a model writes after its cell is dropped anyway, and a model that goes on makes up what the cell
    /// will print. Replies come as streams, and dropping one ends its generation, so the rest is neither
    /// waited for nor, by most providers, paid for. The provider does not say then what the call used: the
    /// record has what it said until then, or an estimate, and marks it
    /// ([`StoppedEarly`](crate::trajectory::StoppedEarly)).
    ///
    /// A reply comes to its end all the same where it could still change what runs, where the provider alone
    /// knows what a call costs, and the first time that a model replies: until then it is not known whether
    /// its text begins with thoughts.
    pub fn stop_early(mut self, stop: bool) -> Self {
        self.stop_early = stop;
        self
    }

    /// Sets what the module `random` begins with in every session, so that a run can be done again with the
    /// same random numbers; those of children are made from it. Numbers above 2^53 are cut to that. Default:
    /// a run that keeps its [trace](crate::Run::trace) has a seed of its own, made at random, so that its
    /// cells can run again when it is resumed or replayed; all others leave it to Python.
    ///
    /// `uuid4`, `secrets` and `os.urandom` are not seeded, and neither is the clock, unless the run is
    /// [`deterministic`](Self::deterministic). The order of sets is that of Python's hash seed, which the
    /// wasm backend fixes.
    pub fn seed(mut self, seed: impl Into<Option<u64>>) -> Self {
        self.seed = seed.into().map(|seed| seed & ((1 << 53) - 1));
        self
    }

    /// Sets whether all that sessions learn of the world is the same each time that a run is done again: its
    /// clocks, the random bytes of its system, the times of its files. They come of the seed and of the time
    /// at which the run began, which are in its record; clocks go on as [`Determinism`] says. Only backends
    /// that declare [`Capabilities::deterministic`] can do that, such as wasm. Default false.
    ///
    /// [`Determinism`]: crate::Determinism
    /// [`Capabilities::deterministic`]: crate::Capabilities::deterministic
    pub fn deterministic(mut self, on: bool) -> Self {
        self.deterministic = on;
        self
    }

    /// Sets which prompts and conventions a run follows: see [`Profile`].
    ///
    /// With them come the limits of the profile, before or after [`limits`](Self::limits): what was set to
    /// something else than its default stays.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.limits = self.limits.rebased(&self.profile.limits(), profile.limits());
        self.profile = profile;
        self
    }

    /// Sets whether the `tracing` spans of runs hold messages, code, arguments and results. Default: they do
    /// not, so that an exporter of spans sees numbers and names only.
    ///
    /// The spans have the names and fields of OpenTelemetry's GenAI conventions: `invoke_workflow` is a run,
    /// `invoke_agent` a child, `execute_tool` a cell (the tool `python`) or a call of a host function, `chat`
    /// one try of a model call.
    pub fn span_content(mut self, content: SpanContent) -> Self {
        self.span_content = content;
        self
    }

    /// Shows every event of every run to `sink`, as it happens.
    pub fn on_event(mut self, sink: impl EventSink + 'static) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Checks everything. [`build`](Self::build), beside `Rlm`, is all that is left to do.
    pub(super) fn into_config(self) -> Result<RlmConfig> {
        let signature = self.signature?;
        let missing =
            |what: &str, how: &str| Error::new(ErrorKind::Config, format!("no {what} was given: {how}"));
        let model = self.model.ok_or_else(|| missing("model", "call `.model(...)` on the builder"))?;
        let factory =
            self.factory.ok_or_else(|| missing("interpreter", "call `.interpreter(...)` on the builder"))?;
        let sub_model = self.sub_model.unwrap_or_else(|| model.clone());
        model.check().map_err(|error| error.context("model"))?;
        sub_model.check().map_err(|error| error.context("sub-model"))?;
        for (name, model) in &self.named_models {
            model.check().map_err(|error| error.context(format_args!("model {name:?}")))?;
        }
        self.limits.check()?;
        let compaction = self.compaction.unwrap_or_else(|| self.profile.compaction());
        compaction.check()?;
        let python_tools = functions_of(&self.modules)?;
        check_names(&signature, &self.tools, &python_tools)?;
        let scope = scope_of(&signature, &self.tools, &python_tools, self.modules);
        let config = RlmConfig {
            sub_model,
            named_models: self.named_models,
            signature,
            model,
            factory,
            tools: self.tools.into(),
            approver: self.approver,
            python_tools: python_tools.into(),
            scope: Arc::new(scope),
            policy: self.policy,
            limits: self.limits,
            retry: self.retry,
            compaction,
            stop_early: self.stop_early,
            seed: self.seed,
            deterministic: self.deterministic,
            profile: self.profile,
            plain_models: Arc::default(),
            span_content: self.span_content,
            sinks: self.sinks,
        };
        config.check_prices(&config.limits)?;
        if config.deterministic && !config.factory.capabilities().deterministic {
            let message = format!(
                "`deterministic` needs a backend that declares it, such as wasm, and `{}` does not",
                config.factory.name()
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(config)
    }
}

impl<S> fmt::Debug for RlmBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RlmBuilder")
            .field("signature", &self.signature)
            .field("model", &self.model)
            .field("interpreter", &self.factory)
            .field("tools", &self.tools)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn functions_of(modules: &[ModuleSource]) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for module in modules {
        let problem = |text: String| Error::new(ErrorKind::Config, format!("{}{text}", module.name));
        let public = public_functions(&module.source).map_err(|error| problem(format!(", {error}")))?;
        if public.is_empty() {
            return Err(problem(" defines no public function to use as a tool".to_owned()));
        }
        functions.extend(public);
    }
    Ok(functions)
}

/// Names have to be legal, and no two things of a session may have the same one.
fn check_names(signature: &TaskSignature, tools: &[Tool], python_tools: &[Function]) -> Result<()> {
    let mut taken: HashSet<&str> = HashSet::from(RESERVED_FUNCTIONS);
    for tool in tools {
        tool.check()?;
    }
    for function in python_tools {
        names::check_name(&function.name, NameUse::Tool)?;
    }
    for name in tool_names(tools, python_tools) {
        if !taken.insert(name) {
            let message = format!("two tools are called `{name}`: rename one of them");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    check_inputs(signature, tools, python_tools)
}

//! Tools: the user's functions that a cell can call.

mod binding;
#[doc(hidden)]
pub mod declared;
mod effect;
mod function;
mod limits;
mod parameters;

pub(crate) use self::limits::ToolUses;
pub use self::{
    effect::Effect,
    function::{Serialized, ToolFunction, ToolReturn},
};

use std::{
    collections::HashSet, fmt, future::Future, ops::Deref, panic::AssertUnwindSafe, pin::Pin, sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use indexmap::IndexMap;
use tokio::{runtime::Handle, time::timeout};

use self::{
    declared::{Arguments, ToolParameters},
    limits::ToolLimits,
    parameters::Parameters,
};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::{FunctionSpec, HostCall, HostError, ParameterSpec},
    names::{self, NameUse},
    signature::{DescribedType, FieldType},
    value::Value,
};

type Handler = Arc<
    dyn Fn(IndexMap<String, Value>) -> Pin<Box<dyn Future<Output = Result<Value, HostError>> + Send>>
        + Send
        + Sync,
>;

/// A user's function that a cell can call like any Python function.
///
/// The attribute [`tool`](macro@crate::tool) makes one of a function with real parameters. [`Tool::new`]
/// makes one of a closure, or of a function that is not one's own.
///
/// The function takes one struct, whose fields are the parameters, or nothing. The model reads their types in
/// Python's words (an enum is a `Literal`, a struct a dict with its keys), their defaults and their doc
/// comments.
///
/// ```
/// use abyme_core::Tool;
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Count {
///     /// Text to search
///     text: String,
///     needle: String,
///     #[serde(default)]
///     letters: Letters,
/// }
///
/// #[derive(Default, Deserialize, JsonSchema, serde::Serialize)]
/// #[serde(rename_all = "lowercase")]
/// enum Letters {
///     #[default]
///     Exact,
///     /// Large and small letters are the same
///     Folded,
/// }
///
/// fn count(Count { text, needle, letters }: Count) -> usize {
///     match letters {
///         Letters::Exact => text.matches(&needle).count(),
///         Letters::Folded => text.to_lowercase().matches(&needle.to_lowercase()).count(),
///     }
/// }
///
/// let tool = Tool::new("count", "Counts how often a needle occurs.", count).returns("int");
/// assert_eq!(
///     tool.spec().to_string(),
///     "count(text: str, needle: str, letters: Literal['exact', 'folded'] = 'exact') -> int"
/// );
/// assert_eq!(
///     tool.spec().description,
///     "Counts how often a needle occurs.\n\nArgs:\n    text: Text to search\n    \
///      letters = 'folded': Large and small letters are the same"
/// );
/// ```
///
/// | function | runs |
/// |---|---|
/// | `async`, `Fn(Args) -> impl Future` | on the run's own task: it must not block or compute for long |
/// | any other, `Fn(Args) -> R` | on a thread that may block: other calls and sub-calls go on meanwhile |
///
/// A function that was started on a thread runs to its end, also when the cell that called it was cut off.
///
/// It returns what [`ToolReturn`] lists: plain values as they are, or a `Result`. An error of any type that
/// can be shown (`anyhow::Error`, `String`, `Box<dyn Error>`, `std::io::Error`) raises `RuntimeError` with
/// its text in Python, a [`HostError`] raises the exception that it names, and a panic raises `RuntimeError`.
/// Arguments that do not fit raise `TypeError`.
///
/// A tool without a way to call it (its argument is a `String` or a `Vec`, which have no names for
/// parameters) is refused by [`RlmBuilder::build`](crate::RlmBuilder::build) and by
/// [`Session::tools`](crate::Session::tools).
#[derive(Clone)]
pub struct Tool {
    spec: FunctionSpec,
    handler: Handler,
    /// What `spec.description` is made of, with the limits.
    texts: Texts,
    limits: ToolLimits,
    /// Each once, in order.
    effects: Vec<Effect>,
    /// Why it cannot be called.
    problem: Option<String>,
}

/// What is said about a tool.
#[derive(Clone, Default)]
struct Texts {
    description: String,
    parameters: Vec<String>,
    result: Vec<String>,
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Tool {
    /// A tool over typed arguments, or none.
    pub fn new<M, F: ToolFunction<M>>(
        name: impl Into<String>,
        description: impl Into<String>,
        function: F,
    ) -> Self {
        let (parameters, problem) = match F::schema().map(|schema| Parameters::read(&schema)) {
            Some(Ok(parameters)) => (parameters, None),
            Some(Err(problem)) => (Parameters::default(), Some(problem)),
            None => (Parameters::default(), None),
        };
        let Parameters { specs, notes, unset, takes_none, .. } = parameters;
        let (function, unset): (_, Arc<[String]>) = (Arc::new(function), unset.into());
        let mut tool = Self::from_parts(name, description, specs, move |arguments| {
            let arguments = match takes_none {
                true => Value::None,
                false => Value::Dict(without_unset(arguments, &unset)),
            };
            function.clone().call(arguments)
        });
        tool.problem = problem;
        tool.noted(notes)
    }

    /// What the attribute `#[tool]` makes.
    #[doc(hidden)]
    pub fn declared<F, Fut>(
        name: &str,
        description: &str,
        parameters: ToolParameters,
        result: Option<DescribedType>,
        function: F,
    ) -> Self
    where
        F: Fn(Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HostError>> + Send + 'static,
    {
        let (parameters, problem) = match Parameters::read(&parameters.into_schema()) {
            Ok(parameters) => (parameters, None),
            Err(problem) => (Parameters::default(), Some(problem)),
        };
        let Parameters { specs, notes, unset, .. } = parameters;
        let mut tool = Self::from_parts(name, description, specs, move |arguments| {
            function(Arguments(without_unset(arguments, &unset)))
        });
        tool.problem = problem;
        if let Some(DescribedType { ty, notes, .. }) = result
            && ty != FieldType::Any
        {
            tool.spec.returns = Some(ty.to_string());
            tool.texts.result = notes;
        }
        tool.noted(notes)
    }

    /// A tool whose parameters are described by a JSON Schema of an object, over arguments by name.
    ///
    /// Arguments are brought to the types of the schema, as [`FieldType::coerce`] does it; what does not fit
    /// raises `TypeError`. Parameters that the schema does not require arrive as `None` unless the schema has
    /// a `default`.
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
        let read = match schema.is_object() {
            true => Parameters::read(schema).ok(),
            false => None,
        };
        let Some(Parameters { specs, notes, types, .. }) = read else {
            let message = format!(
                "the parameters of tool `{name}` need the JSON Schema of an object, \
                 such as {{\"type\": \"object\", \"properties\": {{\"text\": {{\"type\": \"string\"}}}}}}"
            );
            return Err(Error::new(ErrorKind::Config, message));
        };
        let (function, types) = (Arc::new(function), Arc::new(types));
        let tool = Self::from_parts(name, description, specs, move |arguments| {
            let (function, types) = (function.clone(), types.clone());
            async move { function(binding::typed(&types, arguments)?).await }
        });
        Ok(tool.noted(notes))
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
        let description = description.into();
        let mut spec = FunctionSpec::new(name, &description);
        spec.parameters = parameters;
        Self {
            spec,
            handler: Arc::new(move |arguments| Box::pin(function(arguments))),
            texts: Texts { description, ..Texts::default() },
            limits: ToolLimits::default(),
            effects: Vec::new(),
            problem: None,
        }
    }

    /// Sets the annotation of what the tool returns, as the model reads it.
    pub fn returns(mut self, annotation: impl Into<String>) -> Self {
        self.spec.returns = Some(annotation.into());
        self
    }

    /// Sets how long one call may take, in the time that it works. A call that takes longer raises
    /// `TimeoutError` in Python. (A function that is not async goes on to its end on its thread.) Default:
    /// no limit but that of the cell.
    ///
    /// The model reads of this limit and the two below in the tool's description.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limits.timeout = limit.into();
        self.documented()
    }

    /// Sets how many calls a run may make, those that fail included. Each run counts for itself. A call
    /// beyond it raises `RuntimeError` in Python. Default: no limit.
    pub fn max_calls(mut self, calls: impl Into<Option<u32>>) -> Self {
        self.limits.max_calls = calls.into();
        self.documented()
    }

    /// Sets how many calls of a run may work at the same time. Others wait, which does not count as the
    /// time of [`timeout`](Self::timeout). Default: no limit.
    pub fn max_concurrent_calls(mut self, calls: impl Into<Option<usize>>) -> Self {
        self.limits.max_concurrent_calls = calls.into();
        self.documented()
    }

    /// Says what a call does outside of its run; a tool may have several effects. Default: none.
    ///
    /// - Calls of a tool that writes or uses the network wait for approval, where a run has somebody who
    ///   gives it ([`RlmBuilder::approve_tools`](crate::RlmBuilder::approve_tools)).
    /// - A call of a tool that writes is never made twice without asking. The calls of all tools that ended
    ///   are answered from the record of a run that goes on ([`Rlm::resume`](crate::Rlm::resume)). One that
    ///   began, and of which the record does not say how it ended, is made again, unless its tool writes:
    ///   then the run does not go on before
    ///   [`Run::on_unfinished_effect`](crate::Run::on_unfinished_effect) says what to do.
    pub fn effect(mut self, effect: Effect) -> Self {
        if let Err(at) = self.effects.binary_search(&effect) {
            self.effects.insert(at, effect);
        }
        self
    }

    /// What its calls do outside of their run, as [`effect`](Self::effect) says it.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Whether a call changes something outside.
    pub(crate) fn writes(&self) -> bool {
        self.effects.contains(&Effect::Write)
    }

    /// How Python sees the tool.
    pub fn spec(&self) -> &FunctionSpec {
        &self.spec
    }

    /// The tool's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Calls the tool, within its time-out. A panic in it is an error of this call.
    ///
    /// # Errors
    /// What the tool's function answers; `ValueError` for a value with more than [`Value::MAX_LEVELS`]
    /// levels.
    pub async fn call(&self, arguments: IndexMap<String, Value>) -> Result<Value, HostError> {
        self.call_within(None, arguments).await
    }

    /// [`call`](Self::call), within this time too.
    pub(crate) async fn call_within(
        &self,
        limit: Option<Duration>,
        arguments: IndexMap<String, Value>,
    ) -> Result<Value, HostError> {
        let called = AssertUnwindSafe(async { (self.handler)(arguments).await }).catch_unwind();
        let called = match [self.limits.timeout, limit].into_iter().flatten().min() {
            Some(limit) if Handle::try_current().is_ok() => match timeout(limit, called).await {
                Ok(called) => called,
                Err(_) => {
                    let message = format!("`{}` took more than {} s", self.name(), limit.as_secs_f64());
                    return Err(HostError::new("TimeoutError", message));
                }
            },
            // Without tokio nothing can measure time.
            _ => called.await,
        };
        called
            .unwrap_or_else(|panic| {
                let reason = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no reason given".to_owned());
                Err(HostError::runtime_error(format!("tool `{}` panicked: {reason}", self.name())))
            })
            .and_then(|value| {
                if value.has_more_levels_than(Value::MAX_LEVELS) {
                    let (name, levels) = (self.name(), Value::MAX_LEVELS);
                    let message = format!("what `{name}` returned is nested more than {levels} levels deep");
                    return Err(HostError::new("ValueError", message));
                }
                Ok(value)
            })
    }

    /// The arguments of a call by name, with the defaults of those that it leaves out. What `*args` took
    /// comes under its name.
    ///
    /// # Errors
    /// `TypeError` for arguments that the tool does not take, and for those that it misses.
    pub(crate) fn arguments(&self, call: HostCall) -> Result<IndexMap<String, Value>, HostError> {
        binding::bound(self.name(), &self.spec.parameters, call)
    }

    /// Adds what is known of the parameters.
    fn noted(mut self, parameters: Vec<String>) -> Self {
        self.texts.parameters = parameters;
        self.documented()
    }

    /// Writes the description, as Python's docstrings have it.
    fn documented(mut self) -> Self {
        let Texts { description, parameters, result } = &self.texts;
        let section = |title: &str, notes: &[String]| {
            (!notes.is_empty()).then(|| format!("{title}:\n    {}", notes.join("\n    ")))
        };
        let has_more = !parameters.is_empty() || !result.is_empty() || self.limits.note().is_some();
        let parts = [
            Some(if has_more { description.trim().to_owned() } else { description.clone() }),
            section("Args", parameters),
            section("Returns", result),
            self.limits.note(),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        self.spec.description = parts.join("\n\n");
        self
    }

    /// Checks that it can be called, and the names of the tool and of its parameters.
    pub(crate) fn check(&self) -> Result<()> {
        names::check_name(self.name(), NameUse::Tool)?;
        if let Some(problem) = self.problem.as_deref().or(self.limits.problem()) {
            return Err(Error::new(ErrorKind::Config, format!("tool `{}`: {problem}", self.name())));
        }
        for parameter in &self.spec.parameters {
            names::check_identifier(&parameter.name)
                .map_err(|problem| Error::from(problem).context(format!("tool `{}`", self.name())))?;
        }
        Ok(())
    }
}

/// Checks each of these tools, and that all functions of a session have names of their own.
pub(crate) fn check_tools<'a>(tools: &'a [Tool], taken: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut taken: HashSet<&str> = taken.into_iter().collect();
    for tool in tools {
        tool.check()?;
        if !taken.insert(tool.name()) {
            let message = format!("two functions are called `{}`: rename one of them", tool.name());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

/// A function with the attribute `#[tool]`: it can be called as before, and given to
/// [`RlmBuilder::tool`](crate::RlmBuilder::tool).
///
/// `F` is the type of the function; an async function's is that of one that returns a boxed future.
#[derive(Clone, Copy)]
pub struct FnTool<F> {
    function: F,
    tool: fn() -> Tool,
}

impl<F> FnTool<F> {
    /// What the attribute makes.
    #[doc(hidden)]
    pub const fn new(function: F, tool: fn() -> Tool) -> Self {
        Self { function, tool }
    }

    /// The tool, to change it with its setters, as in `search.tool().max_calls(5)`.
    pub fn tool(&self) -> Tool {
        (self.tool)()
    }
}

impl<F> fmt::Debug for FnTool<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FnTool").field(&self.tool()).finish()
    }
}

/// Lets it be called like the function that it is.
impl<F> Deref for FnTool<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.function
    }
}

impl<F> From<FnTool<F>> for Tool {
    fn from(function: FnTool<F>) -> Tool {
        function.tool()
    }
}

/// What the tools of a new run have used: nothing.
pub(crate) fn unused(tools: &[Tool]) -> ToolUses {
    ToolUses::new(tools.iter().map(|tool| (tool.name(), &tool.limits)))
}

/// Leaves out the arguments that have no default of their own and were not given, so that `serde` takes its
/// own.
fn without_unset(arguments: IndexMap<String, Value>, unset: &[String]) -> IndexMap<String, Value> {
    arguments.into_iter().filter(|(name, value)| !value.is_none() || !unset.contains(name)).collect()
}

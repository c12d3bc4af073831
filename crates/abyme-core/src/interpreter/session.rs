//! The wrapper that enforces life cycle, names and policy once for every backend, and a plain REPL for a
//! person.

use std::{sync::Arc, time::Duration};

use abyme_python_syntax::{CodePolicy, Violation};
use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::{
    Capabilities, Cell, CodeInterpreter, HostCall, HostError, HostFunctions, NoHostFunctions, Observation,
    PythonError, Scope, Stage,
};
use crate::{
    error::{Error, ErrorKind, Result},
    names::{self, NameUse},
    runtime::HomeRuntime,
    tool::{self, Tool, ToolUses, check_tools},
    value::Value,
};

/// An interpreter with the contract's checks around it, and a plain REPL on top.
///
/// ```no_run
/// # async fn example(backend: impl abyme_core::InterpreterFactory) -> abyme_core::Result<()> {
/// use abyme_core::{InterpreterFactoryExt, Tool};
///
/// let shout = Tool::new("shout", "Writes a text in capitals.", |text: Shout| text.text.to_uppercase());
/// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Shout { text: String }
/// let mut repl = backend.session().await?.tools([shout])?;
/// repl.set_variable("context", "a very long text").await?;
/// repl.run_code("words = shout(context).split()").await?.check()?;
/// assert_eq!(repl.eval::<i64>("len(words)").await?, 4);
/// assert_eq!(repl.get::<Vec<String>>("words").await?[3], "TEXT");
///
/// let observation = repl.run_code("print(1 / 0)").await?;
/// assert!(observation.error.is_some(), "an exception is an observation, unless `check` makes an error of
/// it");
/// # Ok(()) }
/// ```
///
/// A session needs a tokio runtime, and belongs to the one that it was started on.
pub struct Session {
    inner: Box<dyn CodeInterpreter>,
    host: Arc<dyn HostFunctions>,
    policy: Option<Arc<CodePolicy>>,
    scope: Arc<Scope>,
    tools: Arc<[Tool]>,
    tool_uses: Arc<ToolUses>,
    timeout: Option<Duration>,
    max_output_chars: usize,
    submitted: bool,
    ended: Option<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("inner", &self.inner)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Wraps an interpreter.
    pub fn new(inner: Box<dyn CodeInterpreter>) -> Self {
        Self {
            inner,
            host: Arc::new(NoHostFunctions),
            policy: None,
            scope: Arc::default(),
            tools: Arc::default(),
            tool_uses: Arc::default(),
            timeout: Some(Cell::TIMEOUT),
            max_output_chars: Cell::MAX_OUTPUT_CHARS,
            submitted: false,
            ended: None,
        }
    }

    /// Checks every cell against `policy` before it runs.
    pub fn policy(mut self, policy: impl Into<Option<Arc<CodePolicy>>>) -> Self {
        self.set_policy(policy.into());
        self
    }

    pub(crate) fn set_policy(&mut self, policy: Option<Arc<CodePolicy>>) {
        self.policy = policy;
    }

    /// Serves the calls of [`run_code`](Self::run_code) through `host`, whose functions `scope` describes.
    /// Replaces the scope, so [`tools`](Self::tools) come after it.
    pub fn host(mut self, scope: impl Into<Arc<Scope>>, host: Arc<dyn HostFunctions>) -> Self {
        self.scope = scope.into();
        self.tools = Arc::default();
        self.host = host;
        self
    }

    /// Offers tools to the cells of [`run_code`](Self::run_code) and [`eval`](Self::eval), next to the host
    /// functions that there are.
    ///
    /// # Errors
    /// Those of a tool that cannot be called, or whose name is taken; see [`Tool`].
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Result<Self> {
        let tools: Vec<Tool> = self.tools.iter().cloned().chain(tools).collect();
        let host = self.scope.functions.iter().filter(|function| !is_named(&self.tools, &function.name));
        let mut scope = Scope { functions: host.cloned().collect(), ..(*self.scope).clone() };
        check_tools(&tools, scope.functions.iter().map(|function| function.name.as_str()))?;
        scope.functions.extend(tools.iter().map(|tool| tool.spec().clone()));
        self.scope = Arc::new(scope);
        self.tool_uses = Arc::new(tool::unused(&tools));
        self.tools = tools.into();
        Ok(self)
    }

    /// Sets the time limit of [`run_code`](Self::run_code). Default 120 s.
    pub fn cell_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }

    /// Sets the output cap of [`run_code`](Self::run_code). Default 10 000 characters.
    pub fn max_output_chars(mut self, chars: usize) -> Self {
        self.max_output_chars = chars;
        self
    }

    /// Runs a plain piece of Python in the session.
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::execute`]. A Python exception is in the observation; where it should be an
    /// error, call [`Observation::check`].
    pub async fn run_code(&mut self, code: impl Into<String>) -> Result<Observation> {
        let cell = self.cell(code);
        self.run(cell).await
    }

    /// The value of a Python expression. As at Python's prompt, it is kept in the variable `_`.
    ///
    /// # Errors
    /// [`ErrorKind::Python`] with what the expression raised, [`ErrorKind::OutputType`] if its value is not a
    /// `T`, and those of [`CodeInterpreter::execute`].
    pub async fn eval<T: DeserializeOwned>(&mut self, expression: &str) -> Result<T> {
        // The expression may end in a comment.
        let cell = self.cell(format!("_ = ({expression}\n)")).read("_");
        let mut observation = self.run(cell).await?.into_result()?;
        let value = observation.variables.shift_remove("_").unwrap_or_default();
        value.to().map_err(|error| error.context(format!("the value of `{expression}`")))
    }

    /// Runs a cell with this session's own host functions.
    async fn run(&mut self, cell: Cell) -> Result<Observation> {
        let (tools, tool_uses) = (self.tools.clone(), self.tool_uses.clone());
        let host = SessionHost { tools, tool_uses, host: self.host.clone() };
        self.execute(cell, &host).await
    }

    /// Runs a cell of Abyme's own. It has no host functions, and no policy, which is for the model's code.
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::execute`].
    pub(crate) async fn execute_own(&mut self, cell: Cell) -> Result<Observation> {
        self.execute_under(None, cell, &NoHostFunctions).await
    }

    async fn execute_under(
        &mut self,
        policy: Option<Arc<CodePolicy>>,
        mut cell: Cell,
        host: &dyn HostFunctions,
    ) -> Result<Observation> {
        self.check_alive()?;
        HomeRuntime::current()?;
        for (name, _) in &cell.variables {
            names::check_name(name, NameUse::Variable)?;
        }
        for name in &cell.reads {
            names::check_identifier(name)?;
        }
        let violation = policy.and_then(|policy| policy.check(&cell.code).err());
        if violation.is_some() {
            // The variables that came with it are set and read all the same.
            cell.code.clear();
        }
        let scope = cell.scope.clone();
        let offered = Offered { scope: &scope, host };
        let result = self.inner.execute(cell, &offered).await;
        let mut observation = self.note_end(result)?;
        if let Some(violation) = violation {
            observation.error = Some(blocked(&violation));
        }
        self.submitted |= observation.submission.is_some();
        if let Some(reason) = &observation.session_ended {
            self.ended = Some(reason.clone());
        }
        Ok(observation)
    }

    /// Sets a variable: any [`Value`], text of any size. It may hide a name of Python, such as `json`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the name is not a Python identifier or is one of the session's own.
    pub async fn set_variable(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Result<()> {
        let cell = self.cell("").variable(name, value);
        let observation = self.execute(cell, &NoHostFunctions).await?;
        match (observation.error, observation.session_ended, observation.restored) {
            (None, None, None) => Ok(()),
            (Some(error), ..) => Err(Error::new(ErrorKind::InvalidInput, error.to_string())),
            (None, Some(reason), _) => Err(Error::new(ErrorKind::SessionEnded, reason)),
            (None, None, Some(reason)) => Err(Error::new(ErrorKind::InvalidInput, reason)),
        }
    }

    /// Reads a variable as a Rust type.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if there is no variable of that name, [`ErrorKind::OutputType`] if it is
    /// not a `T`, and those of [`get_variable`](Self::get_variable).
    pub async fn get<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        match self.get_variable(name).await? {
            Some(value) => value.to().map_err(|error| error.context(format!("variable `{name}`"))),
            None => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the session has no variable `{name}`: no cell and no `set_variable` has set it"),
            )),
        }
    }

    /// Reads a variable; `None` if there is none of that name. Values outside JSON are converted as in C7.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that is not an identifier, and for a value that cannot be
    /// converted (it contains itself, or is nested too deep).
    pub async fn get_variable(&mut self, name: &str) -> Result<Option<Value>> {
        let cell = self.cell("").read(name);
        let mut observation = self.execute(cell, &NoHostFunctions).await?;
        if let Some(error) = observation.error {
            return Err(Error::new(ErrorKind::InvalidInput, error.to_string()).with("variable", name));
        }
        if let Some(reason) = observation.session_ended {
            return Err(Error::new(ErrorKind::SessionEnded, reason));
        }
        Ok(observation.variables.shift_remove(name))
    }

    /// A second session that continues from here independently, with the same policy, host functions, scope
    /// and limits; it has submitted if this one has. The host functions are the same object: what they count
    /// or keep, they count and keep for both.
    ///
    /// "Try three continuations and keep one", with [`fork_many`](Self::fork_many):
    ///
    /// ```
    /// use abyme_core::{CodeInterpreter, CodeInterpreterExt, Observation, testing::ScriptedInterpreter};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> abyme_core::Result<()> {
    /// // Any backend that declares `Capabilities::fork`.
    /// let interpreter = ScriptedInterpreter::from_fn(|_| Ok(Observation::default()));
    /// let mut repl = interpreter.start_session().await?;
    /// repl.run_code("rows = parse(context)").await?.check()?;
    ///
    /// let ideas = ["rows.sort()", "rows = rows[:10]", "rows.clear()"];
    /// for (fork, idea) in repl.fork_many(ideas.len()).await?.iter_mut().zip(ideas) {
    ///     let observation = fork.run_code(idea).await?;
    ///     println!("{idea}: {:?}", observation.error);
    /// }
    /// let rows = repl.run_code("rows").await?; // as they were
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::fork`].
    pub async fn fork(&mut self) -> Result<Session> {
        self.check_alive()?;
        if !self.capabilities().fork {
            return Err(self.capabilities().refuse("forked", "fork", false));
        }
        let result = self.inner.fork().await;
        let inner = self.note_end(result)?;
        Ok(Session {
            inner,
            host: self.host.clone(),
            policy: self.policy.clone(),
            scope: self.scope.clone(),
            tools: self.tools.clone(),
            tool_uses: Arc::new(tool::unused(&self.tools)),
            timeout: self.timeout,
            max_output_chars: self.max_output_chars,
            submitted: self.submitted,
            ended: None,
        })
    }

    /// Makes `count` forks. If one of them fails, those made before it are dropped.
    ///
    /// # Errors
    /// Those of [`fork`](Self::fork).
    pub async fn fork_many(&mut self, count: usize) -> Result<Vec<Session>> {
        let mut forks = Vec::new();
        for _ in 0..count {
            forks.push(self.fork().await?);
        }
        Ok(forks)
    }

    /// The state of the Python session as bytes, to go on from here later or elsewhere. The policy, the host
    /// functions, the limits and the submission are not in them: the restored session is wrapped anew.
    ///
    /// "Resume after a crash":
    ///
    /// ```
    /// use abyme_core::{CodeInterpreter, CodeInterpreterExt, InterpreterFactory, Observation};
    /// use abyme_core::testing::ScriptedInterpreter;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> abyme_core::Result<()> {
    /// // Any backend that declares `Capabilities::snapshot`.
    /// let factory = ScriptedInterpreter::from_fn(|_| Ok(Observation::default())).factory();
    /// let mut repl = factory.create().await?.into_session();
    /// repl.run_code("rows = an_hour_of_work(context)").await?.check()?;
    /// let saved = repl.snapshot().await?;
    ///
    /// // Later, or in another process:
    /// let mut repl = factory.restore(&saved).await?.into_session();
    /// let observation = repl.run_code("len(rows)").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::snapshot`].
    pub async fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.check_alive()?;
        if !self.capabilities().snapshot {
            return Err(self.capabilities().refuse("saved to bytes", "snapshot", false));
        }
        let result = self.inner.snapshot().await;
        self.note_end(result)
    }

    /// Whether a cell has submitted, by any of the four ways. What it submitted is in its observation.
    pub fn is_terminated(&self) -> bool {
        self.submitted
    }

    /// Why the session has ended, if it has.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    fn cell(&self, code: impl Into<String>) -> Cell {
        Cell::new(code)
            .scope(self.scope.clone())
            .timeout(self.timeout)
            .max_output_chars(self.max_output_chars)
    }

    fn check_alive(&self) -> Result<()> {
        match &self.ended {
            Some(reason) => {
                Err(Error::new(ErrorKind::SessionEnded, format!("the session has ended: {reason}")))
            }
            None => Ok(()),
        }
    }

    /// Remembers the end of the session, so that every later call gives the same reason.
    fn note_end<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.is_session_lost()
            && self.ended.is_none()
        {
            self.ended = Some(error.message().to_owned());
        }
        result
    }
}

fn is_named(tools: &[Tool], name: &str) -> bool {
    tools.iter().any(|tool| tool.name() == name)
}

/// The host functions of a session that is used by itself.
struct SessionHost {
    tools: Arc<[Tool]>,
    tool_uses: Arc<ToolUses>,
    host: Arc<dyn HostFunctions>,
}

#[async_trait]
impl HostFunctions for SessionHost {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        match self.tools.iter().find(|tool| tool.name() == call.name) {
            Some(tool) => {
                let arguments = tool.arguments(call)?;
                let _at_work = self.tool_uses.admit(tool.name()).await?;
                tool.call(arguments).await
            }
            None => self.host.call(call).await,
        }
    }

    fn stops_clock(&self, call: &HostCall) -> bool {
        self.tools.iter().all(|tool| tool.name() != call.name) && self.host.stops_clock(call)
    }
}

/// Passes on the calls of the functions that a cell was offered, and refuses all others: a cell may have kept
/// a function of an earlier one, or have forged the call (C12).
struct Offered<'a> {
    scope: &'a Scope,
    host: &'a dyn HostFunctions,
}

#[async_trait]
impl HostFunctions for Offered<'_> {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        match self.scope.functions.iter().any(|function| function.name == call.name) {
            true => self.host.call(call).await,
            false => {
                let message = format!("this cell is not offered a function {}", names::ticked(&call.name));
                Err(HostError::new("NameError", message))
            }
        }
    }

    fn stops_clock(&self, call: &HostCall) -> bool {
        self.host.stops_clock(call)
    }
}

/// What the model reads when a cell breaks the policy.
fn blocked(violation: &Violation) -> PythonError {
    let text = violation.to_string();
    let message = text.strip_prefix("Blocked: ").unwrap_or(&text).to_owned();
    PythonError::new("Blocked", message).stage(Stage::Policy).line(u32::try_from(violation.line).ok())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CodeInterpreter for Session {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        self.check_alive()?;
        HomeRuntime::current()?;
        let result = self.inner.start().await;
        self.note_end(result)
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.execute_under(self.policy.clone(), cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.ended.get_or_insert_with(|| "it was shut down".to_owned());
        self.inner.shutdown().await
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(Session::fork(self).await?))
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        Session::snapshot(self).await
    }
}

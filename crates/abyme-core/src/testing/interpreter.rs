//! An interpreter that answers from a script. It runs no Python.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::{
        Capabilities, Cell, CodeInterpreter, HostCall, HostFunctions, InterpreterFactory, Isolation,
        Observation,
    },
};

/// The whole of a snapshot: the script comes from the factory.
const SNAPSHOT: &[u8] = b"scripted session 1";

type CellScript = dyn Fn(&Cell) -> Result<Scripted> + Send + Sync;

/// What a scripted cell does: host calls to make, then what it produced.
#[derive(Debug, Default)]
struct Scripted {
    calls: Vec<HostCall>,
    observation: Observation,
}

/// An interpreter that answers every cell with what a closure makes of it, and remembers the cells. It runs
/// no Python, so that the loop can be tested without one.
///
/// It can be forked and saved to a snapshot: the closure is all that there is to copy, and forks share what
/// it keeps.
#[derive(Clone)]
pub struct ScriptedInterpreter {
    capabilities: Capabilities,
    answer: Arc<CellScript>,
    cells: Arc<Mutex<Vec<Cell>>>,
    ended: bool,
}

impl fmt::Debug for ScriptedInterpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedInterpreter").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl ScriptedInterpreter {
    /// Answers every cell with what the closure makes of it.
    pub fn from_fn(answer: impl Fn(&Cell) -> Result<Observation> + Send + Sync + 'static) -> Self {
        Self::build(move |cell| Ok(Scripted { calls: Vec::new(), observation: answer(cell)? }))
    }

    /// Makes the calls that the closure gives for a cell, all at the same time, then answers with an empty
    /// observation whose value is the list of their results.
    pub fn calling(calls: impl Fn(&Cell) -> Vec<HostCall> + Send + Sync + 'static) -> Self {
        Self::build(move |cell| Ok(Scripted { calls: calls(cell), observation: Observation::default() }))
    }

    fn build(answer: impl Fn(&Cell) -> Result<Scripted> + Send + Sync + 'static) -> Self {
        let mut capabilities = Capabilities::new(Isolation::None);
        (capabilities.fork, capabilities.snapshot) = (true, true);
        Self { capabilities, answer: Arc::new(answer), cells: Arc::default(), ended: false }
    }

    /// Sets the capabilities it declares. Default: no isolation, forks and snapshots.
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The cells that were executed so far, in all clones and sessions together.
    pub fn cells(&self) -> Vec<Cell> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A factory of sessions that follow this script.
    pub fn factory(&self) -> ScriptedFactory {
        ScriptedFactory { session: self.clone() }
    }
}

#[async_trait]
impl CodeInterpreter for ScriptedInterpreter {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        match self.ended {
            true => Err(Error::new(ErrorKind::SessionEnded, "the session has ended: it was shut down")),
            false => Ok(()),
        }
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        let scripted = (self.answer)(&cell);
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).push(cell);
        let Scripted { calls, mut observation } = scripted?;
        if !calls.is_empty() {
            let results = futures_util::future::join_all(calls.into_iter().map(|call| host.call(call))).await;
            let lines: Vec<String> = results
                .into_iter()
                .map(|result| result.map_or_else(|error| error.to_string(), |value| value.repr(10_000)))
                .collect();
            observation.value = Some(lines.join("\n").into());
        }
        Ok(observation)
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.ended = true;
        Ok(())
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        self.start().await?;
        Ok(Box::new(self.clone()))
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.start().await?;
        Ok(SNAPSHOT.to_vec())
    }
}

/// Makes sessions that follow a [`ScriptedInterpreter`]'s script.
#[derive(Clone, Debug)]
pub struct ScriptedFactory {
    session: ScriptedInterpreter,
}

#[async_trait]
impl InterpreterFactory for ScriptedFactory {
    fn name(&self) -> &str {
        "scripted"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.session.capabilities
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(self.session.clone()))
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        match snapshot == SNAPSHOT {
            true => self.create().await,
            false => Err(Error::new(
                ErrorKind::InvalidInput,
                "this is no snapshot of a scripted session, version 1",
            )),
        }
    }
}

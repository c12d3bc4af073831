//! Faults in copies of sessions: forks, and what is restored from bytes.

use std::sync::Arc;

use abyme::{
    Capabilities, Cell, CodeInterpreter, Error, ErrorKind, HostFunctions, InterpreterFactory,
    NoHostFunctions, Observation, Result, Scope, Wasm,
};
use abyme_conformance::{FactoryHarness, Harness};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::fails_in;

/// The themes in which a fault of a fork can show.
const FORKS: [&str; 2] = ["c01_lifecycle", "c16_forks"];
/// And one of a session that was restored.
const SNAPSHOTS: [&str; 2] = ["c01_lifecycle", "c16_snapshots"];

/// What is wrong with copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A fork is the original under another name.
    Shared,
    /// Files do not come along.
    NoFiles,
    /// A fork draws the random numbers that every fork draws.
    SameRandomness,
    /// Bytes that are damaged become an empty session.
    Tolerant,
}

type Session = Arc<Mutex<Box<dyn CodeInterpreter>>>;

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    capabilities: Capabilities,
    inner: Session,
    /// Of the last cell.
    scope: Arc<Scope>,
}

impl Faulty {
    fn new(fault: Fault, inner: Box<dyn CodeInterpreter>, scope: Arc<Scope>) -> Self {
        let capabilities = inner.capabilities().clone();
        Self { fault, capabilities, inner: Arc::new(Mutex::new(inner)), scope }
    }

    /// Waiting could be for ever: the original may be in a call that waits for its fork.
    fn lock(&self) -> Result<tokio::sync::MutexGuard<'_, Box<dyn CodeInterpreter>>> {
        self.inner.try_lock().map_err(|_| Error::new(ErrorKind::Internal, "the other one runs a cell"))
    }
}

#[async_trait]
impl CodeInterpreter for Faulty {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        self.lock()?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.scope = cell.scope.clone();
        self.lock()?.execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.lock()?.shutdown().await
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        if self.fault == Fault::Shared {
            self.lock()?.start().await?;
            let (capabilities, inner) = (self.capabilities.clone(), self.inner.clone());
            return Ok(Box::new(Self { fault: self.fault, capabilities, inner, scope: self.scope.clone() }));
        }
        let mut fork = self.lock()?.fork().await?;
        let code = match self.fault {
            Fault::NoFiles => "import os\nfor _ in os.listdir(): os.remove(_)",
            Fault::SameRandomness => "import random\nrandom.seed(5)",
            Fault::Shared | Fault::Tolerant => "",
        };
        if !code.is_empty() {
            let _ = fork.execute(Cell::new(code).scope(self.scope.clone()), &NoHostFunctions).await?;
        }
        Ok(Box::new(Self::new(self.fault, fork, self.scope.clone())))
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.lock()?.snapshot().await
    }
}

#[derive(Debug)]
struct FaultyFactory {
    fault: Fault,
    factory: Wasm,
}

#[async_trait]
impl InterpreterFactory for FaultyFactory {
    fn name(&self) -> &str {
        "faulty"
    }

    fn capabilities(&self) -> &Capabilities {
        self.factory.capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(Faulty::new(self.fault, self.factory.create().await?, Arc::default())))
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        let session = match self.factory.restore(snapshot).await {
            Err(_) if self.fault == Fault::Tolerant => self.factory.create().await?,
            restored => restored?,
        };
        Ok(Box::new(Faulty::new(self.fault, session, Arc::default())))
    }
}

fn faulty(fault: Fault) -> impl Harness {
    let factory = Wasm::new().max_sessions(50);
    FactoryHarness::new(FaultyFactory { fault, factory })
}

#[test]
fn a_fork_is_the_original() {
    let expected = [
        "c16_forks::a_fork_hands_long_inputs_back",
        "c16_forks::the_original_goes_on_alone",
        "c16_forks::the_fork_goes_on_alone",
        "c16_forks::forking_changes_nothing",
        "c16_forks::a_fork_can_be_forked",
        "c16_forks::an_unstarted_session_can_be_forked",
        "c16_forks::the_scope_comes_along",
        "c16_forks::both_run_side_by_side",
        "c16_forks::a_draft_comes_along",
        "c16_forks::files_come_along",
        "c16_forks::the_original_may_go_first",
        "c16_forks::a_fork_may_go_first",
        "c16_forks::ten_forks_do_not_mix",
    ];
    fails_in(&FORKS, faulty(Fault::Shared), &expected);
}

#[test]
fn files_are_left_behind() {
    fails_in(&FORKS, faulty(Fault::NoFiles), &["c16_forks::files_come_along"]);
}

#[test]
fn forks_draw_the_same() {
    fails_in(&FORKS, faulty(Fault::SameRandomness), &["c16_forks::randomness_is_not_copied"]);
}

#[test]
fn damaged_bytes_are_restored() {
    let expected = [
        "c16_snapshots::a_flipped_bit_is_refused",
        "c16_snapshots::a_wrong_length_is_refused",
        "c16_snapshots::bytes_may_come_little_by_little",
        "c16_snapshots::bytes_of_something_else_are_refused",
    ];
    fails_in(&SNAPSHOTS, faulty(Fault::Tolerant), &expected);
}

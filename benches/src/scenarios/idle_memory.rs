//! Scenarios `idle-memory` and `memory-after-10mb`. Private memory of a session that waits for its next cell,
//! after `x = 1`, or after 10 MB of ASCII text went in: the mean of many sessions that live at the same time
//! (wasm 1 000, pyo3 100, subprocess 20, docker 5; with the text fewer). It counts what the program's own
//! private memory grew by (`Private_Dirty` of `smaps_rollup`), and, where Python is a process of its own,
//! what that process says of itself. The text that the sessions got is in the program once and does not
//! count. Linux only.
//!
//! What a pyo3 session takes from the memory that earlier scenarios left free in the process does not show:
//! alone (`--filter idle-memory --backend pyo3`) it is up to twice as much.

use std::sync::Arc;

use abyme::{Cell, CodeInterpreter, InterpreterFactory, Isolation, Text, Wasm};
use async_trait::async_trait;

use super::{
    memory,
    work::{PreparedTrial, ascii, made, run, value, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// The scenario, without or with a text.
#[derive(Debug)]
pub(crate) struct IdleMemory {
    megabytes: u64,
}

impl IdleMemory {
    pub(crate) fn bare() -> Self {
        Self { megabytes: 0 }
    }

    pub(crate) fn after_10mb() -> Self {
        Self { megabytes: 10 }
    }
}

#[async_trait]
impl Scenario for IdleMemory {
    fn name(&self) -> &'static str {
        if self.megabytes == 0 { "idle-memory" } else { "memory-after-10mb" }
    }

    fn title(&self) -> &'static str {
        if self.megabytes == 0 {
            "private memory of an idle session"
        } else {
            "private memory of a session after 10 MB of input"
        }
    }

    fn workload(&self) -> &'static str {
        "private memory of a session that waits, the mean of many that live at once"
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "wasm" && self.megabytes == 0).then_some(Goal::Value(1e6))
    }

    fn samples(&self) -> usize {
        3
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        memory::private()?;
        let sessions = match (factory.name(), self.megabytes) {
            ("wasm", 0) => 1000,
            ("wasm", _) | ("pyo3", 0) => 100,
            ("subprocess" | "pyo3", _) => 20,
            _ => 5,
        };
        let text = (self.megabytes > 0).then(|| Text::from(ascii(self.megabytes)));
        made(Idle { factory: factory.clone(), sessions, text, kept: Vec::new() })
    }
}

struct Idle {
    factory: Arc<dyn InterpreterFactory>,
    sessions: u32,
    text: Option<Text>,
    /// Sessions of earlier samples, where their memory would only be used again.
    kept: Vec<Box<dyn CodeInterpreter>>,
}

#[async_trait]
impl Trial for Idle {
    async fn sample(&mut self) -> Result<f64, String> {
        let factory = fresh(&self.factory, self.sessions).await?;
        let before = memory::private()?;
        let mut sessions = Vec::new();
        for _ in 0..self.sessions {
            let mut session = factory.create().await.map_err(words)?;
            let mut cell = Cell::new("x = 1");
            if let Some(text) = &self.text {
                cell = cell.variable("text", text.clone());
            }
            let _ = run(&mut *session, cell).await?;
            sessions.push(session);
        }
        let mut total = memory::private()?.saturating_sub(before);
        let isolation = factory.capabilities().isolation;
        if matches!(isolation, Isolation::Process | Isolation::Container) {
            for session in &mut sessions {
                let kilobytes = value(&mut **session, Cell::new(memory::OWN_PRIVATE)).await?;
                let kilobytes = kilobytes.parse::<u64>().map_err(|_| format!("{kilobytes:?} is no size"))?;
                total += kilobytes << 10;
            }
        } else if isolation == Isolation::None {
            self.kept.append(&mut sessions);
        }
        Ok(total as f64 / f64::from(self.sessions))
    }
}

/// A wasm factory keeps the memory of sessions that ended, for the next ones; a new one begins with none.
async fn fresh(
    factory: &Arc<dyn InterpreterFactory>,
    sessions: u32,
) -> Result<Arc<dyn InterpreterFactory>, String> {
    if factory.name() != "wasm" {
        return Ok(factory.clone());
    }
    let factory = Wasm::new().max_sessions(sessions);
    factory.prepare().await.map_err(words)?;
    Ok(Arc::new(factory))
}

//! Scenario `cell`. One more cell in a session that has run some: `x = x + 1`, then `x` as the last
//! expression, with its full observation (streams, value, changed variables). A sample is the mean of a
//! hundred cells one after the other; every value is checked.
//!
//! Floors: a line to `cat` and back over bare pipes; a line to three lines of Python in a container and back,
//! over the attached connection.

use std::time::Instant;

use abyme::{Cell, CodeInterpreter};
use async_trait::async_trait;

use super::work::{PreparedTrial, check, made, of_peer, ready, run, seconds, value};
use crate::{
    floors::{container::RoundTrip, pipe::Pipe},
    goal::{Goal, SANDBOXED},
    scenario::Scenario,
    systems::System,
    trial::Trial,
    units::Unit,
};

const PIPE: &str = "bare pipe";
const ATTACHED: &str = "bare container's pipe";
const CELLS: u32 = 100;

/// The scenario.
#[derive(Debug)]
pub(crate) struct CellRoundTrip;

#[async_trait]
impl Scenario for CellRoundTrip {
    fn name(&self) -> &'static str {
        "cell"
    }

    fn title(&self) -> &'static str {
        "cell round trip"
    }

    fn workload(&self) -> &'static str {
        "one more cell in a session: `x = x + 1`, `x`, with its full observation (mean of 100)"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        match system {
            "wasm" => Some(Goal::Times(0.8, SANDBOXED)),
            "subprocess" => Some(Goal::Times(0.6, &["DSPy LocalInterpreter"])),
            "docker" => Some(Goal::Times(1.5, &[ATTACHED])),
            "pyo3" => Some(Goal::Times(1.5, &["rlms LocalREPL"])),
            _ => None,
        }
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![PIPE, ATTACHED]
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        match system {
            System::Backend(factory) => {
                let session = ready(&**factory).await?;
                made(Counting::in_session(session).await?)
            }
            System::Floor(PIPE) => made(Pipe::start()?),
            System::Floor(ATTACHED) => made(RoundTrip::prepare().await?),
            System::Peer(peer) => of_peer(peer, self.name(), at).await,
            System::Floor(_) | System::Loop => Ok(None),
        }
    }
}

/// Counts in a session, one cell after the other.
pub(super) struct Counting {
    session: Box<dyn CodeInterpreter>,
    cells: u32,
    x: u64,
}

impl Counting {
    /// Begins at 0, and runs some cells that are not timed.
    ///
    /// # Errors
    /// The session's.
    pub(super) async fn in_session(mut session: Box<dyn CodeInterpreter>) -> Result<Self, String> {
        let _ = run(&mut *session, Cell::new("x = 0")).await?;
        let mut trial = Self { session, cells: CELLS, x: 0 };
        trial.sample().await?;
        Ok(trial)
    }

    /// Sets how many cells a sample is the mean of.
    pub(super) fn cells(mut self, cells: u32) -> Self {
        self.cells = cells;
        self
    }
}

#[async_trait]
impl Trial for Counting {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        for _ in 0..self.cells {
            self.x += 1;
            let seen = value(&mut *self.session, Cell::new("x = x + 1\nx")).await?;
            check("x", seen, self.x.to_string())?;
        }
        Ok(seconds(started) / f64::from(self.cells))
    }
}

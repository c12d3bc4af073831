//! Scenario `fork`. A live session with 10 000 strings in a list and a function is copied, and the copy runs
//! its first cell, which calls the function on the list. For backends that can (wasm). The copy's end is not
//! timed.

use std::time::Instant;

use abyme::{Cell, CodeInterpreter};
use async_trait::async_trait;

use super::work::{PreparedTrial, check, made, ready, run, seconds, value, words};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// The scenario.
#[derive(Debug)]
pub(crate) struct Fork;

#[async_trait]
impl Scenario for Fork {
    fn name(&self) -> &'static str {
        "fork"
    }

    fn title(&self) -> &'static str {
        "fork of a live session to its first output"
    }

    fn workload(&self) -> &'static str {
        "a session with 10 000 strings and a function is copied, and the copy has run a cell on them"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "wasm").then_some(Goal::Value(5e-3))
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        if !factory.capabilities().fork {
            return Ok(None);
        }
        let mut session = ready(&**factory).await?;
        let code = "rows = [str(n) for n in range(10_000)]\ndef total(): return len(rows)\ntotal()";
        let _ = run(&mut *session, Cell::new(code)).await?;
        let mut trial = Forked { session };
        trial.sample().await?;
        made(trial)
    }
}

struct Forked {
    session: Box<dyn CodeInterpreter>,
}

#[async_trait]
impl Trial for Forked {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let mut fork = self.session.fork().await.map_err(words)?;
        let seen = value(&mut *fork, Cell::new("total()")).await?;
        let taken = seconds(started);
        check("the total", seen.as_str(), "10000")?;
        Ok(taken)
    }
}

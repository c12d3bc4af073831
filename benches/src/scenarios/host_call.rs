//! Scenario `host-call`. A thousand calls of a host function with a text of one letter, one after the other,
//! in one cell; the time of one is a thousandth. The cell itself is in it and does not weigh.
//!
//! Floor: a line to `cat` and back over bare pipes.

use std::{sync::Arc, time::Instant};

use abyme::{Cell, CodeInterpreter, Scope};
use async_trait::async_trait;

use super::work::{Echo, PreparedTrial, check, made, of_peer, ready, seconds, succeeded};
use crate::{
    floors::pipe::Pipe,
    goal::{Goal, SANDBOXED},
    scenario::Scenario,
    systems::System,
    trial::Trial,
    units::Unit,
};

const PIPE: &str = "bare pipe";

/// The scenario.
#[derive(Debug)]
pub(crate) struct HostCalls;

#[async_trait]
impl Scenario for HostCalls {
    fn name(&self) -> &'static str {
        "host-call"
    }

    fn title(&self) -> &'static str {
        "host call round trip"
    }

    fn workload(&self) -> &'static str {
        "a cell calls a host function 1 000 times, one after the other; the time of one"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        match system {
            "wasm" => Some(Goal::Times(0.02, SANDBOXED)),
            "subprocess" => Some(Goal::Times(0.15, &["DSPy LocalInterpreter"])),
            _ => None,
        }
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![PIPE]
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        match system {
            System::Backend(factory) => {
                let mut trial = Calling { session: ready(&**factory).await?, scope: Echo::scope() };
                trial.sample().await?;
                made(trial)
            }
            System::Floor(PIPE) => made(Pipe::start()?),
            System::Peer(peer) => of_peer(peer, self.name(), at).await,
            System::Floor(_) | System::Loop => Ok(None),
        }
    }
}

struct Calling {
    session: Box<dyn CodeInterpreter>,
    scope: Arc<Scope>,
}

#[async_trait]
impl Trial for Calling {
    async fn sample(&mut self) -> Result<f64, String> {
        let code = "count = 0\nfor _ in range(1000): count += echo('x') == 'x'\ncount";
        let cell = Cell::new(code).scope(self.scope.clone());
        let started = Instant::now();
        let observation = succeeded(self.session.execute(cell, &Echo).await)?;
        let taken = seconds(started);
        let count = observation.value.map(|value| value.to_string()).unwrap_or_default();
        check("the number of calls", count.as_str(), "1000")?;
        Ok(taken / 1000.0)
    }
}

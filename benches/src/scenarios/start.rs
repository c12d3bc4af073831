//! Scenario `start`. A session is made from nothing and runs `print(6 * 7)`; the clock stops when the output
//! is there. The session's end is not timed. Whatever is done once per process or machine (loading CPython,
//! finding the image) was done before.
//!
//! Floors: `python3 -I -c pass` from its start to its end; a bare container through the Docker API, from the
//! request to make it to its first line.

use std::{sync::Arc, time::Instant};

use abyme::{Cell, CodeInterpreter, InterpreterFactory};
use async_trait::async_trait;

use super::work::{PreparedTrial, check, made, of_peer, run, seconds, words};
use crate::{
    floors::{container::FirstLine, python::Pass},
    goal::{Goal, SANDBOXED},
    scenario::Scenario,
    systems::System,
    trial::Trial,
    units::Unit,
};

pub(super) const PYTHON: &str = "python3 -I -c pass";
const CONTAINER: &str = "bare container";

/// The scenario.
#[derive(Debug)]
pub(crate) struct Start;

#[async_trait]
impl Scenario for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn title(&self) -> &'static str {
        "fresh session to first output"
    }

    fn workload(&self) -> &'static str {
        "a session is made, runs `print(6 * 7)`, and the output is there; its end is not timed"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        match system {
            "wasm" => Some(Goal::Times(0.5, SANDBOXED)),
            "subprocess" => Some(Goal::Times(1.5, &[PYTHON])),
            "docker" => Some(Goal::Times(1.1, &[CONTAINER])),
            _ => None,
        }
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![PYTHON, CONTAINER]
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        match system {
            System::Backend(factory) => {
                let mut trial = StartTrial { factory: factory.clone() };
                trial.sample().await?;
                made(trial)
            }
            System::Floor(PYTHON) => made(Pass::find()?),
            System::Floor(CONTAINER) => made(FirstLine::prepare().await?),
            System::Peer(peer) => of_peer(peer, self.name(), at).await,
            System::Floor(_) | System::Loop => Ok(None),
        }
    }
}

struct StartTrial {
    factory: Arc<dyn InterpreterFactory>,
}

#[async_trait]
impl Trial for StartTrial {
    async fn sample(&mut self) -> Result<f64, String> {
        let (taken, session) = first_output(&*self.factory).await?;
        drop(session);
        Ok(taken)
    }
}

/// The time until a session that a factory makes has printed, and the session.
///
/// # Errors
/// The session does not start, or prints something else.
pub(super) async fn first_output(
    factory: &dyn InterpreterFactory,
) -> Result<(f64, Box<dyn CodeInterpreter>), String> {
    let started = Instant::now();
    let mut session = factory.create().await.map_err(words)?;
    let observation = run(&mut *session, Cell::new("print(6 * 7)")).await?;
    let taken = seconds(started);
    check("the output", observation.stdout.to_string().as_str(), "42\n")?;
    Ok((taken, session))
}

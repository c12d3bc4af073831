//! Scenario `pool-start`. A pool keeps four sessions ready. One is taken and runs `print(6 * 7)`; the clock
//! stops when the output is there. The pool is full before each sample, and begins to fill up again while the
//! sample is taken, as it does in a program. The session's end is not timed.
//!
//! Floor: `python3 -I -c pass`, which starts afresh.

use std::time::Duration;

use abyme::{Pool, PoolConfig};
use async_trait::async_trait;

use super::{
    start::{PYTHON, first_output},
    work::{PreparedTrial, made, of_peer, words},
};
use crate::{
    floors::python::Pass,
    goal::{Goal, SANDBOXED},
    scenario::Scenario,
    systems::System,
    trial::Trial,
    units::Unit,
};

const SIZE: usize = 4;

/// The scenario.
#[derive(Debug)]
pub(crate) struct PoolStart;

#[async_trait]
impl Scenario for PoolStart {
    fn name(&self) -> &'static str {
        "pool-start"
    }

    fn title(&self) -> &'static str {
        "first output of a session from a filled pool"
    }

    fn workload(&self) -> &'static str {
        "a session is taken from a full pool of four, runs `print(6 * 7)`, and the output is there"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        match system {
            "wasm" => Some(Goal::Times(0.5, SANDBOXED)),
            "subprocess" => Some(Goal::Times(0.1, &[PYTHON])),
            "docker" => Some(Goal::Times(0.3, &[PYTHON])),
            _ => None,
        }
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![PYTHON]
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let factory = match system {
            System::Backend(factory) => factory,
            System::Peer(peer) => return of_peer(peer, self.name(), at).await,
            System::Floor(PYTHON) => return made(Pass::find()?),
            System::Floor(_) | System::Loop => return Ok(None),
        };
        let mut trial = PoolTrial { pool: Pool::new(factory.clone(), PoolConfig::default().size(SIZE)) };
        trial.sample().await?;
        made(trial)
    }
}

struct PoolTrial {
    pool: Pool,
}

#[async_trait]
impl Trial for PoolTrial {
    async fn sample(&mut self) -> Result<f64, String> {
        self.pool.fill().await.map_err(words)?;
        // `fill` returns while sessions are still being started.
        while self.pool.ready() < SIZE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (taken, session) = first_output(&self.pool).await?;
        drop(session);
        Ok(taken)
    }
}

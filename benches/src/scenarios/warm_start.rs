//! Scenario `warm-start`. A pool keeps four sessions ready. One is taken and runs `print(6 * 7)`; the clock stops
//! when the output is there. The pool is full before each sample, and begins to fill up again while the sample is
//! taken, as it does in a program. The session's end is not timed.

use std::time::Duration;

use abyme::{Pool, PoolConfig};
use async_trait::async_trait;

use super::{
    start::first_output,
    work::{Made, made, words},
};
use crate::scenario::{Scenario, Subject, Trial, Unit};

const SIZE: usize = 4;

/// The scenario.
#[derive(Debug)]
pub(crate) struct WarmStart;

#[async_trait]
impl Scenario for WarmStart {
    fn name(&self) -> &'static str {
        "warm-start"
    }

    fn title(&self) -> &'static str {
        "first output of a session from a warm pool"
    }

    fn workload(&self) -> &'static str {
        "a session is taken from a full pool of four, runs `print(6 * 7)`, and the output is there"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, subject: &str, _at: Option<u64>) -> Option<f64> {
        match subject {
            "subprocess" => Some(2e-3),
            "docker" => Some(10e-3),
            _ => None,
        }
    }

    async fn prepare(&self, subject: &Subject, _at: Option<u64>) -> Made {
        let Subject::Backend(factory) = subject else { return Ok(None) };
        let mut trial = Warm { pool: Pool::new(factory.clone(), PoolConfig::default().size(SIZE)) };
        trial.sample().await?;
        made(trial)
    }
}

struct Warm {
    pool: Pool,
}

#[async_trait]
impl Trial for Warm {
    async fn sample(&mut self) -> Result<f64, String> {
        self.pool.warm().await.map_err(words)?;
        // One that is being started counts as warm already.
        while self.pool.ready() < SIZE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (taken, session) = first_output(&self.pool).await?;
        drop(session);
        Ok(taken)
    }
}

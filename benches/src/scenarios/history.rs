//! Scenario `history`. How the loop's own cost of a turn grows with the turns before it: from the reply that
//! follows so many turns to the next request, without model and Python. Each earlier turn has a cell of 130
//! characters and an output of 2 000. A sample is the mean of twenty runs; only their last turn but one is
//! timed.

use async_trait::async_trait;

use super::{
    loop_overhead::Bare,
    work::{PreparedTrial, made},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const RUNS: u32 = 20;

/// The scenario.
#[derive(Debug)]
pub(crate) struct History;

#[async_trait]
impl Scenario for History {
    fn name(&self) -> &'static str {
        "history"
    }

    fn title(&self) -> &'static str {
        "the loop's own cost of a turn, after other turns"
    }

    fn workload(&self) -> &'static str {
        "from a model's reply to the next request, with so many turns before it"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("turns before", vec![1, 10, 40]))
    }

    fn goal(&self, _subject: &str, _at: Option<u64>) -> Option<Goal> {
        Some(Goal::Value(0.1e-3))
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Loop = system else { return Ok(None) };
        let before = usize::try_from(at.unwrap_or(1)).unwrap_or(1);
        // The turn itself, and one that submits.
        let mut trial = Late { bare: Bare::new(before + 2, 2000)?, before };
        trial.sample().await?;
        made(trial)
    }
}

struct Late {
    bare: Bare,
    before: usize,
}

#[async_trait]
impl Trial for Late {
    async fn sample(&mut self) -> Result<f64, String> {
        let mut total = 0.0;
        for _ in 0..RUNS {
            let stamps = self.bare.run().await?;
            total += (stamps[self.before + 1].asked - stamps[self.before].answered).as_secs_f64();
        }
        Ok(total / f64::from(RUNS))
    }
}

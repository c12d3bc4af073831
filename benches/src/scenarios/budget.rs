//! Scenario `budget`. What the bookkeeping of a sub-call costs: its reservation and its settlement in a
//! budget with every limit, two levels below the root of a tree. No model and no Python take part.

use std::time::Instant;

use abyme::testing::book_sub_calls;
use async_trait::async_trait;

use super::{
    planner::Planner,
    work::{PreparedTrial, made, seconds},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const CALLS: u32 = 100_000;

/// The scenario.
#[derive(Debug)]
pub(crate) struct Bookkeeping;

#[async_trait]
impl Scenario for Bookkeeping {
    fn name(&self) -> &'static str {
        "budget"
    }

    fn title(&self) -> &'static str {
        "bookkeeping of a sub-call"
    }

    fn workload(&self) -> &'static str {
        "a sub-call is reserved and settled in a budget with every limit, two levels below the root"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "loop").then_some(Goal::Value(2e-6))
    }

    fn samples(&self) -> usize {
        10
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        match system {
            System::Loop => made(Booked(Planner::new(["pass"]))),
            _ => Ok(None),
        }
    }
}

struct Booked(Planner);

#[async_trait]
impl Trial for Booked {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        book_sub_calls(&self.0, CALLS);
        Ok(seconds(started) / f64::from(CALLS))
    }
}

//! Scenario `cell-beside`. What a cell costs in a session with a variable of so many megabytes, which its own
//! cells made: the cell and the check are those of `cell`. A sample is the mean of a thousand cells one after
//! the other, so that it has what a backend does only now and then, such as keeping a state to come back to.
//! What the variable is made with, and the first thousand cells, are not timed.

use abyme::Cell;
use async_trait::async_trait;

use super::{
    cell::Counting,
    work::{PreparedTrial, is_ours, made, ready, run},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, units::Unit};

const CELLS: u32 = 1000;

/// The scenario.
#[derive(Debug)]
pub(crate) struct CellBeside;

#[async_trait]
impl Scenario for CellBeside {
    fn name(&self) -> &'static str {
        "cell-beside"
    }

    fn title(&self) -> &'static str {
        "cell round trip beside a large variable"
    }

    fn workload(&self) -> &'static str {
        "one more cell, `x = x + 1`, `x`, in a session whose cells made so many megabytes (mean of 1 000)"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("megabytes", vec![0, 1000]))
    }

    fn goal(&self, system: &str, at: Option<u64>) -> Option<Goal> {
        (is_ours(system) && at > Some(0)).then_some(Goal::TimesFirst(1.1))
    }

    fn samples(&self) -> usize {
        5
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let mut session = ready(&**factory).await?;
        let _ = run(&mut *session, Cell::new("made = []")).await?;
        // A cell for each ten megabytes: no two of its ten thousand texts are the same.
        for tens in 0..at.unwrap_or_default() / 10 {
            let code =
                format!("made.append([f'{{n:07}}' * 143 for n in range({tens}0_000, {tens}0_000 + 10_000)])");
            let _ = run(&mut *session, Cell::new(code)).await?;
        }
        made(Counting::in_session(session).await?.cells(CELLS))
    }
}

//! Scenario `variables`. What a cell costs in a session that has so many variables: the cell and the check
//! are those of `cell`. A third of the variables are numbers, a third texts, a third lists of three. The
//! goal is linear growth at most; a cell has to find out which variables it changed.

use abyme::Cell;
use async_trait::async_trait;

use super::{
    cell::Counting,
    work::{PreparedTrial, made, ready, run},
};
use crate::{scenario::Scenario, systems::System, units::Unit};

/// The scenario.
#[derive(Debug)]
pub(crate) struct Variables;

#[async_trait]
impl Scenario for Variables {
    fn name(&self) -> &'static str {
        "variables"
    }

    fn title(&self) -> &'static str {
        "cell round trip among many variables"
    }

    fn workload(&self) -> &'static str {
        "one more cell, `x = x + 1`, `x`, in a session with so many variables (mean of 100)"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("variables", vec![10, 1000, 10_000]))
    }

    fn samples(&self) -> usize {
        10
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let mut session = ready(&**factory).await?;
        let fill = format!(
            "for n in range({}): globals()[f'v{{n}}'] = (n, str(n), [n, n, n])[n % 3]",
            at.unwrap_or(10)
        );
        let _ = run(&mut *session, Cell::new(fill)).await?;
        made(Counting::in_session(session).await?)
    }
}

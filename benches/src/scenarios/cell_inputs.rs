//! Scenario `cell-inputs`. What a cell costs in a session that holds an input of so many megabytes: the cell
//! and the check are those of `cell`. The input went in once, before; it should cost nothing any more.

use abyme::{Cell, Text};
use async_trait::async_trait;

use super::{
    cell::Counting,
    work::{PreparedTrial, SharedText, ascii, is_ours, made, ready, run},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, units::Unit};

/// The scenario.
#[derive(Debug, Default)]
pub(crate) struct CellInputs {
    text: SharedText,
}

#[async_trait]
impl Scenario for CellInputs {
    fn name(&self) -> &'static str {
        "cell-inputs"
    }

    fn title(&self) -> &'static str {
        "cell round trip beside a large input"
    }

    fn workload(&self) -> &'static str {
        "one more cell, `x = x + 1`, `x`, in a session that holds an input of that size (mean of 100)"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("megabytes", vec![0, 10, 100]))
    }

    fn goal(&self, system: &str, at: Option<u64>) -> Option<Goal> {
        (is_ours(system) && at > Some(0)).then_some(Goal::TimesFirst(1.1))
    }

    fn samples(&self) -> usize {
        10
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let megabytes = at.unwrap_or_default();
        let text = self.text.get(megabytes, || ascii(megabytes));
        let mut session = ready(&**factory).await?;
        let _ = run(&mut *session, Cell::new("").variable("context", Text::clone(&text))).await?;
        made(Counting::in_session(session).await?)
    }
}

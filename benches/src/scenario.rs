//! What a scenario is: one piece of work that several systems do, and how long or how large that is.

use std::time::Duration;

use async_trait::async_trait;

use crate::{goal::Goal, systems::System, trial::Trial, units::Unit};

/// One piece of work, in a file of its own under `scenarios/`, which says on top what it is.
#[async_trait]
pub(crate) trait Scenario: Send + Sync {
    /// As `--filter` finds it: `cell`, `text-in`.
    fn name(&self) -> &'static str;

    /// For a table's head: "cell round trip".
    fn title(&self) -> &'static str;

    /// What is timed, in a sentence.
    fn workload(&self) -> &'static str;

    fn unit(&self) -> Unit;

    /// What is varied, and its values: ("megabytes", [1, 10, 100]). None: one point.
    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        None
    }

    /// What DESIGN.md section 9 and the issue ask of a system at a point. Asked when the samples were
    /// taken.
    fn goal(&self, system: &str, at: Option<u64>) -> Option<Goal> {
        let _ = (system, at);
        None
    }

    /// Samples of each system in a full run; a quick one takes one. They are taken in turns with the other
    /// systems.
    fn samples(&self) -> usize {
        30
    }

    /// The floors of this scenario.
    fn floors(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Makes everything ready, with the rounds that are not counted. `None`: this system has no part in the
    /// scenario, and gets no row.
    ///
    /// # Errors
    /// Why it cannot take part here; its row says so. For one of our backends that is a failure of the run,
    /// and `None` what to answer where it is known to have no part; peers and floors have limits of their
    /// own.
    async fn prepare(&self, system: &System, at: Option<u64>) -> Result<Option<Box<dyn Trial>>, String>;

    /// How long one sample may take before the system has failed.
    fn limit(&self) -> Duration {
        Duration::from_secs(120)
    }
}

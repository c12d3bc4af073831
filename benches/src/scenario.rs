//! What a scenario is: one piece of work that several subjects do, and how long or how large that is.

use std::{sync::Arc, time::Duration};

use abyme::InterpreterFactory;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Who does the work.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// One of our backends.
    Backend(Arc<dyn InterpreterFactory>),
    /// Abyme without any Python: the loop itself.
    Loop,
    /// The least that the work can cost here, such as a bare pipe: not a system anybody would use.
    Floor(&'static str),
    /// Another system, through its public interface.
    Peer(crate::peers::Peer),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Seconds; fewer are better.
    Seconds,
    /// Bytes; fewer are better.
    Bytes,
    /// Pieces of work in a second; more are better.
    PerSecond,
    /// A part of a whole, 0 to 1; more is better.
    Share,
}

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

    /// What DESIGN.md section 9 and the issue ask of a subject at a point, in the unit. Asked when the samples were taken.
    fn goal(&self, subject: &str, at: Option<u64>) -> Option<f64> {
        let _ = (subject, at);
        None
    }

    /// Samples of each subject in a full run; a quick one takes one. They are taken in turns with the other subjects.
    fn samples(&self) -> usize {
        30
    }

    /// The floors of this scenario.
    fn floors(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Makes everything ready, warm-up included. `None`: this subject has no part in the scenario, and gets no row.
    ///
    /// # Errors
    /// Why it cannot take part here; its row says so. For one of our backends that is a failure of the run, and `None` what
    /// to answer where it is known to have no part; peers and floors have limits of their own.
    async fn prepare(&self, subject: &Subject, at: Option<u64>) -> Result<Option<Box<dyn Trial>>, String>;

    /// How long one sample may take before the subject has failed.
    fn limit(&self) -> Duration {
        Duration::from_secs(120)
    }
}

/// A subject that is ready.
#[async_trait]
pub(crate) trait Trial: Send {
    /// Does the work once, checks that it was done, and answers what is measured, in the scenario's unit.
    ///
    /// # Errors
    /// What went wrong; the subject takes no further part in this scenario.
    async fn sample(&mut self) -> Result<f64, String>;
}

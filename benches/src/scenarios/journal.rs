//! Scenario `journal`. What an event costs that is written to the file of a trajectory, without `fsync`: it
//! is made a line with its checksum, its long texts are looked up, and one write hands it to the system.

use std::{sync::Arc, time::Instant};

use abyme::{EventSink, Fsync, Record, Trajectory, TrajectoryWriterConfig};
use async_trait::async_trait;

use super::work::{PreparedTrial, made, seconds};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const EVENTS: usize = 10_000;
/// A run with a tool and a long input, of every kind of event that a turn has.
const RUN: &str = include_str!("../../../crates/abyme-core/tests/trajectory/run.jsonl");

/// The scenario.
#[derive(Debug)]
pub(crate) struct Journal;

#[async_trait]
impl Scenario for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn title(&self) -> &'static str {
        "an event in the file of a trajectory"
    }

    fn workload(&self) -> &'static str {
        "10 000 events are written to a trajectory, each as it happens, without fsync"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "loop").then_some(Goal::Value(30e-6))
    }

    fn samples(&self) -> usize {
        10
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        match system {
            System::Loop => {
                let run = Trajectory::from_jsonl(RUN).map_err(|error| error.to_string())?;
                made(Written(run.records().cloned().map(Arc::new).collect()))
            }
            _ => Ok(None),
        }
    }
}

struct Written(Vec<Arc<Record>>);

#[async_trait]
impl Trial for Written {
    async fn sample(&mut self) -> Result<f64, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("run.jsonl");
        let writer = TrajectoryWriterConfig::default().fsync(Fsync::Never).create(&path);
        let writer = writer.map_err(|error| error.to_string())?;
        let started = Instant::now();
        self.0.iter().cycle().take(EVENTS).for_each(|record| writer.record(record));
        writer.flush().await;
        let took = seconds(started);
        let read = Trajectory::load(&path).map_err(|error| error.to_string())?;
        match read.records().count() {
            EVENTS => Ok(took / EVENTS as f64),
            events => Err(format!("the file has {events} events: {:?}", writer.failure())),
        }
    }
}

//! The complete record of a run: one event per line of JSON, enough to view, replay and resume it.

mod event;
mod recorder;
mod turn;
mod writer;

pub(crate) use self::recorder::Recorder;
pub use self::{
    event::{Event, EventSink, InputSummary, Outcome, Purpose, Record},
    turn::Turn,
    writer::TrajectoryWriter,
};

use std::{path::Path, sync::Arc};

use crate::{Error, ErrorKind, Result};

/// The complete record of a run.
///
/// ```no_run
/// # fn example(prediction: abyme_core::Prediction) -> abyme_core::Result<()> {
/// for turn in prediction.trajectory().turns() {
///     println!("{turn}");
/// }
/// prediction.trajectory().save("run.jsonl")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trajectory {
    records: Vec<Arc<Record>>,
}

impl Trajectory {
    /// The events with their times, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().map(|record| &**record)
    }

    /// The events, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.records().map(|record| &record.event)
    }

    /// The run turn by turn: what the model thought, the cell it wrote, and what it produced.
    pub fn turns(&self) -> Vec<Turn> {
        turn::turns(self.events())
    }

    /// The record as JSON Lines.
    pub fn to_jsonl(&self) -> String {
        self.records().map(|record| record.to_line()).collect()
    }

    /// Reads a record back from JSON Lines. Empty lines are skipped, and so is a last line without an end, which a
    /// crash leaves behind.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with the number of the line that is not an event.
    pub fn from_jsonl(text: &str) -> Result<Self> {
        let mut records = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let complete = line.ends_with('\n');
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str(line) {
                Ok(record) => records.push(Arc::new(record)),
                Err(_) if !complete => break,
                Err(error) => {
                    let message = format!("line {} of the trajectory is not an event: {error}", index + 1);
                    return Err(Error::new(ErrorKind::InvalidInput, message).with_source(error));
                }
            }
        }
        Ok(Self { records })
    }

    /// Writes the record to a file as JSON Lines.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.to_jsonl()).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot write the trajectory to {}: {error}", path.display()))
                .with_source(error)
        })
    }

    /// Reads a record from a file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path, or those of [`from_jsonl`](Self::from_jsonl).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot read the trajectory {}: {error}", path.display()))
                .with_source(error)
        })?;
        Self::from_jsonl(&text)
    }
}

//! The complete record of a run: one event per line of JSON, enough to view, replay and resume it.

#[cfg(test)]
mod contract;
mod event;
mod file;
mod format;
mod ledger;
mod turn;
mod writer;

pub use self::{
    event::{
        CallOutcome, CallRef, Difference, Event, EventSink, ForkOrigin, ParentCall, Purpose, Record,
        ReplyPart, StoppedEarly,
    },
    ledger::{EntryKind, Ledger, LedgerEntry, StoppedReplies},
    turn::Turn,
    writer::{Fsync, TrajectoryWriter, TrajectoryWriterConfig},
};

use std::{
    collections::HashSet,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_util::future::join_all;

use self::format::{Decoded, Encoder, decode};
use crate::{
    error::{Error, Result},
    model::Usage,
};

/// The complete record of a run, its children included.
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
    /// The events with their times, in order, those of children among them.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().map(|record| &**record)
    }

    /// The events, in order, those of children among them.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.records().map(|record| &record.event)
    }

    /// The id of the run; empty where nothing was recorded.
    pub fn run(&self) -> &str {
        self.records.first().map_or("", |record| &record.run)
    }

    /// The events of this run alone, in order.
    fn own_events(&self) -> impl Iterator<Item = &Event> {
        self.records().filter(|record| record.run == self.run()).map(|record| &record.event)
    }

    /// The records of the children that this run started, in the order in which it did; each holds those of
    /// its own children.
    pub fn children(&self) -> Vec<Trajectory> {
        let started = self.own_events().filter_map(|event| match event {
            Event::ChildStarted { child, .. } => Some(child.as_str()),
            _ => None,
        });
        started.map(|child| self.of(child)).collect()
    }

    /// The records of a child and of those below it.
    fn of(&self, child: &str) -> Trajectory {
        let mut below = HashSet::from([child]);
        let records = self.records.iter().filter(|record| {
            let is_below = below.contains(record.run.as_str());
            if let (true, Event::ChildStarted { child, .. }) = (is_below, &record.event) {
                below.insert(child);
            }
            is_below
        });
        Trajectory { records: records.cloned().collect() }
    }

    /// What the run and its children used, failed and cancelled calls included, once it has ended.
    pub fn usage(&self) -> Option<&Usage> {
        self.own_events().find_map(|event| match event {
            Event::RunFinished { usage, .. } | Event::RunFailed { usage, .. } => Some(usage),
            _ => None,
        })
    }

    /// The run turn by turn: what the model thought, the cell it wrote, and what it produced.
    pub fn turns(&self) -> Vec<Turn> {
        turn::turns(self.own_events())
    }

    /// What each call and cell of the run and its children used, and the sums of it.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(self.records())
    }

    /// The record as a file holds it: JSON Lines, in the format of `TRAJECTORY.md`.
    pub fn to_jsonl(&self) -> String {
        let (mut encoder, mut text) = Encoder::new();
        self.records().for_each(|record| text.push_str(&encoder.encode(record)));
        text
    }

    /// Reads a record from what a file holds. A last line without an end, which a crash leaves behind, is left
    /// out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is no trajectory, or one of a newer
    /// version of the format; and with the number of the line that is not as it was written, that refers to a
    /// text that is missing, or that is no event that this version of Abyme knows.
    pub fn from_jsonl(text: &str) -> Result<Self> {
        decode(text.as_bytes()).map(|Decoded { records, .. }| Self { records })
    }

    /// Writes the record to a file, as [`TrajectoryWriter::create`] does.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) with the path, also if a run that has not ended writes the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let written = file::create(path)?.write_all(self.to_jsonl().as_bytes());
        written.map_err(|error| file::cannot_write(path, error))
    }

    /// Reads a record from a file, also while a run writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) with the path, or those of [`from_jsonl`](Self::from_jsonl).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| file::cannot_read(path, error))?;
        let decoded = decode(&bytes).map_err(|error| error.context(path.display()))?;
        Ok(Self { records: decoded.records })
    }
}

impl TrajectoryWriter {
    /// Reads a file and goes on writing it, after its last whole line. Until then the file stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) with the path, if it cannot be read or written, or if a run that
    /// has not ended writes it; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) as
    /// [`Trajectory::from_jsonl`] has it.
    pub fn append(path: impl AsRef<Path>) -> Result<(Trajectory, Self)> {
        TrajectoryWriterConfig::default().append(path)
    }
}

impl TrajectoryWriterConfig {
    /// [`TrajectoryWriter::append`] with this configuration.
    ///
    /// # Errors
    /// Those of [`TrajectoryWriter::append`].
    pub fn append(&self, path: impl AsRef<Path>) -> Result<(Trajectory, TrajectoryWriter)> {
        let (records, writer) = self.reopen(path.as_ref())?;
        Ok((Trajectory { records }, writer))
    }
}

impl Error {
    /// The record of the run that ended in this error, where there was one.
    pub fn trajectory(&self) -> Option<&Trajectory> {
        self.record()?.downcast_ref()
    }

    pub(crate) fn with_trajectory(self, trajectory: Trajectory) -> Self {
        self.with_record(Arc::new(trajectory))
    }
}

/// Collects the events of one run and hands each to the sinks. The loop and the host calls share it.
#[derive(Debug)]
pub(crate) struct Recorder {
    run: String,
    tree: Arc<TreeRecorder>,
}

/// What the recorders of a run and its children share.
#[derive(Debug)]
struct TreeRecorder {
    start: Instant,
    sinks: Vec<Arc<dyn EventSink>>,
    records: Mutex<Vec<Arc<Record>>>,
}

impl Recorder {
    pub(crate) fn new(run: String, sinks: Vec<Arc<dyn EventSink>>) -> Self {
        Self { run, tree: Arc::new(TreeRecorder { start: Instant::now(), sinks, records: Mutex::default() }) }
    }

    /// Records the events of a child among those of this run.
    pub(crate) fn child(&self, run: String) -> Self {
        Self { run, tree: self.tree.clone() }
    }

    pub(crate) fn record(&self, event: Event) {
        let tree = &*self.tree;
        let record = Arc::new(Record::new(&self.run, tree.start.elapsed().as_secs_f64(), event));
        for sink in &tree.sinks {
            sink.record(&record);
        }
        tree.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// Shows a piece of a reply to the sinks that want it. It is not recorded.
    pub(crate) fn show(&self, turn: u32, purpose: Purpose, part: ReplyPart, text: &str) {
        let tree = &*self.tree;
        let mut sinks = tree.sinks.iter().filter(|sink| sink.wants_pieces()).peekable();
        if text.is_empty() || sinks.peek().is_none() {
            return;
        }
        let event = Event::ModelText { turn, purpose, part, text: text.to_owned() };
        let piece = Arc::new(Record::new(&self.run, tree.start.elapsed().as_secs_f64(), event));
        sinks.for_each(|sink| sink.piece(&piece));
    }

    /// The id of the run.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Waits until every sink has dealt with all events.
    pub(crate) async fn flush(&self) {
        join_all(self.tree.sinks.iter().map(|sink| sink.flush())).await;
    }

    /// The record of the run that all others come from.
    pub(crate) fn trajectory(&self) -> Trajectory {
        Trajectory { records: self.tree.records.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}

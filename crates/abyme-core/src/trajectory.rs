//! The complete record of a run: one event per line of JSON, enough to view, replay and resume it.

mod clock;
#[cfg(test)]
mod contract;
mod difference;
mod event;
mod file;
mod fork;
mod format;
mod ledger;
mod past;
mod run_terms;
mod terms;
mod turn;
mod writer;

pub(crate) use self::{
    clock::RunClock,
    difference::{difference, difference_of, name_of},
    format::hash,
    past::{FollowMode, Past, PastCell, PastReply, PastTree, is_of_cell, usage_of},
    run_terms::RunTerms,
    terms::{Summaries, Terms},
};
pub use self::{
    event::{
        Approval, CallOutcome, CallRef, Difference, Event, EventSink, ForkOrigin, ParentCall, Purpose,
        PythonToolSource, Record, ReplyPart, StoppedEarly,
    },
    ledger::{EntryKind, Ledger, LedgerEntry, StoppedReplies},
    turn::Turn,
    writer::{Fsync, TrajectoryWriter, TrajectoryWriterConfig},
};

use std::{
    collections::HashSet,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;

use self::{
    clock::TreeClock,
    format::{Decoded, Encoder, decode},
    past::RecordAnswer,
};
use crate::{
    error::{Error, ErrorKind, Result},
    limits::Limits,
    model::{Message, Usage},
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

    /// The records, to be passed on.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.iter()
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
        let ends = self.own_events().filter_map(|event| match event {
            Event::RunFinished { usage, .. } | Event::RunFailed { usage, .. } => Some(Some(usage)),
            Event::RunResumed { .. } => Some(None),
            _ => None,
        });
        ends.last().flatten()
    }

    /// The limits of the run: those that it went on with last, if it did.
    pub(crate) fn limits(&self) -> Option<&Limits> {
        let limits = self.own_events().filter_map(|event| match event {
            Event::RunStarted { limits, .. } | Event::RunResumed { limits, .. } => Some(limits),
            _ => None,
        });
        limits.last()
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

    /// Reads a record from what a file holds. A last line without an end, which a crash leaves behind, is
    /// left out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for what is no trajectory, or one of a
    /// newer version of the format; and with the number of the line that is not as it was written, that
    /// refers to a text that is missing, or that is no event that this version of Abyme knows.
    pub fn from_jsonl(text: &str) -> Result<Self> {
        decode(text.as_bytes()).map(|Decoded { records, .. }| Self { records })
    }

    /// Writes the record to a file, as [`TrajectoryWriter::create`] does.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path, also if a run that has not ended writes the
    /// file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let written = file::create(path)?.write_all(self.to_jsonl().as_bytes());
        written.map_err(|error| file::cannot_write(path, error))
    }

    /// Reads a record from a file, also while a run writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path, or those of [`from_jsonl`](Self::from_jsonl).
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
    /// [`ErrorKind::Io`] with the path, if it cannot be read or written, or if a run
    /// that has not ended writes it; [`ErrorKind::InvalidInput`] as
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

impl FromIterator<Record> for Trajectory {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        Self { records: records.into_iter().map(Arc::new).collect() }
    }
}

impl Error {
    /// The record of the run that ended in this error, where there was one.
    pub fn trajectory(&self) -> Option<&Trajectory> {
        self.record()?.downcast_ref()
    }

    /// What a replay did that its record does not say, if it ended for that.
    pub fn difference(&self) -> Option<&Difference> {
        std::error::Error::source(self)?.downcast_ref()
    }

    pub(crate) fn with_trajectory(self, trajectory: Trajectory) -> Self {
        self.with_record(Arc::new(trajectory))
    }
}

/// Collects the events of one run and hands each to the sinks. The loop and the host calls share it.
///
/// Where the run has a past, what the past holds is followed first: see [`Past`].
#[derive(Debug)]
pub(crate) struct Recorder {
    run: String,
    tree: Arc<TreeRecorder>,
    clock: RunClock,
    past: Option<Arc<Past>>,
    terms: RunTerms,
    /// The terms that the record of a replay says the run goes by.
    said_terms: Mutex<Option<Terms>>,
}

/// What the recorders of a run and its children share.
#[derive(Debug)]
struct TreeRecorder {
    /// The run that all others come from.
    root: String,
    clock: Arc<TreeClock>,
    sinks: Vec<Arc<dyn EventSink>>,
    records: Mutex<Vec<Arc<Record>>>,
    past: Option<Arc<PastTree>>,
    /// What is to be said when the run goes on.
    notes: Mutex<Vec<String>>,
    /// What the root goes on with.
    terms: RunTerms,
}

/// What a run goes on from.
struct ResumedFrom {
    /// How many records so far.
    records: usize,
    /// What was used beside these.
    set_aside: Option<Usage>,
    notes: Vec<String>,
}

impl TreeRecorder {
    fn push(&self, record: Arc<Record>) {
        for sink in &self.sinks {
            sink.record(&record);
        }
        self.records().push(record);
    }

    /// Says that a run goes on by these terms.
    fn push_resumed(&self, run: &str, at: Duration, terms: Terms, from: ResumedFrom) {
        let ResumedFrom { records, set_aside, notes } = from;
        let Terms { limits, summaries: Summaries { compaction, max_input_tokens } } = terms;
        let event = Event::RunResumed {
            abyme: env!("CARGO_PKG_VERSION").to_owned(),
            unix_ms: unix_ms(),
            records: records as u64,
            set_aside,
            limits,
            compaction: Some(compaction),
            max_input_tokens,
            notes,
        };
        self.push(Arc::new(Record::new(run, at.as_secs_f64(), event)));
    }

    fn records(&self) -> MutexGuard<'_, Vec<Arc<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Vec<String>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    pub(crate) fn new(run: String, sinks: Vec<Arc<dyn EventSink>>, terms: Terms) -> Self {
        Self::root(run, sinks, TreeClock::started(), Vec::new(), None, terms)
    }

    /// A recorder of a run that goes on where `trajectory` ends, and by these terms.
    pub(crate) fn resumed(trajectory: &Trajectory, sinks: Vec<Arc<dyn EventSink>>, terms: Terms) -> Self {
        let records = trajectory.records.clone();
        let past = PastTree::new(&records, FollowMode::Resume, &terms.limits);
        let clock = TreeClock::standing(past.last_at());
        let own = past.of(trajectory.run());
        Self::root(trajectory.run().to_owned(), sinks, clock, records, Some((past, own)), terms)
    }

    /// A recorder of a run that does again what `trajectory` says, with the limits that these terms change.
    pub(crate) fn replayed(
        run: String,
        trajectory: &Trajectory,
        sinks: Vec<Arc<dyn EventSink>>,
        live: bool,
        terms: Terms,
    ) -> Self {
        let past = PastTree::new(&trajectory.records, FollowMode::Replay { live }, &terms.limits);
        let own = past.of(trajectory.run());
        Self::root(run, sinks, TreeClock::standing(0.0), Vec::new(), Some((past, own)), terms)
    }

    fn root(
        run: String,
        sinks: Vec<Arc<dyn EventSink>>,
        clock: Arc<TreeClock>,
        records: Vec<Arc<Record>>,
        past: Option<(Arc<PastTree>, Option<Past>)>,
        terms: Terms,
    ) -> Self {
        let (past, own) = past.unzip();
        let own = own.flatten().map(Arc::new);
        let terms = RunTerms::new(terms).with_past(own.clone());
        let tree = TreeRecorder {
            root: run.clone(),
            clock: clock.clone(),
            sinks,
            records: Mutex::new(records),
            past,
            notes: Mutex::default(),
            terms: terms.clone(),
        };
        let clock = RunClock::new(clock, Duration::ZERO);
        Self { run, tree: Arc::new(tree), clock, past: own, terms, said_terms: Mutex::default() }
    }

    /// Records the events of a child among those of this run. `past` is the id that the child had in the
    /// record, if it has one there.
    pub(crate) fn child(&self, run: String, past: Option<&str>, terms: RunTerms) -> Self {
        let past = past.and_then(|run| self.tree.past.as_ref()?.of(run)).map(Arc::new);
        let clock = RunClock::new(self.tree.clock.clone(), self.clock.last());
        let terms = terms.with_past(past.clone());
        Self { run, tree: self.tree.clone(), clock, past, terms, said_terms: Mutex::default() }
    }

    pub(crate) fn record(&self, event: Event) {
        self.follow_or_record(event);
    }

    /// Records an event, and gives it as the record has it: a run that goes on says what it said before.
    fn follow_or_record(&self, event: Event) -> Arc<Record> {
        match self.past.as_ref().map(|past| (past, past.follow(&event))) {
            Some((past, RecordAnswer::Known(record))) => {
                self.clock.advance(seconds(record.at));
                if past.is_replay() {
                    self.say_terms(self.terms.then(), &event);
                    self.tree.push(Arc::new(Record::new(&self.run, record.at, event)));
                }
                record
            }
            Some((_, RecordAnswer::Beside)) => self.add(self.clock.last(), event),
            _ => {
                self.go_live();
                if self
                    .tree
                    .past
                    .as_ref()
                    .is_some_and(|past| past.follow() == FollowMode::Replay { live: true })
                {
                    self.say_terms(Some(self.terms.live().clone()), &event);
                }
                self.add(self.clock.now(), event)
            }
        }
    }

    fn add(&self, at: Duration, event: Event) -> Arc<Record> {
        let record = Arc::new(Record::new(&self.run, at.as_secs_f64(), event));
        if !is_of_cell(&record.event) {
            self.clock.advance(seconds(record.at));
        }
        self.tree.push(record.clone());
        record
    }

    /// What the record says of the next request of this purpose, if it still answers.
    pub(crate) fn past_reply(&self, turn: u32, purpose: Purpose) -> Option<PastReply> {
        let past = self.past.as_ref().filter(|past| !past.is_over())?;
        let reply = past.reply(turn, purpose);
        let answer = reply.answer.iter().map(|(record, _)| record);
        reply.failed.iter().chain(answer).for_each(|record| self.know(record));
        Some(reply)
    }

    /// What the record says of the cell that was started last, if it is in the record.
    pub(crate) fn past_cell(&self) -> Option<PastCell> {
        let cell = self.past.as_ref()?.cell()?;
        cell.finished.iter().for_each(|record| self.clock.advance(seconds(record.at)));
        Some(cell)
    }

    /// Ends a replay that has come to the end of its record, and that is not to go on.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] that says so.
    pub(crate) fn check_live(&self, turn: u32) -> Result<()> {
        match &self.tree.past {
            Some(past) if past.follow() == (FollowMode::Replay { live: false }) => {
                let message = format!(
                    "the record ends in turn {turn}, before the end of its run; until then the replay was as \
                     the record has it"
                );
                Err(Error::new(ErrorKind::Cancelled, message).operation("Rlm::replay"))
            }
            _ => Ok(()),
        }
    }

    /// Takes note of an event that the record answered with.
    pub(crate) fn know(&self, record: &Record) {
        self.clock.advance(seconds(record.at));
        if self.past.as_ref().is_some_and(|past| past.is_replay()) {
            self.say_terms(self.terms.then(), &record.event);
            self.tree.push(Arc::new(Record::new(&self.run, record.at, record.event.clone())));
        }
    }

    /// Says that the run goes on beyond its record, if it does and has not said so.
    pub(crate) fn go_live(&self) {
        let tree = &*self.tree;
        let Some(past) = tree.past.as_ref() else { return };
        if past.follow() == FollowMode::Resume {
            let root = past.announce().map(|records| (&tree.root, &tree.terms, records));
            let child = self.past.as_ref().and_then(|past| past.announce_child_cut());
            let child = child.map(|records| (&self.run, &self.terms, records));
            for (run, terms, records) in root.into_iter().chain(child) {
                let notes = std::mem::take(&mut *tree.notes());
                let from = ResumedFrom { records, set_aside: None, notes };
                tree.push_resumed(run, tree.clock.now(), terms.live().clone(), from);
            }
        }
        tree.clock.go_on(self.clock.last());
    }

    /// Has the record of a replay say by which terms it goes from `event` on, where these are others than
    /// before. Calls of a cell go by those of its end.
    fn say_terms(&self, terms: Option<Terms>, event: &Event) {
        if is_of_cell(event) {
            return;
        }
        let mut said = self.said_terms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::RunStarted { limits, compaction, max_input_tokens, .. } = event {
            // It says so itself.
            let compaction = compaction.clone().unwrap_or_default();
            let summaries = Summaries { compaction, max_input_tokens: *max_input_tokens };
            *said = Some(Terms { limits: limits.clone(), summaries });
            return;
        }
        let Some(terms) = terms.filter(|terms| said.as_ref() != Some(terms)) else { return };
        self.say_again(terms.clone(), None);
        *said = Some(terms);
    }

    /// Has the record of a replay say what was used in records that were set aside in what it does again.
    pub(crate) fn say_set_aside(&self, used: Usage) {
        let terms = self.said_terms.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(terms) = terms.filter(|_| self.past().is_some_and(Past::is_replay)) {
            self.say_again(terms, Some(used));
        }
    }

    fn say_again(&self, terms: Terms, set_aside: Option<Usage>) {
        let from = ResumedFrom { records: self.tree.records().len(), set_aside, notes: Vec::new() };
        self.tree.push_resumed(&self.run, self.clock.last(), terms, from);
    }

    /// Adds to what is said when the run goes on.
    pub(crate) fn note(&self, note: String) {
        self.tree.notes().push(note);
    }

    /// Records the beginning of the run, and gives the messages that it begins with.
    pub(crate) fn started(&self, event: Event) -> Vec<Message> {
        match &self.follow_or_record(event).event {
            Event::RunStarted { messages, .. } => messages.clone(),
            _ => Vec::new(),
        }
    }

    /// Leaves a record that leads to another request than one of this purpose which ends with `message`.
    pub(crate) fn expect(&self, purpose: Purpose, message: &str) {
        self.past.iter().for_each(|past| past.expect(purpose, message));
    }

    /// Records a message, and gives it as it was said.
    pub(crate) fn say(&self, turn: u32, message: Message) -> Message {
        match &self.follow_or_record(Event::MessageAppended { turn, message: message.clone() }).event {
            Event::MessageAppended { message, .. } => message.clone(),
            _ => message,
        }
    }

    /// Shows what is not recorded to the sinks that want it.
    pub(crate) fn show(&self, event: impl FnOnce() -> Event) {
        let tree = &*self.tree;
        let mut sinks = tree.sinks.iter().filter(|sink| sink.wants_pieces()).peekable();
        if sinks.peek().is_none() {
            return;
        }
        let piece = Arc::new(Record::new(&self.run, self.clock.now().as_secs_f64(), event()));
        sinks.for_each(|sink| sink.piece(&piece));
    }

    /// The id of the run.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// The clock of the run.
    pub(crate) fn clock(&self) -> &RunClock {
        &self.clock
    }

    /// What the run goes by.
    pub(crate) fn terms(&self) -> &RunTerms {
        &self.terms
    }

    /// What the run did before, if it goes on or is replayed.
    pub(crate) fn past(&self) -> Option<&Past> {
        self.past.as_deref()
    }

    /// Whether the record of the run still answers.
    pub(crate) fn is_following(&self) -> bool {
        self.past.as_ref().is_some_and(|past| !past.is_over())
    }

    /// Ends a replay that is not to go on from the first difference.
    ///
    /// # Errors
    /// [`ErrorKind::Differs`] with the difference.
    pub(crate) fn check_same(&self) -> Result<()> {
        let Some(past) = &self.tree.past else { return Ok(()) };
        match past.difference() {
            Some(difference) if past.follow() == (FollowMode::Replay { live: false }) => {
                let message = format!("the replay is not as the record has it: {}", difference.summary());
                let error = Error::new(ErrorKind::Differs, message).operation("Rlm::replay");
                let error = error.with("recorded", &difference.recorded).with("now", &difference.now);
                let notes = self.tree.notes();
                let error = if notes.is_empty() { error } else { error.with("changed", notes.join("; ")) };
                Err(error.with_source(difference))
            }
            _ => Ok(()),
        }
    }

    /// Waits until every sink has dealt with all events.
    pub(crate) async fn flush(&self) {
        join_all(self.tree.sinks.iter().map(|sink| sink.flush())).await;
    }

    /// Waits until every sink has dealt with all events.
    ///
    /// # Errors
    /// Why one of them lacks events.
    pub(crate) async fn written(&self) -> Result<(), String> {
        self.flush().await;
        self.tree.sinks.iter().find_map(|sink| sink.failure()).map_or(Ok(()), Err)
    }

    /// The record of the run that all others come from.
    pub(crate) fn trajectory(&self) -> Trajectory {
        Trajectory { records: self.tree.records().clone() }
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(at: f64) -> Duration {
    Duration::try_from_secs_f64(at).unwrap_or_default()
}

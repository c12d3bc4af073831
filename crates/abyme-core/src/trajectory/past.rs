//! What a run did before it goes on: its record, as answers in the order in which the loop asks again.
//!
//! The loop is deterministic but for what it asks the world. So a run goes on, is replayed or is forked in
//! one way: it is executed again, and its record answers until the record ends.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    difference::{difference, name, name_of, without_left},
    event::{CallOutcome, Difference, Event, Purpose, Record},
    terms::{PartTerms, PastTerms},
};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    model::{Response, Role, Usage},
};

/// What a past is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowMode {
    /// The run goes on under its id: what it did counts, and is not recorded again.
    Resume,
    /// The run is done again under another id, and compared. With `live` it goes on from the first
    /// difference; without, it ends there.
    Replay { live: bool },
}

/// The pasts of a tree of runs.
#[derive(Debug)]
pub(crate) struct PastTree {
    follow: FollowMode,
    /// Those that count, with their places in the whole record.
    kept: Vec<(usize, Arc<Record>)>,
    /// Where those of each run are among them.
    of_run: HashMap<String, Vec<usize>>,
    /// How many records there are in all.
    total: usize,
    /// What the runs went by in each part of the whole record.
    terms: PastTerms,
    /// The run above each child.
    above: HashMap<String, String>,
    /// What the runs used in records that do not count any more.
    set_aside: Mutex<SetAside>,
    /// The first difference that was seen.
    difference: Mutex<Option<Difference>>,
    /// Where the root left its record, if it did before the record's end.
    cut_at: Mutex<Option<usize>>,
    /// Whether the run has said that it goes on.
    announced: AtomicBool,
    /// Whether it goes on with more time than it had.
    has_more_time: bool,
}

/// What runs used in records that do not count any more, with the places from which on that is so.
type SetAside = HashMap<String, Vec<(usize, Usage)>>;

/// The past of one run of a tree.
#[derive(Debug)]
pub(crate) struct Past {
    tree: Arc<PastTree>,
    run: String,
    is_child: bool,
    state: Mutex<PastState>,
    /// The highest number among its host calls.
    last_call: u32,
    /// What it went by in each part of the whole record.
    parts: Vec<PartTerms>,
}

#[derive(Debug, Default)]
struct PastState {
    /// What the loop has not done again yet.
    steps: VecDeque<PastStep>,
    /// The host calls of the cell that was started last, until it is asked for.
    cell: Option<Vec<Arc<Record>>>,
    /// Where a child left its record before the record's end, until that is said.
    child_cut_at: Option<usize>,
    /// The place of what was done again last.
    done: usize,
}

impl PastState {
    /// The next event of the loop is done again.
    fn pop(&mut self) -> Option<PastStep> {
        let step = self.steps.pop_front()?;
        self.done = step.index;
        Some(step)
    }
}

/// One event of the loop, with the host calls of the cell that it starts.
#[derive(Debug)]
struct PastStep {
    index: usize,
    record: Arc<Record>,
    calls: Vec<Arc<Record>>,
}

/// The record of an answer; and the reply with whether the loop ended its generation, or what failed for
/// good.
pub(crate) type PastAnswer = (Arc<Record>, Result<(Response, bool), Error>);

/// What a request to the run's own model gave.
#[derive(Debug, Default)]
pub(crate) struct PastReply {
    /// The tries that failed.
    pub(crate) failed: Vec<Arc<Record>>,
    /// The reply, and whether the loop ended its generation; or what failed for good and led elsewhere. None
    /// if the record ends before.
    pub(crate) answer: Option<PastAnswer>,
}

/// A cell that ran.
#[derive(Clone, Debug)]
pub(crate) struct PastCell {
    /// The records of its host calls, in order.
    pub(crate) calls: Vec<Arc<Record>>,
    /// The record of its end; none if the whole record ends before.
    pub(crate) finished: Option<Arc<Record>>,
}

/// What the record says of an event.
pub(super) enum RecordAnswer {
    /// It is in the record, as this.
    Known(Arc<Record>),
    /// The record need not have it: it belongs to a call of a cell that is run again.
    Beside,
    /// The record does not have it: the run is beyond its record.
    New,
}

impl PastTree {
    /// The past of a run that is executed again with these limits.
    pub(super) fn new(records: &[Arc<Record>], follow: FollowMode, limits: &Limits) -> Arc<Self> {
        let (mut kept, mut set_aside) = counting(records);
        let root = records.first().map_or("", |record| &record.run).to_owned();
        if follow == FollowMode::Resume {
            drop_tails(&mut kept, &root, &mut set_aside, records.len());
        }
        let (mut of_run, mut above) = (HashMap::<String, Vec<usize>>::new(), HashMap::new());
        for (at, (_, record)) in kept.iter().enumerate() {
            of_run.entry(record.run.clone()).or_default().push(at);
            if let Event::ChildStarted { child, .. } = &record.event {
                above.insert(child.clone(), record.run.clone());
            }
        }
        let terms = PastTerms::of(records, limits);
        let has_more_time = follow == FollowMode::Resume && terms.has_more_time();
        Arc::new(Self {
            follow,
            kept,
            of_run,
            total: records.len(),
            terms,
            above,
            set_aside: Mutex::new(set_aside),
            difference: Mutex::default(),
            cut_at: Mutex::default(),
            announced: AtomicBool::new(false),
            has_more_time,
        })
    }

    /// The records of one run, with their places in the whole record.
    fn records(&self, run: &str) -> impl Iterator<Item = &(usize, Arc<Record>)> {
        self.of_run.get(run).into_iter().flatten().map(|at| &self.kept[*at])
    }

    /// What the record of one of its runs begins with.
    pub(crate) fn first(&self, run: &str) -> Option<&Arc<Record>> {
        self.records(run).next().map(|(_, record)| record)
    }

    pub(crate) fn follow(&self) -> FollowMode {
        self.follow
    }

    /// The past of one of its runs, if it has records.
    pub(crate) fn of(self: &Arc<Self>, run: &str) -> Option<Past> {
        let mut steps: VecDeque<PastStep> = VecDeque::new();
        let mut last_call = 0;
        for (index, record) in self.records(run) {
            last_call = last_call.max(call_of(&record.event).unwrap_or_default());
            match &record.event {
                Event::SessionRebuilt { .. } | Event::SessionSaved { .. } => {}
                event if is_of_cell(event) => {
                    let is_cell =
                        |step: &&mut PastStep| matches!(step.record.event, Event::CellStarted { .. });
                    if let Some(cell) = steps.iter_mut().rev().find(is_cell) {
                        cell.calls.push(record.clone());
                    }
                }
                _ => steps.push_back(PastStep { index: *index, record: record.clone(), calls: Vec::new() }),
            }
        }
        (!steps.is_empty()).then(|| Past {
            tree: self.clone(),
            run: run.to_owned(),
            is_child: self.kept.first().is_some_and(|(_, first)| first.run != run),
            state: Mutex::new(PastState { steps, ..PastState::default() }),
            last_call,
            parts: self.terms.parts(run, &self.line(run)),
        })
    }

    /// A run and those above it.
    fn line<'t>(&'t self, run: &'t str) -> HashSet<&'t str> {
        let mut line = HashSet::new();
        let mut next = Some(run);
        while let Some(run) = next.filter(|run| line.insert(*run)) {
            next = self.above.get(run).map(String::as_str);
        }
        line
    }

    /// The records of a run and of those below it, run by run, with their places in the whole record.
    pub(crate) fn below<'t>(&'t self, run: &'t str) -> Vec<&'t (usize, Arc<Record>)> {
        let (mut below, mut runs) = (Vec::new(), vec![run]);
        while let Some(run) = runs.pop() {
            for one in self.records(run) {
                if let Event::ChildStarted { child, .. } = &one.1.event {
                    runs.push(child);
                }
                below.push(one);
            }
        }
        below
    }

    /// The records of the host calls of the cell that the record of a run ends in, if it does.
    pub(crate) fn last_cell(self: &Arc<Self>, run: &str) -> Vec<Arc<Record>> {
        let last = self.of(run).and_then(|past| past.state().steps.pop_back());
        let cell = last.filter(|step| matches!(step.record.event, Event::CellStarted { .. }));
        cell.map(|step| step.calls).unwrap_or_default()
    }

    /// The time of the last record, in seconds since the run's start.
    pub(super) fn last_at(&self) -> f64 {
        self.kept.iter().map(|(_, record)| record.at).fold(0.0, f64::max)
    }

    /// How many records the run goes on from, the first time that this is asked.
    pub(super) fn announce(&self) -> Option<usize> {
        let is_first = !self.announced.swap(true, Ordering::Relaxed);
        is_first.then(|| lock(&self.cut_at).unwrap_or(self.total))
    }

    /// The first difference that was seen.
    pub(crate) fn difference(&self) -> Option<Difference> {
        lock(&self.difference).clone()
    }

    /// Takes note of a difference, unless there was one before.
    pub(crate) fn differs(&self, difference: Difference) {
        lock(&self.difference).get_or_insert(difference);
    }

    /// What calls used that these records tell of, and what the runs that begin in them used in records that
    /// do not count any more, which is given once.
    pub(crate) fn used_in<'r>(&self, records: impl Iterator<Item = &'r Arc<Record>>) -> Usage {
        let mut used = Usage::default();
        for record in records {
            used += usage_of(record);
            if let Event::RunStarted { .. } = record.event {
                used += self.take_set_aside(&record.run, usize::MAX);
            }
        }
        used
    }

    /// What a run used in records that did not count any more before this place of the record, once.
    fn take_set_aside(&self, run: &str, before: usize) -> Usage {
        let mut set_aside = lock(&self.set_aside);
        let of_run = set_aside.get_mut(run).into_iter();
        let taken = of_run.flat_map(|of_run| of_run.extract_if(.., |(at, _)| *at < before));
        taken.fold(Usage::default(), |used, (_, usage)| used + usage)
    }
}

impl Past {
    pub(crate) fn tree(&self) -> &Arc<PastTree> {
        &self.tree
    }

    /// Whether the run is done again under another id, and does not go on.
    pub(crate) fn is_replay(&self) -> bool {
        self.tree.follow != FollowMode::Resume
    }

    /// The id of the run in the record.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// The highest number among its host calls.
    pub(crate) fn last_call(&self) -> u32 {
        self.last_call
    }

    /// What it used in records that did not count any more when it did what it does again next, once.
    pub(crate) fn take_set_aside(&self) -> Usage {
        let next = self.state().steps.front().map_or(usize::MAX, |step| step.index);
        self.tree.take_set_aside(&self.run, next)
    }

    /// What the run went by when it did what it does again next; none beyond its record.
    ///
    /// What is said to the model next is decided once all is known that it says something of. Where a run
    /// ended in between and went on with other terms, it was said by these.
    pub(super) fn terms(&self) -> Option<&PartTerms> {
        let state = self.state();
        let next = state.steps.iter().find(|step| !is_known_before_it_is_said(&step.record.event))?;
        self.terms_at(next.index)
    }

    /// What the run went by when it did what it has done again last.
    pub(super) fn terms_then(&self) -> Option<&PartTerms> {
        self.terms_at(self.state().done)
    }

    fn terms_at(&self, index: usize) -> Option<&PartTerms> {
        PartTerms::at(&self.parts, index)
    }

    /// The limits of the run at one of its records.
    pub(crate) fn limits_at(&self, record: &Arc<Record>) -> Option<&Limits> {
        let mut records = self.tree.records(&self.run);
        let (index, _) = records.find(|(_, one)| Arc::ptr_eq(one, record))?;
        Some(&self.terms_at(*index)?.recorded)
    }

    /// Whether nothing is left of the record.
    pub(crate) fn is_over(&self) -> bool {
        self.state().steps.is_empty()
    }

    /// What the record begins with.
    pub(crate) fn first(&self) -> Option<Arc<Record>> {
        self.state().steps.front().map(|step| step.record.clone())
    }

    /// The snapshots of its session, the newest first.
    pub(crate) fn saved_sessions(&self) -> Vec<Arc<Record>> {
        let is_saved = |record: &&Arc<Record>| matches!(record.event, Event::SessionSaved { .. });
        let records = self.tree.records(&self.run).map(|(_, record)| record);
        let mut saved: Vec<_> = records.filter(is_saved).cloned().collect();
        saved.reverse();
        saved
    }

    /// The time of day that the sessions of the run begin with.
    pub(crate) fn session_unix_ms(&self) -> Option<u64> {
        match self.first()?.event {
            Event::RunStarted { session_unix_ms, .. } => session_unix_ms,
            _ => None,
        }
    }

    /// The seed of the run.
    pub(crate) fn seed(&self) -> Option<u64> {
        match self.first()?.event {
            Event::RunStarted { seed, .. } => seed,
            _ => None,
        }
    }

    /// Compares what the loop does with the record.
    pub(super) fn follow(&self, event: &Event) -> RecordAnswer {
        let mut state = self.state();
        let Some(step) = state.steps.front() else { return RecordAnswer::New };
        if is_of_cell(event) {
            return RecordAnswer::Beside;
        }
        let recorded = &step.record.event;
        let is_same_kind = std::mem::discriminant(recorded) == std::mem::discriminant(event);
        if let FollowMode::Replay { live } = self.tree.follow
            && let Some(difference) = difference(&self.run, recorded, event, self.is_child)
        {
            self.tree.differs(difference);
            if live || !is_same_kind {
                state.steps.clear();
                return RecordAnswer::New;
            }
        }
        if !is_same_kind {
            let index = step.index;
            drop(state);
            self.leave_at(index);
            return RecordAnswer::New;
        }
        let Some(PastStep { record, calls, .. }) = state.pop() else { return RecordAnswer::New };
        let is_cell = matches!(record.event, Event::CellStarted { .. });
        state.cell = is_cell.then_some(calls);
        RecordAnswer::Known(record)
    }

    /// Leaves the record of a replay: the run goes on by itself.
    pub(crate) fn leave(&self) {
        self.state().steps.clear();
    }

    /// Leaves the record before its end: what follows does not count any more, of this run and of those below
    /// it. What was used in it is settled with what this run goes on with.
    fn leave_at(&self, index: usize) {
        let mut state = self.state();
        state.steps.clear();
        match self.is_child {
            true => state.child_cut_at = Some(index),
            false => {
                lock(&self.tree.cut_at).get_or_insert(index);
            }
        }
        drop(state);
        let later = self.tree.below(&self.run).into_iter().filter(|(at, _)| *at >= index);
        let used = self.tree.used_in(later.map(|(_, record)| record));
        put_aside(&mut lock(&self.tree.set_aside), &self.run, used, index);
    }

    /// Where the run left its record, if it is a child that did, the first time that this is asked.
    pub(super) fn announce_child_cut(&self) -> Option<usize> {
        self.state().child_cut_at.take()
    }

    /// Leaves the record of a run that goes on where that leads to another request than one of this purpose
    /// which ends with `message`. What was said before that request was said for it.
    pub(super) fn expect(&self, purpose: Purpose, message: &str) {
        let state = self.state();
        let Some(next) = state.steps.front().filter(|_| self.tree.follow == FollowMode::Resume) else {
            return;
        };
        let answer = state.steps.iter().map(|step| &step.record.event).find(|event| match event {
            Event::ModelReplied { purpose, .. } => *purpose != Purpose::Compact,
            Event::ModelCallFailed { call: None, retry_seconds, .. } => retry_seconds.is_none(),
            _ => false,
        });
        let is_other = match (answer, &next.record.event) {
            (Some(Event::ModelReplied { purpose: answered, .. }), _) => *answered != purpose,
            // What is left for a child depends on what others do at the same time.
            (None, Event::MessageAppended { message: said, .. }) if self.is_child => {
                without_left(&said.content) != without_left(message)
            }
            (None, Event::MessageAppended { message: said, .. }) => said.content != message,
            _ => false,
        };
        let index = next.index;
        drop(state);
        if is_other {
            self.leave_at(index);
        }
    }

    /// Whether the next request that the record answers is of this purpose; none if it does not say.
    pub(super) fn answers(&self, purpose: Purpose) -> Option<bool> {
        let state = self.state();
        state.steps.iter().find_map(|step| match step.record.event {
            Event::ModelReplied { purpose: answered, .. } => Some(answered == purpose),
            Event::ModelCallFailed { call: None, .. } => Some(true),
            Event::RunFinished { .. } | Event::RunFailed { .. } => Some(false),
            _ => None,
        })
    }

    /// Whether the record says this when it next says something: to the model, or of how the run ended.
    pub(super) fn says(&self, what: &str) -> bool {
        let state = self.state();
        let next = state.steps.iter().find_map(|step| match &step.record.event {
            Event::MessageAppended { message, .. } if message.role == Role::User => Some(&message.content),
            Event::RunFailed { error, .. } => Some(error),
            _ => None,
        });
        next.is_some_and(|said| said.contains(what))
    }

    /// Whether the next reply of the record has the outputs: if that is so in the middle of a turn, the run
    /// was asked to end in it.
    pub(crate) fn goes_on_with_outputs(&self) -> bool {
        let state = self.state();
        let purposes = state.steps.iter().filter_map(|step| match step.record.event {
            Event::ModelReplied { purpose, .. } => Some(purpose),
            _ => None,
        });
        purposes.take(1).eq([Purpose::Extract])
    }

    /// What the record says to the model next, if that is said before the next reply.
    pub(crate) fn next_said(&self) -> Option<String> {
        let state = self.state();
        let next = state.steps.iter().map(|step| &step.record.event).find(|event| {
            matches!(
                event,
                Event::MessageAppended { .. } | Event::ModelReplied { .. } | Event::ModelCallFailed { .. }
            )
        });
        match next {
            Some(Event::MessageAppended { message, .. }) => Some(message.content.clone()),
            _ => None,
        }
    }

    /// The answer to the next request of this purpose.
    pub(crate) fn reply(&self, turn: u32, purpose: Purpose) -> PastReply {
        let mut reply = PastReply::default();
        loop {
            let mut state = self.state();
            let Some(step) = state.steps.front() else { return reply };
            let record = step.record.clone();
            match &record.event {
                Event::ModelCallFailed { call: None, retry_seconds: None, kind, .. }
                    if *kind == ErrorKind::LimitReached && self.tree.has_more_time =>
                {
                    let index = step.index;
                    drop(state);
                    self.leave_at(index);
                    return reply;
                }
                Event::ModelCallFailed { call: None, retry_seconds, kind, error, .. } => {
                    let is_last = retry_seconds.is_none();
                    let error = Error::new(*kind, error.clone());
                    state.pop();
                    let is_end = |next: &PastStep| matches!(next.record.event, Event::RunFailed { .. });
                    let ends_run = state.steps.front().is_none_or(is_end);
                    if is_last && (!ends_run || self.tree.follow != FollowMode::Resume) {
                        reply.answer = Some((record, Err(error)));
                        return reply;
                    }
                    reply.failed.push(record);
                }
                Event::ModelReplied {
                    purpose: recorded,
                    text,
                    reasoning,
                    native_call,
                    finish_reason,
                    stopped,
                    usage,
                    ..
                } if *recorded == purpose => {
                    let response = Response::new(text.clone())
                        .reasoning(reasoning.clone())
                        .native_call(native_call.clone())
                        .finish_reason(finish_reason.clone())
                        .usage(*usage);
                    let is_stopped = stopped.is_some();
                    state.pop();
                    reply.answer = Some((record, Ok((response, is_stopped))));
                    return reply;
                }
                other => {
                    let index = step.index;
                    if self.tree.follow != FollowMode::Resume {
                        self.tree.differs(Difference {
                            run: self.run.clone(),
                            turn,
                            what: "what the loop does next".to_owned(),
                            recorded: name(other),
                            now: format!("a request to the model ({})", name_of(&purpose)),
                        });
                        state.steps.clear();
                        return reply;
                    }
                    drop(state);
                    self.leave_at(index);
                    return reply;
                }
            }
        }
    }

    /// The cell that was started last, once, if its start is in the record.
    pub(crate) fn cell(&self) -> Option<PastCell> {
        let mut state = self.state();
        let calls = state.cell.take()?;
        let is_end = |step: &PastStep| matches!(step.record.event, Event::CellFinished { .. });
        let is_ended = state.steps.front().is_some_and(is_end);
        let finished = is_ended.then(|| state.pop()).flatten().map(|step| step.record);
        Some(PastCell { calls, finished })
    }

    fn state(&self) -> MutexGuard<'_, PastState> {
        lock(&self.state)
    }
}

/// The records that count, those of which later ones say that they do not left out, with their places.
pub(super) fn kept(records: &[Arc<Record>]) -> Vec<(usize, Arc<Record>)> {
    counting(records).0
}

/// Records that count, with their places; and what the others used, by run.
type CountedRecords = (Vec<(usize, Arc<Record>)>, SetAside);

/// The records that count, and what the others used.
fn counting(records: &[Arc<Record>]) -> CountedRecords {
    let root = records.first().map_or("", |record| &record.run).to_owned();
    let mut kept: Vec<(usize, Arc<Record>)> = Vec::with_capacity(records.len());
    let mut set_aside = SetAside::new();
    for (index, record) in records.iter().enumerate() {
        if let Event::RunResumed { records, set_aside: used, .. } = record.event {
            if let Some(used) = used {
                put_aside(&mut set_aside, &record.run, used, index);
            }
            let below = (record.run != root).then(|| runs_below(&kept, &record.run));
            let is_left = |(index, record): &mut (usize, Arc<Record>)| {
                *index as u64 >= records && below.as_ref().is_none_or(|below| below.contains(&record.run))
            };
            let left = kept.extract_if(.., is_left);
            left.for_each(|(_, left)| put_aside(&mut set_aside, &record.run, usage_of(&left), index));
            if record.run == root {
                drop_tails(&mut kept, &root, &mut set_aside, index);
            }
            continue;
        }
        kept.push((index, record.clone()));
    }
    (kept, set_aside)
}

/// Drops the ends of runs that go on: the failure of a run, and the failed tries of the request that led to
/// it. Children whose parents got an answer of them have ended for good. They go on `from` this place of the
/// whole record.
fn drop_tails(kept: &mut Vec<(usize, Arc<Record>)>, root: &str, set_aside: &mut SetAside, from: usize) {
    let mut open = HashSet::from([root.to_owned()]);
    for (_, record) in kept.iter() {
        match &record.event {
            Event::ChildStarted { child, .. } => {
                open.insert(child.clone());
            }
            Event::ChildFinished { child, outcome, .. } if !matches!(outcome, CallOutcome::Cancelled(_)) => {
                open.remove(child);
            }
            _ => {}
        }
    }
    let mut tails = open;
    for at in (0..kept.len()).rev() {
        let record = &kept[at].1;
        if tails.is_empty() {
            return;
        }
        let is_side = is_of_cell(&record.event)
            || matches!(record.event, Event::SessionRebuilt { .. } | Event::SessionSaved { .. });
        if is_side || !tails.contains(&record.run) {
            continue;
        }
        match record.event {
            Event::RunFailed { .. } | Event::ModelCallFailed { call: None, .. } => {
                let (_, record) = kept.remove(at);
                put_aside(set_aside, &record.run, usage_of(&record), from);
            }
            _ => {
                tails.remove(&record.run);
            }
        }
    }
}

/// Has `run` settle, from a place on, what was used in records that do not count any more.
fn put_aside(set_aside: &mut SetAside, run: &str, used: Usage, from: usize) {
    set_aside.entry(run.to_owned()).or_default().push((from, used));
}

/// The ids of a run and of those below it.
fn runs_below(kept: &[(usize, Arc<Record>)], run: &str) -> HashSet<String> {
    let mut below = HashSet::from([run.to_owned()]);
    for (_, record) in kept {
        if let Event::ChildStarted { child, .. } = &record.event
            && below.contains(&record.run)
        {
            below.insert(child.clone());
        }
    }
    below
}

/// Whether the event comes between a reply, or the end of a cell, and what the model is told of it.
fn is_known_before_it_is_said(event: &Event) -> bool {
    match event {
        Event::MessageAppended { message, .. } => message.role == Role::Assistant,
        Event::CellStarted { .. }
        | Event::ReplyRefused { .. }
        | Event::SubmissionRefused { .. }
        | Event::SessionLost { .. }
        | Event::TranscriptCompacted { .. } => true,
        _ => false,
    }
}

/// What the model call used that a record tells of.
pub(crate) fn usage_of(record: &Record) -> Usage {
    match &record.event {
        Event::ModelReplied { usage, .. }
        | Event::ModelCallFailed { usage, .. }
        | Event::SubCallFinished { usage, .. } => *usage,
        _ => Usage::default(),
    }
}

/// Whether the event belongs to the host calls of a cell.
pub(crate) fn is_of_cell(event: &Event) -> bool {
    matches!(
        event,
        Event::SubCallStarted { .. }
            | Event::SubCallFinished { .. }
            | Event::ChildStarted { .. }
            | Event::ChildFinished { .. }
            | Event::ToolCallStarted { .. }
            | Event::ToolCallFinished { .. }
            | Event::HostCallReturned { .. }
            | Event::ModelCallFailed { call: Some(_), .. }
    )
}

fn call_of(event: &Event) -> Option<u32> {
    match event {
        Event::SubCallStarted { call, .. }
        | Event::ChildStarted { call, .. }
        | Event::ToolCallStarted { call, .. } => Some(*call),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

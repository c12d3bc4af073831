//! The data between a running guest and the host's side of a cell: calls and their results, output,
//! interrupts.
//!
//! Both sides run on the same task and take turns, so the lock is never contended. It only proves that to the
//! compiler.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use abyme_core::{DecodeBudget, HostCall, HostError, OverBudget, Submission, Value};
use abyme_driver::{
    cell::{HeldMemory, MAX_CALLS_IN_FLIGHT},
    repl::{Collector, Stream},
};

/// The host calls of a session's cell. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct HostCalls(Arc<Mutex<CallsState>>);

/// See [`HostCalls`].
#[derive(Debug)]
pub(crate) struct CallsState {
    /// How much of the host's memory a message of the guest may take; as much may all calls hold together
    /// whose reply was not taken.
    max_bytes: u64,
    /// Calls that the guest started and the host's side did not take yet.
    started: Vec<(u32, HostCall)>,
    /// All calls whose reply was not taken. Mostly there is only one, so a tree is faster than hashing.
    calls: BTreeMap<u32, PendingCall>,
    /// What all of them hold of the host's memory.
    held: HeldMemory,
    /// Whether the guest waits for a call that is not finished.
    waiting: bool,
    /// Finished calls that no `wait(0)` has reported.
    finished: VecDeque<u32>,
    last_call: u32,
    collector: Option<Collector>,
    interrupt: bool,
}

/// A call whose reply was not taken.
#[derive(Debug)]
struct PendingCall {
    /// What it holds: its arguments, or its reply once that is there.
    size: u64,
    /// `None` while it runs.
    reply: Option<Result<Value, HostError>>,
}

impl Default for HostCalls {
    fn default() -> Self {
        Self::new(DecodeBudget::DEFAULT_MAX_BYTES)
    }
}

impl HostCalls {
    /// The calls of a session, of which a message may take so much of the host's memory.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(CallsState::new(max_bytes, 0, None))))
    }

    /// Locks the data.
    pub(crate) fn lock(&self) -> MutexGuard<'_, CallsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host's side.
impl CallsState {
    fn new(max_bytes: u64, last_call: u32, collector: Option<Collector>) -> Self {
        Self {
            max_bytes,
            started: Vec::new(),
            calls: BTreeMap::new(),
            held: HeldMemory::new(max_bytes),
            waiting: false,
            finished: VecDeque::new(),
            last_call,
            collector,
            interrupt: false,
        }
    }

    /// Begins a cell. Forgets what an earlier one left.
    pub(crate) fn begin(&mut self, collector: Collector) {
        *self = Self::new(self.max_bytes, self.last_call, Some(collector));
    }

    /// Ends a cell.
    pub(crate) fn end(&mut self) -> Option<Collector> {
        let collector = self.collector.take();
        *self = Self::new(self.max_bytes, self.last_call, None);
        collector
    }

    /// Takes the calls that were started since the last time.
    pub(crate) fn take_started(&mut self) -> Vec<(u32, HostCall)> {
        std::mem::take(&mut self.started)
    }

    /// Whether the guest can be given results. One that leaves too many of them untaken gets no more, until
    /// it waits for one.
    pub(crate) fn takes_results(&self) -> bool {
        self.waiting || !self.held.is_over()
    }

    /// Sets the result of a call.
    pub(crate) fn finish(&mut self, call: u32, mut result: Result<Value, HostError>) {
        let Some(pending) = self.calls.get_mut(&call) else { return };
        self.held.release(std::mem::take(&mut pending.size));
        if self.held.is_over() {
            let problem =
                "the result was dropped: results that the cell has not taken fill the host's memory";
            result = Err(HostError::runtime_error(problem));
        }
        if let Ok(value) = &result {
            let mut budget = DecodeBudget::new(self.max_bytes);
            pending.size = if budget.value(value).is_ok() { budget.used() } else { self.max_bytes };
            self.held.hold(pending.size);
        }
        pending.reply = Some(result);
        self.finished.push_back(call);
    }

    /// Requests an interrupt of the guest.
    pub(crate) fn interrupt(&mut self) {
        self.interrupt = true;
    }
}

/// The guest's side.
impl CallsState {
    /// What the values of one message may take.
    pub(crate) fn budget(&self) -> DecodeBudget {
        DecodeBudget::new(self.max_bytes)
    }

    /// Begins a call that takes `size` bytes and returns its number; 0 if too many calls are in flight, they
    /// hold too much, or no cell runs.
    pub(crate) fn start(&mut self, call: HostCall, size: u64) -> u32 {
        if !self.held.try_hold(size) {
            return 0;
        }
        let number = self.register(PendingCall { size, reply: None });
        match number {
            0 => self.held.release(size),
            _ => self.started.push((number, call)),
        }
        number
    }

    /// Begins a call that has failed, because its arguments are too large.
    pub(crate) fn start_too_large(&mut self, problem: OverBudget) -> u32 {
        let problem = format!("the arguments of the call are too large to pass on: {problem}");
        let reply = Some(Err(HostError::value_error(problem)));
        let number = self.register(PendingCall { size: 0, reply });
        if number != 0 {
            self.finished.push_back(number);
        }
        number
    }

    fn register(&mut self, call: PendingCall) -> u32 {
        if self.calls.len() >= MAX_CALLS_IN_FLIGHT || self.collector.is_none() {
            return 0;
        }
        self.last_call = self.last_call.wrapping_add(1).max(1);
        self.calls.insert(self.last_call, call);
        self.last_call
    }

    /// Returns `call` if it is finished; for 0, any finished call that was not reported. A call that does not
    /// exist counts as finished: there is nothing to wait for.
    pub(crate) fn finished(&mut self, call: u32) -> Option<u32> {
        let found = if call == 0 {
            self.finished.pop_front()
        } else {
            let finished = self.calls.get(&call).is_none_or(|pending| pending.reply.is_some());
            if finished {
                self.finished.retain(|other| *other != call);
            }
            finished.then_some(call)
        };
        self.waiting = found.is_none();
        found
    }

    /// The guest goes on without a call that it waited for.
    pub(crate) fn stop_waiting(&mut self) {
        self.waiting = false;
    }

    /// Takes the reply of a finished call.
    pub(crate) fn take_reply(&mut self, call: u32) -> Option<Result<Value, HostError>> {
        let pending = self.calls.get_mut(&call)?;
        let reply = pending.reply.take()?;
        self.held.release(pending.size);
        self.calls.remove(&call);
        self.finished.retain(|other| *other != call);
        Some(reply)
    }

    /// Takes the request for an interrupt. Returns whether there was one.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.interrupt)
    }

    /// Adds output of a stream.
    pub(crate) fn output(&mut self, stream: Stream, text: &str) {
        if let Some(collector) = &mut self.collector {
            collector.output(stream, text);
        }
    }

    /// Notes that a submission was too large.
    pub(crate) fn refuse_submission(&mut self, problem: OverBudget) {
        if let Some(collector) = &mut self.collector {
            collector.refuse_submission(problem);
        }
    }

    /// Keeps the first submission.
    pub(crate) fn submit(&mut self, submission: Submission) {
        if let Some(collector) = &mut self.collector {
            collector.submit(submission);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(max_bytes: u64) -> HostCalls {
        let calls = HostCalls::new(max_bytes);
        calls.lock().begin(Collector::new(100));
        calls
    }

    fn text(bytes: usize) -> Result<Value, HostError> {
        Ok("x".repeat(bytes).into())
    }

    #[test]
    fn results_that_are_not_taken_are_bounded() {
        let calls = calls(10_000);
        let mut state = calls.lock();
        let numbers: Vec<_> = (0..20).map(|_| state.start(HostCall::new("f"), 10)).collect();
        let mut given = 0;
        while state.takes_results() {
            state.finish(numbers[given], text(1000));
            given += 1;
        }
        assert_eq!(given, 10);
        // A guest that waits is given results, so that it cannot hang; no more are kept.
        assert_eq!(state.finished(numbers[19]), None);
        assert!(state.takes_results());
        state.finish(numbers[19], text(1000));
        assert!(state.take_reply(numbers[19]).unwrap().unwrap_err().message.contains("dropped"));
        // What is taken makes room.
        for &number in &numbers[..5] {
            assert_eq!(state.take_reply(number), Some(text(1000)));
        }
        assert_eq!(state.finished(numbers[5]), Some(numbers[5]));
        assert!(state.takes_results());
    }

    #[test]
    fn arguments_in_flight_are_bounded() {
        let calls = calls(10_000);
        let mut state = calls.lock();
        assert_ne!(state.start(HostCall::new("f"), 9_000), 0);
        assert_eq!(state.start(HostCall::new("f"), 2_000), 0);
        let failed = state.start_too_large(OverBudget::Digits);
        assert_eq!(state.finished(failed), Some(failed));
        let error = state.take_reply(failed).unwrap().unwrap_err();
        assert_eq!(error.type_name, "ValueError");
        assert!(error.message.contains("too large to pass on"), "{}", error.message);
    }

    /// One that is larger than all together may be is the host's own doing, and is handed on.
    #[test]
    fn a_single_large_result_passes() {
        let calls = calls(1000);
        let mut state = calls.lock();
        let number = state.start(HostCall::new("f"), 10);
        state.finish(number, text(5000));
        assert_eq!(state.take_reply(number), Some(text(5000)));
        assert!(state.takes_results());
        assert_ne!(state.start(HostCall::new("f"), 1000), 0);
    }
}

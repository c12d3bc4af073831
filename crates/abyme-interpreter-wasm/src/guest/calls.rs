//! What passes between a running guest and the cell's pump: calls and their results, output, interrupts.
//!
//! Both sides run on the same task and take turns, so the lock is never contended: it only proves that to the compiler.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use abyme_core::{HostCall, HostError, Submission, Value};
use abyme_driver::{
    cell::MAX_CALLS_IN_FLIGHT,
    repl::{Collector, Stream},
};

/// Bytes that calls of one cell in flight may hold on the host; one call may always be larger.
const MAX_BYTES_IN_FLIGHT: usize = 512 << 20;

/// A handle to the calls of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostCalls(Arc<Mutex<CallsState>>);

/// See [`HostCalls`].
#[derive(Debug, Default)]
pub(crate) struct CallsState {
    /// Started by the guest, not seen by the pump.
    started: Vec<(u32, HostCall)>,
    /// All calls whose reply was not taken. Most of the time it is one, so a hash would take longer than the rest.
    calls: BTreeMap<u32, PendingCall>,
    /// The sum of the sizes of the calls that run.
    held: usize,
    /// Finished calls that no `wait(0)` has reported.
    finished: VecDeque<u32>,
    last_call: u32,
    collector: Option<Collector>,
    interrupt: bool,
}

/// A call whose reply was not taken.
#[derive(Debug)]
struct PendingCall {
    /// Its size as the guest sent it.
    size: usize,
    /// `None` while it runs.
    reply: Option<Result<Value, HostError>>,
}

impl HostCalls {
    /// The contents.
    pub(crate) fn lock(&self) -> MutexGuard<'_, CallsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pump's side.
impl CallsState {
    /// Begins a cell. What an earlier one left is forgotten.
    pub(crate) fn begin(&mut self, collector: Collector) {
        let last_call = self.last_call;
        *self = Self { last_call, collector: Some(collector), ..Self::default() };
    }

    /// Ends a cell.
    pub(crate) fn end(&mut self) -> Option<Collector> {
        let collector = self.collector.take();
        *self = Self { last_call: self.last_call, ..Self::default() };
        collector
    }

    /// Calls that started since the last time.
    pub(crate) fn take_started(&mut self) -> Vec<(u32, HostCall)> {
        std::mem::take(&mut self.started)
    }

    /// A call is finished.
    pub(crate) fn finish(&mut self, call: u32, result: Result<Value, HostError>) {
        if let Some(pending) = self.calls.get_mut(&call) {
            self.held -= std::mem::take(&mut pending.size);
            pending.reply = Some(result);
            self.finished.push_back(call);
        }
    }

    /// Asks for an interrupt at the next opportunity.
    pub(crate) fn interrupt(&mut self) {
        self.interrupt = true;
    }
}

/// The guest's side.
impl CallsState {
    /// Begins a call of `size` bytes; 0 if there are too many, they hold too much, or no cell runs.
    pub(crate) fn start(&mut self, call: HostCall, size: usize) -> u32 {
        let fits = self.held == 0 || self.held + size <= MAX_BYTES_IN_FLIGHT;
        if self.calls.len() >= MAX_CALLS_IN_FLIGHT || !fits || self.collector.is_none() {
            return 0;
        }
        self.last_call = self.last_call.wrapping_add(1).max(1);
        self.calls.insert(self.last_call, PendingCall { size, reply: None });
        self.held += size;
        self.started.push((self.last_call, call));
        self.last_call
    }

    /// `call` if it is finished; with 0, any finished call that was not reported. Also says so of calls that never
    /// were: there is nothing to wait for.
    pub(crate) fn finished(&mut self, call: u32) -> Option<u32> {
        if call == 0 {
            return self.finished.pop_front();
        }
        let finished = self.calls.get(&call).is_none_or(|pending| pending.reply.is_some());
        if finished {
            self.finished.retain(|other| *other != call);
        }
        finished.then_some(call)
    }

    /// The reply of a finished call, once.
    pub(crate) fn take_reply(&mut self, call: u32) -> Option<Result<Value, HostError>> {
        let reply = self.calls.get_mut(&call)?.reply.take()?;
        self.calls.remove(&call);
        self.finished.retain(|other| *other != call);
        Some(reply)
    }

    /// Whether an interrupt was asked for, once.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.interrupt)
    }

    /// The next piece of a stream's head.
    pub(crate) fn output(&mut self, stream: Stream, text: &str) {
        if let Some(collector) = &mut self.collector {
            collector.output(stream, text);
        }
    }

    /// Keeps the first submission.
    pub(crate) fn submit(&mut self, submission: Submission) {
        if let Some(collector) = &mut self.collector {
            collector.submit(submission);
        }
    }
}

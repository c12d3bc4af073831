//! The data between a running guest and the host's side of a cell: calls and their results, output,
//! interrupts.
//!
//! Both sides run on the same task and take turns, so the lock is never contended. It only proves that to the
//! compiler.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use abyme_core::{HostCall, HostError, Submission, Value};
use abyme_driver::{
    cell::MAX_CALLS_IN_FLIGHT,
    repl::{Collector, Stream},
};

/// How many bytes the calls in flight of one cell may hold on the host; a single call may be larger.
const MAX_BYTES_IN_FLIGHT: usize = 512 << 20;

/// The host calls of a session's cell. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostCalls(Arc<Mutex<CallsState>>);

/// See [`HostCalls`].
#[derive(Debug, Default)]
pub(crate) struct CallsState {
    /// Calls that the guest started and the host's side did not take yet.
    started: Vec<(u32, HostCall)>,
    /// All calls whose reply was not taken. Mostly there is only one, so a tree is faster than hashing.
    calls: BTreeMap<u32, PendingCall>,
    /// The sum of the sizes of the running calls.
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
    /// Locks the data.
    pub(crate) fn lock(&self) -> MutexGuard<'_, CallsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host's side.
impl CallsState {
    /// Begins a cell. Forgets what an earlier one left.
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

    /// Takes the calls that were started since the last time.
    pub(crate) fn take_started(&mut self) -> Vec<(u32, HostCall)> {
        std::mem::take(&mut self.started)
    }

    /// Sets the result of a call.
    pub(crate) fn finish(&mut self, call: u32, result: Result<Value, HostError>) {
        if let Some(pending) = self.calls.get_mut(&call) {
            self.held -= std::mem::take(&mut pending.size);
            pending.reply = Some(result);
            self.finished.push_back(call);
        }
    }

    /// Requests an interrupt of the guest.
    pub(crate) fn interrupt(&mut self) {
        self.interrupt = true;
    }
}

/// The guest's side.
impl CallsState {
    /// Begins a call of `size` bytes and returns its number; 0 if too many calls are in flight, they hold too
    /// much, or no cell runs.
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

    /// Returns `call` if it is finished; for 0, any finished call that was not reported. A call that does not
    /// exist counts as finished: there is nothing to wait for.
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

    /// Takes the reply of a finished call.
    pub(crate) fn take_reply(&mut self, call: u32) -> Option<Result<Value, HostError>> {
        let reply = self.calls.get_mut(&call)?.reply.take()?;
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

    /// Keeps the first submission.
    pub(crate) fn submit(&mut self, submission: Submission) {
        if let Some(collector) = &mut self.collector {
            collector.submit(submission);
        }
    }
}

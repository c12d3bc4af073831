//! Tool calls on their way to the host and back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abyme::{HostCall, HostError, HostFunctions, Value};
use async_trait::async_trait;
use indexmap::IndexMap;
use tokio::sync::{Notify, oneshot};

use super::{answer, lines::ToolReply, stdio::Writer};

/// Calls that wait for their answers, in the order in which they were written.
#[derive(Debug)]
pub(super) struct Calls {
    writer: Arc<Writer>,
    open: Mutex<Open>,
    opened: Notify,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    /// A call whose cell is over stays until it is answered, so that its answer is not taken for another
    /// call's.
    calls: IndexMap<u64, Option<oneshot::Sender<Result<Value, HostError>>>>,
}

impl Calls {
    pub(super) fn new(writer: Arc<Writer>) -> Self {
        Self { writer, open: Mutex::default(), opened: Notify::new() }
    }

    /// Waits until a call is written.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Whether a running cell waits for an answer.
    pub(super) fn waiting(&self) -> bool {
        self.open().calls.values().any(Option::is_some)
    }

    /// Hands an answer to its call: the one it names, else the first one that was written.
    ///
    /// # Errors
    /// Why there is no such call.
    pub(super) fn answer(&self, answer: ToolReply) -> Result<(), String> {
        let mut open = self.open();
        let id = match answer.id {
            Some(id) => id,
            None => *open.calls.keys().next().ok_or("no tool call is open")?,
        };
        let Some(call) = open.calls.shift_remove(&id) else {
            return Err(format!("no open tool call has the id {id}"));
        };
        if let Some(call) = call {
            // The send fails if the call's cell has ended; the answer is dropped then.
            let _ = call.send(answer.result.map_err(HostError::runtime_error));
        }
        Ok(())
    }

    /// Fails all open calls: after the end of stdin no answer can come.
    pub(super) fn fail_all(&self) {
        for (_, call) in self.open().calls.drain(..) {
            if let Some(call) = call {
                let message = "stdin has ended, so nobody can answer this call";
                let _ = call.send(Err(HostError::new("EOFError", message)));
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HostFunctions for Calls {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let (sender, answered) = oneshot::channel();
        let id = {
            // The order of ids, of waiting calls and of written lines is one.
            let mut open = self.open();
            open.last_id += 1;
            let id = open.last_id;
            open.calls.insert(id, Some(sender));
            self.writer.line(answer::tool_call(id, call));
            id
        };
        self.opened.notify_one();
        let _waiting = OpenCall { calls: self, id };
        answered.await.unwrap_or_else(|_| Err(HostError::runtime_error("the call was given up")))
    }
}

/// Marks a call as not waited for any more when it is dropped.
struct OpenCall<'a> {
    calls: &'a Calls,
    id: u64,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.calls.open().calls.get_mut(&self.id) {
            *call = None;
        }
    }
}

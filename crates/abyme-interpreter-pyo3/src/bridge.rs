//! The bridge between a session's threads and the task that serves them: host calls, submissions and output.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::ThreadId,
};

use abyme_core::{DecodeBudget, HostCall, HostError, Result, Submission, Value};
use abyme_driver::{
    cell::{HeldMemory, MAX_CALLS_IN_FLIGHT},
    repl::{Collector, Stream, submission},
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::{PyCFunction, PyDict, PyString, PyTuple},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    convert::{from_python, text_of, to_python},
    spin::SpinLimit,
};

/// A call from Python, with its number.
pub(crate) type Call = (u64, HostCall);

type Function<'py> = Bound<'py, PyCFunction>;

/// How a call ends for the thread that made it.
#[derive(Debug)]
enum Reply {
    Result(Result<Value, HostError>),
    /// The cell is interrupted: the thread returns to Python, which raises.
    Interrupted,
}

/// The bridge. No thread waits for Python's lock while it holds this one.
#[derive(Debug)]
pub(crate) struct HostBridge {
    state: Mutex<BridgeState>,
    spin: SpinLimit,
    max_message_bytes: u64,
}

#[derive(Debug, Default)]
struct BridgeState {
    /// The cell that runs.
    cell: Option<OpenCell>,
    /// The threads that wait for a reply, by the number of their call.
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    /// The calls that the host has not answered, and what their arguments hold of its memory.
    sizes: HashMap<u64, u64>,
    last: u64,
    /// The thread that runs the cells.
    own_thread: Option<ThreadId>,
    /// The call that this thread waits for.
    own_call: Option<u64>,
}

#[derive(Debug)]
struct OpenCell {
    /// The number of the cell.
    number: u64,
    /// Whether it was interrupted.
    interrupted: bool,
    calls: mpsc::UnboundedSender<Call>,
    /// What the arguments of its calls in flight hold of the host's memory.
    held: HeldMemory,
    collector: Collector,
}

impl HostBridge {
    pub(crate) fn new(spin: SpinLimit, max_message_bytes: u64) -> Self {
        Self { state: Mutex::default(), spin, max_message_bytes }
    }

    /// What the values of one message may take.
    pub(crate) fn budget(&self) -> DecodeBudget {
        DecodeBudget::new(self.max_message_bytes)
    }

    pub(crate) fn spin(&self) -> SpinLimit {
        self.spin
    }

    fn lock(&self) -> MutexGuard<'_, BridgeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the calling thread as the one that runs the cells.
    pub(crate) fn register_thread(&self) {
        self.lock().own_thread = Some(std::thread::current().id());
    }

    /// Begins a cell. Its calls arrive at the receiver.
    pub(crate) fn open(&self, number: u64, collector: Collector) -> mpsc::UnboundedReceiver<Call> {
        let (calls, receiver) = mpsc::unbounded_channel();
        let held = HeldMemory::new(self.max_message_bytes);
        let mut state = self.lock();
        state.sizes.clear();
        state.cell = Some(OpenCell { number, interrupted: false, calls, held, collector });
        receiver
    }

    /// Ends the cell: every thread that still waits gets an error. Returns what the cell printed and
    /// submitted.
    pub(crate) fn close(&self) -> Collector {
        let mut state = self.lock();
        let open = state.cell.take();
        for (_, reply) in std::mem::take(&mut state.waiting) {
            let error = HostError::runtime_error("the cell ended before the call returned");
            let _ = reply.send(Reply::Result(Err(error)));
        }
        open.map_or_else(|| Collector::new(0), |open| open.collector)
    }

    /// Hands a result to the thread that waits for it.
    pub(crate) fn finish(&self, call: u64, result: Result<Value, HostError>) {
        let mut state = self.lock();
        let size = state.sizes.remove(&call).unwrap_or_default();
        if let Some(open) = &mut state.cell {
            open.held.release(size);
        }
        if let Some(reply) = state.waiting.remove(&call) {
            let _ = reply.send(Reply::Result(result));
        }
    }

    /// Sends the thread that runs this cell back to Python if it waits for a call. The cell's other threads
    /// get an error, now and for every later call: the cell's thread may wait for them, and an interrupt
    /// cannot reach it while it does.
    pub(crate) fn interrupt(&self, cell: u64) {
        let mut state = self.lock();
        match &mut state.cell {
            Some(open) if open.number == cell => open.interrupted = true,
            _ => return,
        }
        let own = state.own_call.take();
        for (number, reply) in std::mem::take(&mut state.waiting) {
            let is_own = own == Some(number);
            let _ = reply.send(if is_own { Reply::Interrupted } else { Reply::Result(Err(interrupted())) });
        }
    }

    /// Begins a call whose arguments take `size` bytes.
    fn begin_call(&self, call: HostCall, size: u64) -> Result<oneshot::Receiver<Reply>, HostError> {
        let mut state = self.lock();
        let state = &mut *state;
        let is_own = state.own_thread == Some(std::thread::current().id());
        let ended = || HostError::runtime_error("no cell is running");
        let Some(open) = &mut state.cell else { return Err(ended()) };
        if open.interrupted && !is_own {
            return Err(interrupted());
        }
        if state.sizes.len() >= MAX_CALLS_IN_FLIGHT || !open.held.try_hold(size) {
            return Err(HostError::runtime_error("the call was refused"));
        }
        state.last += 1;
        let number = state.last;
        open.calls.send((number, call)).map_err(|_| ended())?;
        state.sizes.insert(number, size);
        let (reply, receiver) = oneshot::channel();
        state.waiting.insert(number, reply);
        if is_own {
            state.own_call = Some(number);
        }
        Ok(receiver)
    }

    /// Makes a call and waits for its reply. The caller does not hold Python's lock.
    fn call(&self, call: HostCall, size: u64) -> Reply {
        match self.begin_call(call, size) {
            Ok(mut receiver) => match self.spin.spin(|| receiver.try_recv().ok()) {
                Some(reply) => reply,
                None => receiver.blocking_recv().unwrap_or(Reply::Interrupted),
            },
            Err(error) => Reply::Result(Err(error)),
        }
    }

    fn submit(&self, submission: Submission) {
        if let Some(open) = &mut self.lock().cell {
            open.collector.submit(submission);
        }
    }

    fn output(&self, stream: Stream, text: &str) {
        if let Some(open) = &mut self.lock().cell {
            open.collector.output(stream, text);
        }
    }
}

fn interrupted() -> HostError {
    HostError::new("KeyboardInterrupt", "the cell was interrupted")
}

/// The functions `call(name, args, kwargs)`, `submit(via, fields, value)` and `output(stream, text)` for
/// Python.
pub(crate) fn functions<'py>(
    py: Python<'py>,
    bridge: &Arc<HostBridge>,
) -> PyResult<(Function<'py>, Function<'py>, Function<'py>)> {
    let (for_calls, for_submissions, for_output) = (bridge.clone(), bridge.clone(), bridge.clone());
    let call = PyCFunction::new_closure(py, Some(c"call"), None, move |args, _| call(&for_calls, args))?;
    let submit =
        PyCFunction::new_closure(py, Some(c"submit"), None, move |args, _: Option<&Bound<'_, PyDict>>| {
            submit(&for_submissions, args)
        })?;
    let output =
        PyCFunction::new_closure(py, Some(c"output"), None, move |args, _: Option<&Bound<'_, PyDict>>| {
            output(&for_output, args)
        })?;
    Ok((call, submit, output))
}

/// Returns `(True, value)`, `(False, (type, message))`, or `None` if the cell is interrupted.
fn call(bridge: &HostBridge, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = args.py();
    let name = args.get_item(0)?;
    let name = text_of(name.cast::<PyString>()?);
    let mut budget = bridge.budget();
    let mut plain = |index: usize| {
        from_python(&args.get_item(index)?, &mut budget)
            .map_err(|problem| PyValueError::new_err(problem.to_string()))
    };
    let (Value::List(positional), Value::Dict(by_name)) = (plain(1)?, plain(2)?) else {
        return Err(PyValueError::new_err("a call's arguments are a list and a dict"));
    };
    let call = HostCall::new(name).args(positional).kwargs(by_name);
    let size = budget.used();
    match py.detach(|| bridge.call(call, size)) {
        Reply::Result(Ok(value)) => Ok((true, to_python(py, &value)?).into_pyobject(py)?.into_any().unbind()),
        Reply::Result(Err(error)) => {
            Ok((false, (error.type_name, error.message)).into_pyobject(py)?.into_any().unbind())
        }
        Reply::Interrupted => Ok(py.None()),
    }
}

fn submit(bridge: &HostBridge, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let via = text_of(args.get_item(0)?.cast::<PyString>()?);
    let mut budget = bridge.budget();
    let mut plain = |index: usize| {
        from_python(&args.get_item(index)?, &mut budget)
            .map_err(|problem| PyValueError::new_err(problem.to_string()))
    };
    let taken = submission(&via, Some(plain(1)?), plain(2)?).map_err(PyRuntimeError::new_err)?;
    bridge.submit(taken);
    Ok(())
}

fn output(bridge: &HostBridge, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let name = args.get_item(0)?;
    let stream = if name.cast::<PyString>()?.to_str()? == "stderr" { Stream::Stderr } else { Stream::Stdout };
    let text = args.get_item(1)?;
    let text = text.cast::<PyString>()?;
    match text.to_str() {
        Ok(text) => bridge.output(stream, text),
        Err(_) => bridge.output(stream, &text_of(text)),
    }
    Ok(())
}

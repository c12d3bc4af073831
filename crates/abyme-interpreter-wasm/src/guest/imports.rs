//! The imports of the module `abyme`: besides WASI, all that a guest can call of its host. `GUEST.md` of
//! `abyme-python-wasm` describes them.
//!
//! Everything that a guest passes is checked; [`InvalidMessage`] ends the guest.
//!
//! In a cell that is replayed, each answers what it answered when the cell was recorded, and has no effect
//! but on the guest.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use abyme_core::{DecodeBudget, DecodeProblem, HostCall, OverBudget, Value};
use abyme_driver::repl::{Stream, submission};
use abyme_wasi::{Differs, function_number};
use bytes::Bytes;
use tokio::task::yield_now;
use wasmtime::{Caller, Linker};

use crate::guest::{
    calls::HostCalls,
    marshal::{Encoder, LongObject, decode},
    pystr::pieces,
    request::{GuestMessage, is_too_large},
    state::GuestState,
};

#[cfg(test)]
mod tests;

const MODULE: &str = "abyme";
/// How many bytes of a long object are written before other tasks have their turn.
const PART: usize = 4 << 20;

/// The guest sent a message that no guest of this crate sends.
#[derive(Debug)]
pub(crate) struct InvalidMessage(pub(crate) String);

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidMessage {}

fn invalid(what: impl Into<String>) -> wasmtime::Error {
    wasmtime::Error::new(InvalidMessage(what.into()))
}

/// The numbers of the imports, for the journal.
mod function {
    use super::function_number;

    pub(super) const REQUEST: u64 = function_number("request");
    pub(super) const ANSWER: u64 = function_number("answer");
    pub(super) const START: u64 = function_number("start");
    pub(super) const WAIT: u64 = function_number("wait");
    pub(super) const REPLY: u64 = function_number("reply");
    pub(super) const RAW: u64 = function_number("raw");
    pub(super) const COPY: u64 = function_number("copy");
    pub(super) const LONGS: u64 = function_number("longs");
    pub(super) const LONG: u64 = function_number("long");
    pub(super) const FILL: u64 = function_number("fill");
    pub(super) const OUTPUT: u64 = function_number("output");
    pub(super) const SUBMIT: u64 = function_number("submit");
}

/// Adds all imports of the module.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "request", |mut caller: Caller<'_, GuestState>| {
        let guest = caller.data_mut();
        guest.note(function::REQUEST, &[]);
        guest.prepared = std::mem::take(&mut guest.request);
        guest.prepared.size()
    })?;
    linker.func_wrap(MODULE, "answer", answer)?;
    linker.func_wrap(MODULE, "start", start)?;
    linker.func_wrap_async(MODULE, "wait", |caller, arguments| Box::new(wait(caller, arguments)))?;
    linker.func_wrap(MODULE, "reply", reply)?;
    linker.func_wrap(MODULE, "raw", raw)?;
    linker.func_wrap(MODULE, "copy", copy)?;
    linker.func_wrap(MODULE, "longs", |mut caller: Caller<'_, GuestState>| {
        let guest = caller.data_mut();
        guest.note(function::LONGS, &[]);
        u32::try_from(guest.prepared.longs.len()).unwrap_or(u32::MAX)
    })?;
    linker.func_wrap(MODULE, "long", long)?;
    linker.func_wrap_async(MODULE, "fill", |caller, arguments| Box::new(fill(caller, arguments)))?;
    linker.func_wrap(MODULE, "output", output)?;
    linker.func_wrap(MODULE, "submit", submit)?;
    Ok(())
}

/// Returns `size` bytes of the guest's memory at `at`, and the guest's state.
fn slice<'a>(
    caller: &'a mut Caller<'_, GuestState>,
    at: u32,
    size: usize,
) -> wasmtime::Result<(&'a mut [u8], &'a mut GuestState)> {
    let memory = caller.data().memory()?;
    let (memory, guest) = memory.data_and_store_mut(caller);
    let end = (at as usize).checked_add(size).filter(|end| *end <= memory.len());
    match end {
        Some(end) => Ok((&mut memory[at as usize..end], guest)),
        None => Err(invalid("an address outside of its memory")),
    }
}

/// Decodes a value of the guest. The inner error is that it is too large, which the guest survives.
fn bounded(
    data: &[u8],
    budget: &mut DecodeBudget,
    what: &str,
) -> wasmtime::Result<Result<Value, OverBudget>> {
    match decode(data, budget) {
        Ok(value) => Ok(Ok(value)),
        Err(DecodeProblem::TooLarge(problem)) => Ok(Err(problem)),
        Err(DecodeProblem::Invalid(problem)) => Err(invalid(format!("a bad {what}: {problem}"))),
    }
}

/// A value of the guest that must be a list of `N` items.
fn items<const N: usize>(value: Value, what: &str) -> wasmtime::Result<[Value; N]> {
    let Value::List(items) = value else { return Err(invalid(format!("a {what} that is no tuple"))) };
    items.try_into().map_err(|_| invalid(format!("a {what} of another length")))
}

fn answer(mut caller: Caller<'_, GuestState>, at: u32, size: u32) -> wasmtime::Result<()> {
    let (data, guest) = slice(&mut caller, at, size as usize)?;
    guest.note_data(function::ANSWER, at.into(), data);
    if guest.wasi.journal().is_replaying() {
        guest.answer = Some(Ok(Value::None));
        return Ok(());
    }
    let mut budget = guest.calls.lock().budget();
    guest.answer = Some(bounded(data, &mut budget, "answer")?);
    Ok(())
}

fn start(mut caller: Caller<'_, GuestState>, at: u32, size: u32) -> wasmtime::Result<u32> {
    let (data, guest) = slice(&mut caller, at, size as usize)?;
    guest.note_data(function::START, at.into(), data);
    if let Some(number) = guest.wasi.journal().replayed_number() {
        return Ok(number? as u32);
    }
    let number = start_call(data, &guest.calls)?;
    guest.wasi.journal().keep_number(number.into());
    Ok(number)
}

/// Begins the call that the guest sent and returns its number.
fn start_call(data: &[u8], calls: &HostCalls) -> wasmtime::Result<u32> {
    let mut calls = calls.lock();
    let mut budget = calls.budget();
    let value = match bounded(data, &mut budget, "call")? {
        Ok(value) => value,
        Err(problem) => return Ok(calls.start_too_large(problem)),
    };
    let [name, args, kwargs] = items(value, "call")?;
    let (Some(name), Value::List(args), Value::Dict(kwargs)) = (name.as_text(), args, kwargs) else {
        return Err(invalid("a call that is none"));
    };
    Ok(calls.start(HostCall::new(name).args(args).kwargs(kwargs), budget.used()))
}

/// Waits without holding a thread: the fiber of the guest is suspended, and polling the cell polls this
/// future.
async fn wait(mut caller: Caller<'_, GuestState>, (call, seconds): (u32, f64)) -> wasmtime::Result<u32> {
    let guest = caller.data_mut();
    guest.note(function::WAIT, &[call.into(), seconds.to_bits()]);
    let limit = (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    if let Some(told) = guest.wasi.journal().replayed_number() {
        let told = told? as u32;
        if let (0, Some(limit)) = (told, limit) {
            guest.wasi.slept(limit);
        }
        return Ok(told);
    }
    let calls = guest.calls.clone();
    // Calls that are finished at once need no timer.
    let mut sleep = pin!(futures_util::future::OptionFuture::from(limit.map(sleep)));
    let finished = poll_fn(|context| {
        let mut calls = calls.lock();
        if let Some(finished) = calls.finished(call) {
            return Poll::Ready(Some(finished));
        }
        if calls.take_interrupt() {
            return Poll::Ready(None);
        }
        drop(calls);
        match limit {
            Some(_) => sleep.as_mut().poll(context).map(|_| Some(0)),
            None => Poll::Pending,
        }
    })
    .await;
    calls.lock().stop_waiting();
    let guest = caller.data_mut();
    if let (Some(0), Some(limit)) = (finished, limit) {
        guest.wasi.slept(limit);
    }
    guest.wasi.journal().keep_number(finished.unwrap_or_default().into());
    match finished {
        Some(call) => Ok(call),
        None => {
            GuestState::interrupt(&mut caller)?;
            Ok(0)
        }
    }
}

async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn reply(mut caller: Caller<'_, GuestState>, call: u32) -> wasmtime::Result<i32> {
    let guest = caller.data_mut();
    guest.note(function::REPLY, &[call.into()]);
    let reply = if guest.wasi.journal().is_replaying() {
        guest.replies.next().ok_or(Differs)?
    } else {
        let reply = take_reply(guest, call);
        guest.replies.keep(&mut guest.wasi, reply.as_ref());
        reply
    };
    let Some(reply) = reply else { return Ok(-1) };
    guest.prepared = reply;
    Ok(guest.prepared.size())
}

/// Takes the reply of a finished call, as the guest gets it.
fn take_reply(guest: &GuestState, call: u32) -> Option<GuestMessage> {
    let result = guest.calls.lock().take_reply(call)?;
    let mut encoder = Encoder::default();
    let limit = guest.memory_limit_bytes as u64;
    let encoded = match &result {
        // Encoding it would hold up the cell's time limit, for nothing.
        Ok(value) if is_too_large(value, limit) => {
            failure(&mut encoder, "MemoryError", "the result does not fit the session's memory")
        }
        Ok(value) => encoder.begin_tuple(2).and_then(|()| {
            encoder.bool(true);
            encoder.value(value)
        }),
        Err(error) => failure(&mut encoder, &error.type_name, &error.message),
    };
    if let Err(problem) = encoded {
        encoder = Encoder::default();
        // Two short texts always fit.
        let _ = failure(&mut encoder, "RuntimeError", &format!("the result cannot be sent: {problem}"));
    }
    Some(encoder.into())
}

fn failure(encoder: &mut Encoder, type_name: &str, message: &str) -> Result<(), String> {
    encoder.begin_tuple(2)?;
    encoder.bool(false);
    encoder.begin_list(2)?;
    encoder.text(type_name)?;
    encoder.value(&Value::from(message))
}

/// Prepares what was written to a descriptor since the last time.
fn raw(mut caller: Caller<'_, GuestState>, stream: u32) -> wasmtime::Result<i32> {
    let guest = caller.data_mut();
    guest.note(function::RAW, &[stream.into()]);
    let Some(output) = guest.wasi.take_output(stream as usize) else { return Ok(0) };
    let mut encoder = Encoder::default();
    let bytes = |bytes: Vec<u8>| Value::Bytes(Bytes::from(bytes));
    let encoded = encoder.begin_tuple(3).and_then(|()| {
        encoder.value(&bytes(output.head))?;
        encoder.int(i64::try_from(output.omitted_chars).unwrap_or(i64::MAX))?;
        encoder.value(&bytes(output.tail))
    });
    encoded.map_err(invalid)?;
    guest.prepared = encoder.into();
    Ok(guest.prepared.size())
}

fn copy(mut caller: Caller<'_, GuestState>, to: u32) -> wasmtime::Result<()> {
    let guest = caller.data_mut();
    guest.note(function::COPY, &[to.into()]);
    let data = std::mem::take(&mut guest.prepared.data);
    let (memory, _) = slice(&mut caller, to, data.len())?;
    memory.copy_from_slice(&data);
    Ok(())
}

fn long(mut caller: Caller<'_, GuestState>, at: u32, to: u32) -> wasmtime::Result<()> {
    let (memory, guest) = slice(&mut caller, to, 8)?;
    guest.note(function::LONG, &[at.into(), to.into()]);
    let (len, max_char) = match guest.prepared.longs.get(at as usize) {
        Some(LongObject::Text(_, layout)) => (layout.chars, layout.max_char),
        Some(LongObject::Bytes(bytes)) => (bytes.len(), 0),
        None => return Err(invalid("a question for a long object that there is not")),
    };
    // Lengths were checked when the message was made.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    memory[..4].copy_from_slice(&len.to_le_bytes());
    memory[4..].copy_from_slice(&max_char.to_le_bytes());
    Ok(())
}

/// Writes a long object into the guest's memory. Other tasks of the thread have their turn in between.
async fn fill(mut caller: Caller<'_, GuestState>, (at, to): (u32, u32)) -> wasmtime::Result<()> {
    let missing = || invalid("a question for a long object that there is not");
    let guest = caller.data_mut();
    guest.note(function::FILL, &[at.into(), to.into()]);
    let long = guest.prepared.longs.get(at as usize).cloned().ok_or_else(missing)?;
    match long {
        LongObject::Text(text, layout) => {
            let mut written = 0;
            for part in pieces(&text, PART) {
                if written > 0 {
                    yield_now().await;
                }
                let start = Instant::now();
                let (memory, guest) = slice(&mut caller, to, layout.size())?;
                written += layout.write(part, &mut memory[written..]);
                guest.filling += start.elapsed();
            }
            let guest = caller.data_mut();
            // Of the results of calls there may be any number, and the host need not keep them.
            if layout.is_utf8() && guest.prepared.is_cell {
                guest.placed.insert(to as usize, text.to_bytes());
            }
        }
        LongObject::Bytes(bytes) => {
            for (number, part) in bytes.chunks(PART).enumerate() {
                if number > 0 {
                    yield_now().await;
                }
                let start = Instant::now();
                let (memory, guest) = slice(&mut caller, to, bytes.len())?;
                memory[number * PART..][..part.len()].copy_from_slice(part);
                guest.filling += start.elapsed();
            }
        }
    }
    Ok(())
}

fn output(mut caller: Caller<'_, GuestState>, stream: u32, at: u32, size: u32) -> wasmtime::Result<()> {
    let (data, guest) = slice(&mut caller, at, size as usize)?;
    guest.note_data(function::OUTPUT, stream.into(), data);
    if guest.wasi.journal().is_replaying() {
        return Ok(());
    }
    let stream = if stream == 0 { Stream::Stdout } else { Stream::Stderr };
    let text = std::str::from_utf8(data).map_err(|_| invalid("output that is not UTF-8"))?;
    guest.calls.lock().output(stream, text);
    Ok(())
}

fn submit(mut caller: Caller<'_, GuestState>, at: u32, size: u32) -> wasmtime::Result<()> {
    let (data, guest) = slice(&mut caller, at, size as usize)?;
    guest.note_data(function::SUBMIT, at.into(), data);
    if guest.wasi.journal().is_replaying() {
        return Ok(());
    }
    let mut budget = guest.calls.lock().budget();
    let value = match bounded(data, &mut budget, "submission")? {
        Ok(value) => value,
        Err(problem) => {
            guest.calls.lock().refuse_submission(problem);
            return Ok(());
        }
    };
    let [via, fields, value] = items(value, "submission")?;
    let via = via.as_text().unwrap_or_default();
    let submission = submission(via, Some(fields), value).map_err(invalid)?;
    guest.calls.lock().submit(submission);
    Ok(())
}

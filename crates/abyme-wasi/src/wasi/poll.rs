//! Waiting: `poll_oneoff`, which is all that sleeping is made of.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use wasmtime::Caller;

use super::{HasWasi, Wasi, descriptors::Descriptor, memory::GuestMemory, number, parts};
use crate::fs::Errno;

/// The most things waited for at once.
const MAX_WANTED: u32 = 1024;
/// Bytes of a `subscription`, and of an `event`.
const WANTED: u32 = 48;
const EVENT: u32 = 32;

/// What is waited for.
struct Wanted {
    /// Given back as it came.
    mark: u64,
    kind: u8,
    /// When it will be there, from now; zero if it is. An error is there at once.
    due: Result<Duration, Errno>,
}

/// Waits until something that is wanted is there. No thread is held meanwhile, and an interrupt ends it: see
/// [`HasWasi::take_interrupt`].
pub(super) async fn poll_oneoff<T: HasWasi>(
    caller: &mut Caller<'_, T>,
    wanted: u32,
    events: u32,
    count: u32,
    result: u32,
) -> wasmtime::Result<u32> {
    let (wasi, memory) = parts(caller)?;
    let wanted = match wanted_at(wasi, &memory, wanted, events, count) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(number(Err(error))),
    };
    let due = wanted.iter().map(|wanted| wanted.due.unwrap_or_default()).min().unwrap_or_default();
    if !due.is_zero() {
        sleep(caller, due).await;
    }
    let (_, mut memory) = parts(caller)?;
    Ok(number(put_events(&mut memory, &wanted, due, events, result)))
}

/// Sleeps, asking for an interrupt each time it is polled. A duration beyond all reason is some decades.
async fn sleep<T: HasWasi>(caller: &mut Caller<'_, T>, duration: Duration) {
    let mut sleep = pin!(tokio::time::sleep(duration));
    poll_fn(|context| {
        if T::take_interrupt(caller) {
            return Poll::Ready(());
        }
        sleep.as_mut().poll(context)
    })
    .await;
}

/// Reads what is wanted, and checks that there is room for the answer.
fn wanted_at(
    wasi: &Wasi,
    memory: &GuestMemory<'_>,
    wanted: u32,
    events: u32,
    count: u32,
) -> Result<Vec<Wanted>, Errno> {
    if !(1..=MAX_WANTED).contains(&count) {
        return Err(Errno::Invalid);
    }
    memory.bytes(wanted, count * WANTED)?;
    memory.bytes(events, count * EVENT)?;
    (0..count).map(|index| Wanted::read(wasi, memory, wanted + index * WANTED)).collect()
}

/// Writes an event for all that is there after `passed`.
fn put_events(
    memory: &mut GuestMemory<'_>,
    wanted: &[Wanted],
    passed: Duration,
    events: u32,
    result: u32,
) -> Result<(), Errno> {
    let mut count = 0;
    for wanted in
        wanted.iter().filter(|wanted| wanted.due.is_ok_and(|due| due <= passed) || wanted.due.is_err())
    {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&wanted.mark.to_le_bytes());
        event[8..10].copy_from_slice(&wanted.due.map_or_else(|error| error as u16, |_| 0).to_le_bytes());
        event[10] = wanted.kind;
        memory.put(events + count * EVENT, &event)?;
        count += 1;
    }
    memory.put_u32(result, count)
}

impl Wanted {
    /// Reads one; the bytes are known to be there.
    fn read(wasi: &Wasi, memory: &GuestMemory<'_>, at: u32) -> Result<Self, Errno> {
        let mark = memory.u64(at)?;
        let kind = memory.bytes(at + 8, 1)?[0];
        let due = match kind {
            0 => clock(wasi, memory.u32(at + 16)?, memory.u64(at + 24)?, memory.u16(at + 40)? & 1 != 0),
            1 | 2 => ready(wasi, memory.u32(at + 16)?, kind == 2),
            _ => return Err(Errno::Invalid),
        };
        Ok(Self { mark, kind, due })
    }
}

/// How long until a clock shows `time`, or until `time` has passed.
fn clock(wasi: &Wasi, id: u32, time: u64, absolute: bool) -> Result<Duration, Errno> {
    let now = wasi.clock.read(id)?;
    Ok(Duration::from_nanos(if absolute { time.saturating_sub(now) } else { time }))
}

/// Files never let anyone wait; only whether the descriptor is one for that can be wrong.
fn ready(wasi: &Wasi, fd: u32, to_write: bool) -> Result<Duration, Errno> {
    let open = match wasi.descriptors.get(fd)? {
        Descriptor::Input => !to_write,
        Descriptor::Output(_) => to_write,
        Descriptor::Open(open) => {
            if to_write {
                open.write
            } else {
                open.read
            }
        }
    };
    if open { Ok(Duration::ZERO) } else { Err(Errno::BadFile) }
}

//! Waiting: `poll_oneoff`, of which libc makes every sleep.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use wasmtime::Caller;

use super::{Call, HasWasi, error_number};
use crate::{
    fs::Errno,
    preview1::{descriptors::Descriptor, journal::function_number, memory::GuestMemory, system::Wasi},
};

/// The most subscriptions of one call.
const MAX_SUBSCRIPTIONS: u32 = 1024;
/// Bytes of a `subscription`.
const SUBSCRIPTION: u32 = 48;
/// Bytes of an `event`.
const EVENT: u32 = 32;

/// What a guest waits for.
struct Subscription {
    /// Given back to the guest unchanged.
    user_data: u64,
    kind: u8,
    /// The time until it is ready. An error is ready at once.
    due: Result<Duration, Errno>,
}

/// Waits until one of the subscriptions is ready. Holds no thread meanwhile. An interrupt ends the wait: see
/// [`HasWasi::take_interrupt`].
pub(in crate::preview1) async fn poll_oneoff<T: HasWasi>(
    caller: &mut Caller<'_, T>,
    subscriptions: u32,
    events: u32,
    count: u32,
    result: u32,
) -> wasmtime::Result<u32> {
    let Call { wasi, memory } = Call::of(caller)?;
    let passed = [subscriptions, events, count, result].map(u64::from);
    let function = const { function_number("poll_oneoff") };
    wasi.journal.note(function, &passed);
    let subscriptions = match read_subscriptions(wasi, &memory, subscriptions, events, count) {
        Ok(subscriptions) => subscriptions,
        Err(error) => {
            let answer = error_number(Err(error));
            wasi.journal.note(function, &[answer.into()]);
            return Ok(answer);
        }
    };
    let due = subscriptions.iter().map(|one| one.due.unwrap_or_default()).min().unwrap_or_default();
    if !due.is_zero() && !wasi.journal.is_replaying() {
        sleep(caller, due).await;
    }
    let Call { wasi, mut memory } = Call::of(caller)?;
    wasi.clock.slept(due);
    let answer = error_number(put_events(&mut memory, &subscriptions, due, events, result));
    wasi.journal.note(function, &[answer.into()]);
    Ok(answer)
}

/// Sleeps, and looks for an interrupt each time it is polled. Tokio shortens a longer duration to some
/// decades.
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

/// Reads the subscriptions, and checks that the memory has room for the events.
fn read_subscriptions(
    wasi: &mut Wasi,
    memory: &GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
) -> Result<Vec<Subscription>, Errno> {
    if !(1..=MAX_SUBSCRIPTIONS).contains(&count) {
        return Err(Errno::Invalid);
    }
    memory.bytes(subscriptions, count * SUBSCRIPTION)?;
    memory.bytes(events, count * EVENT)?;
    (0..count).map(|index| Subscription::read(wasi, memory, subscriptions + index * SUBSCRIPTION)).collect()
}

/// Writes an event for each subscription that is ready after `elapsed`.
fn put_events(
    memory: &mut GuestMemory<'_>,
    subscriptions: &[Subscription],
    elapsed: Duration,
    events: u32,
    result: u32,
) -> Result<(), Errno> {
    let mut count = 0;
    for ready in
        subscriptions.iter().filter(|one| one.due.is_err() || one.due.is_ok_and(|due| due <= elapsed))
    {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&ready.user_data.to_le_bytes());
        event[8..10].copy_from_slice(&ready.due.map_or_else(|error| error as u16, |_| 0).to_le_bytes());
        event[10] = ready.kind;
        memory.put(events + count * EVENT, &event)?;
        count += 1;
    }
    memory.put_u32(result, count)
}

impl Subscription {
    /// Reads one. The caller has checked that its bytes are inside the memory.
    fn read(wasi: &mut Wasi, memory: &GuestMemory<'_>, at: u32) -> Result<Self, Errno> {
        let user_data = memory.u64(at)?;
        let kind = memory.bytes(at + 8, 1)?[0];
        let due = match kind {
            0 => clock(wasi, memory.u32(at + 16)?, memory.u64(at + 24)?, memory.u16(at + 40)? & 1 != 0),
            1 | 2 => {
                wasi.forget_mounts();
                ready(wasi, memory.u32(at + 16)?, kind == 2)
            }
            _ => return Err(Errno::Invalid),
        };
        Ok(Self { user_data, kind, due })
    }
}

/// The duration until a clock reaches `time`; if `time` is not absolute, it is the duration.
fn clock(wasi: &mut Wasi, id: u32, time: u64, absolute: bool) -> Result<Duration, Errno> {
    let now = wasi.time(id)?;
    Ok(Duration::from_nanos(if absolute { time.saturating_sub(now) } else { time }))
}

/// Files are always ready. Fails if the descriptor is not open for this direction.
fn ready(wasi: &Wasi, fd: u32, to_write: bool) -> Result<Duration, Errno> {
    let is_open = match wasi.descriptors.get(fd)? {
        Descriptor::Input => !to_write,
        Descriptor::Output(_) => to_write,
        Descriptor::Open(open) if to_write => open.write,
        Descriptor::Open(open) => open.read,
    };
    if is_open { Ok(Duration::ZERO) } else { Err(Errno::BadFile) }
}

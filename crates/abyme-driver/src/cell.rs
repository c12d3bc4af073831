//! A running cell, seen from the host: serves its calls and keeps its time limit (contract clauses C10, C12,
//! C13).
//!
//! A backend says how its cells move, as a [`RunningCell`]; [`drive`] does the rest. Everything happens on
//! the task of the caller: there is no task and no thread per cell or per call.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use abyme_core::{Cell, HostCall, HostError, HostFunctions, Result, Value};
use async_trait::async_trait;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::repl::GivenTexts;

/// Calls of one cell that may be in flight at once. Further ones are refused, one by one.
pub const MAX_CALLS_IN_FLIGHT: usize = 10_000;

/// Events that are handled before other tasks of the same thread have their turn.
const MAX_EVENTS_PER_TURN: usize = 64;

/// Stands for "no limit": longer than any process lives.
const NO_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A cell of one backend while it runs.
pub trait RunningCell: Send {
    /// What the backend learns when the cell ends.
    type End;

    /// Moves the cell on and returns what happened next. `Pending` as for any future: the context's waker is
    /// woken when there is more.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CellEvent<Self::End>>;

    /// Hands the result of a call to the cell.
    fn answer(&mut self, call: u64, result: Result<Value, HostError>);

    /// Whether the cell can be handed results. If it cannot, its calls are left alone until it can, so that
    /// results which it does not take do not fill the host's memory. Asked after each
    /// [`poll_event`](Self::poll_event). True by default.
    fn takes_answers(&self) -> bool {
        true
    }

    /// Raises `KeyboardInterrupt` in the cell. Returns whether that could be done. Must not block.
    fn interrupt(&mut self) -> bool;

    /// Called when the future that drives the cell is dropped. Interrupts the cell by default, so that it
    /// does not run on until the next call.
    fn cancel(&mut self) {
        self.interrupt();
    }
}

/// What happens in a running cell.
#[derive(Debug)]
pub enum CellEvent<E> {
    /// The code calls a host function.
    Call {
        /// The call's number, unique among the cell's calls in flight.
        id: u64,
        /// The function and its arguments.
        call: HostCall,
    },
    /// Something else arrived, such as output, and more may be there.
    Progress,
    /// Nothing arrived, but the cell expects something within microseconds and has no call in flight: it is
    /// polled again as soon as other tasks had their turn.
    Spin,
    /// The cell ended.
    Ended(E),
}

/// How a cell ended, for the host.
#[derive(Debug)]
pub enum CellEnd<E> {
    /// It came to its end.
    Ended {
        /// What the backend learned.
        end: E,
        /// Whether it was interrupted at its time limit before.
        interrupted: bool,
    },
    /// It ran over its time limit and did not stop when it was interrupted. It must be killed.
    TimedOut,
}

/// Runs a cell to its end: serves its calls with `host` and interrupts it when `timer` says so, whose clock
/// stands still during calls that [stop](HostFunctions::stops_clock) it. `given` has the texts that the calls
/// name by number.
///
/// If this future is dropped, the cell is [cancelled](RunningCell::cancel) and can be driven again.
pub async fn drive<C: RunningCell>(
    cell: &mut C,
    host: &dyn HostFunctions,
    given: &GivenTexts,
    mut timer: InterruptTimer,
) -> CellEnd<C::End> {
    let mut guard = CancelOnDrop { cell, armed: true };
    let mut calls = FuturesUnordered::new();
    let mut alarm = pin!(sleep_until(timer.deadline()));
    let end = loop {
        let ended = poll_fn(|context| {
            for _ in 0..MAX_EVENTS_PER_TURN {
                let mut progress = true;
                match guard.cell.poll_event(context) {
                    Poll::Ready(CellEvent::Ended(end)) => return Poll::Ready(Some(end)),
                    Poll::Ready(CellEvent::Call { id, mut call }) if calls.len() < MAX_CALLS_IN_FLIGHT => {
                        if let Err(error) = given.put_back(&mut call) {
                            guard.cell.answer(id, Err(error));
                            continue;
                        }
                        let stops_clock = host.stops_clock(&call);
                        if stops_clock && timer.stop() {
                            alarm.as_mut().reset(timer.deadline());
                        }
                        calls.push(serve(host, id, call, stops_clock));
                    }
                    Poll::Ready(CellEvent::Call { id, .. }) => {
                        guard.cell.answer(id, Err(HostError::runtime_error("the call was refused")));
                    }
                    Poll::Ready(CellEvent::Progress) => {}
                    Poll::Ready(CellEvent::Spin) => {
                        // This wakes the task once others had their turn. The time limit can wait that long.
                        let _ = pin!(yield_now()).poll(context);
                        return Poll::Pending;
                    }
                    Poll::Pending => progress = false,
                }
                while guard.cell.takes_answers()
                    && let Poll::Ready(Some((id, result, stopped_clock))) = calls.poll_next_unpin(context)
                {
                    if stopped_clock && timer.go_on() {
                        alarm.as_mut().reset(timer.deadline());
                    }
                    guard.cell.answer(id, result);
                    progress = true;
                }
                if !progress {
                    return alarm.as_mut().poll(context).map(|()| None);
                }
            }
            // A cell whose calls are answered at once must not keep the thread to itself.
            context.waker().wake_by_ref();
            alarm.as_mut().poll(context).map(|()| None)
        })
        .await;
        match ended {
            Some(end) => break CellEnd::Ended { end, interrupted: timer.interrupted() },
            None if timer.advance() && guard.cell.interrupt() => alarm.as_mut().reset(timer.deadline()),
            None => break CellEnd::TimedOut,
        }
    };
    guard.armed = false;
    end
}

async fn serve(
    host: &dyn HostFunctions,
    id: u64,
    call: HostCall,
    stops_clock: bool,
) -> (u64, Result<Value, HostError>, bool) {
    (id, host.call(call).await, stops_clock)
}

/// Cancels a cell whose future is dropped.
struct CancelOnDrop<'a, C: RunningCell> {
    cell: &'a mut C,
    armed: bool,
}

impl<C: RunningCell> Drop for CancelOnDrop<'_, C> {
    fn drop(&mut self) {
        if self.armed {
            self.cell.cancel();
        }
    }
}

/// When to interrupt a cell and when to give up on it: it is interrupted at its time limit and once more
/// half-way through the grace, and killed after that (contract clause C10).
#[derive(Debug)]
pub struct InterruptTimer {
    /// When the clock has run down, if it does not stand still.
    deadline: Instant,
    /// When the cell has to be over, whether its clock stands still or not.
    latest: Instant,
    grace: Duration,
    interrupts: u32,
    /// Calls in flight during which the clock stands still, and what was left on it when the first began.
    stopped: Option<(usize, Duration)>,
}

impl InterruptTimer {
    /// For a cell that begins now, and may go on for `grace` after it was interrupted.
    pub fn new(cell: &Cell, grace: Duration) -> Self {
        Self::within(cell.timeout, cell.total_timeout, grace)
    }

    fn within(timeout: Option<Duration>, total_timeout: Option<Duration>, grace: Duration) -> Self {
        let now = Instant::now();
        let after = |limit: Option<Duration>| {
            limit.and_then(|limit| now.checked_add(limit)).unwrap_or(now + NO_TIMEOUT)
        };
        Self { deadline: after(timeout), latest: after(total_timeout), grace, interrupts: 0, stopped: None }
    }

    /// For a cell that was cancelled, and is interrupted at once.
    pub fn expired(grace: Duration) -> Self {
        Self::within(Some(Duration::ZERO), None, grace)
    }

    /// When to call [`advance`](Self::advance).
    fn deadline(&self) -> Instant {
        match self.stopped {
            _ if self.interrupts > 0 => self.deadline,
            Some(_) => self.latest,
            None => self.deadline.min(self.latest),
        }
    }

    /// Stops the clock for one more call. Returns whether that changed the deadline: a cell that was
    /// interrupted has no time to wait.
    fn stop(&mut self) -> bool {
        match &mut self.stopped {
            Some((calls, _)) => *calls += 1,
            None => self.stopped = Some((1, self.deadline.saturating_duration_since(Instant::now()))),
        }
        self.interrupts == 0 && matches!(self.stopped, Some((1, _)))
    }

    /// Lets the clock go on after the end of a call that stopped it. Returns whether that changed the
    /// deadline.
    fn go_on(&mut self) -> bool {
        let Some((calls, left)) = &mut self.stopped else { return false };
        *calls -= 1;
        if *calls > 0 {
            return false;
        }
        let now = Instant::now();
        if self.interrupts == 0 {
            self.deadline = now.checked_add(*left).unwrap_or(now + NO_TIMEOUT);
        }
        self.stopped = None;
        self.interrupts == 0
    }

    /// Advances the timer. Returns whether the cell must be interrupted now; `false` means that it must be
    /// killed.
    fn advance(&mut self) -> bool {
        if self.interrupts == 2 {
            return false;
        }
        self.interrupts += 1;
        let now = Instant::now();
        self.deadline = now.checked_add(self.grace / 2).unwrap_or(now + NO_TIMEOUT);
        true
    }

    /// Whether the cell has been interrupted.
    fn interrupted(&self) -> bool {
        self.interrupts > 0
    }
}

/// What the calls of a cell may hold of the host's memory together, such as the arguments of those in flight.
#[derive(Debug)]
pub struct HeldMemory {
    max_bytes: u64,
    held: u64,
}

impl HeldMemory {
    /// Nothing is held yet, of so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, held: 0 }
    }

    /// Holds so many bytes more, if they fit. Where nothing else is held, anything fits: what is too large by
    /// itself is refused where it is decoded.
    pub fn try_hold(&mut self, bytes: u64) -> bool {
        let fits = self.held == 0 || self.held.saturating_add(bytes) <= self.max_bytes;
        if fits {
            self.hold(bytes);
        }
        fits
    }

    /// Holds so many bytes more, whether they fit or not.
    pub fn hold(&mut self, bytes: u64) {
        self.held = self.held.saturating_add(bytes);
    }

    /// Gives back so many bytes.
    pub fn release(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Whether more is held than may be.
    pub fn is_over(&self) -> bool {
        self.held > self.max_bytes
    }
}

/// Answers the calls of a cell that was cancelled: no caller waits for them any more (C13).
#[derive(Clone, Copy, Debug)]
pub struct Cancelled;

#[async_trait]
impl HostFunctions for Cancelled {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        Err(HostError::new("KeyboardInterrupt", "the cell was cancelled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded() {
        let mut memory = HeldMemory::new(100);
        assert!(memory.try_hold(150) && memory.is_over());
        assert!(!memory.try_hold(1));
        memory.release(100);
        assert!(memory.try_hold(50) && !memory.is_over());
        assert!(!memory.try_hold(u64::MAX));
    }

    /// A cell that makes so many calls, and ends when all are answered.
    struct Calling {
        unsent: u64,
        unanswered: u64,
        refused: Vec<u64>,
        interrupts: u32,
    }

    impl Calling {
        fn new(calls: u64) -> Self {
            Self { unsent: calls, unanswered: calls, refused: Vec::new(), interrupts: 0 }
        }
    }

    impl RunningCell for Calling {
        type End = ();

        fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<CellEvent<()>> {
            match (self.unsent, self.unanswered) {
                (_, 0) => Poll::Ready(CellEvent::Ended(())),
                (0, _) => Poll::Pending,
                (id, _) => {
                    self.unsent -= 1;
                    Poll::Ready(CellEvent::Call { id, call: HostCall::new("f") })
                }
            }
        }

        fn answer(&mut self, call: u64, result: Result<Value, HostError>) {
            self.unanswered -= 1;
            if result.is_err() {
                self.refused.push(call);
            }
        }

        fn interrupt(&mut self) -> bool {
            self.interrupts += 1;
            true
        }
    }

    /// Answers every call after a second.
    struct Slow;

    #[async_trait]
    impl HostFunctions for Slow {
        async fn call(&self, _: HostCall) -> Result<Value, HostError> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Value::None)
        }
    }

    /// The same, with the clock of the cell stopped meanwhile.
    struct Unhurried;

    #[async_trait]
    impl HostFunctions for Unhurried {
        async fn call(&self, call: HostCall) -> Result<Value, HostError> {
            Slow.call(call).await
        }

        fn stops_clock(&self, _: &HostCall) -> bool {
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_during_calls_that_stop_it() {
        let (mut cell, second) = (Calling::new(2), Duration::from_secs(1));
        let timer = InterruptTimer::within(Some(second / 4), None, second);
        let end = drive(&mut cell, &Unhurried, &GivenTexts::default(), timer).await;
        assert!(matches!(end, CellEnd::Ended { interrupted: false, .. }));

        let mut timer = InterruptTimer::within(Some(second), Some(second * 10), second);
        let start = Instant::now();
        tokio::time::advance(second / 4).await;
        assert!(timer.stop() && !timer.stop());
        assert_eq!(timer.deadline(), start + second * 10);
        tokio::time::advance(second * 3).await;
        assert!(!timer.go_on() && timer.go_on());
        assert_eq!(timer.deadline(), start + second * 4, "three quarters of a second are left");
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_limit_counts_while_the_clock_stands_still() {
        let (mut cell, second) = (Calling::new(1), Duration::from_secs(1));
        let timer = InterruptTimer::within(None, Some(second / 4), second);
        let started = Instant::now();
        let end = drive(&mut cell, &Unhurried, &GivenTexts::default(), timer).await;
        assert!(matches!(end, CellEnd::Ended { interrupted: true, .. }), "the grace is long enough");
        assert_eq!((cell.interrupts, started.elapsed()), (2, second));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_bound_are_refused_and_the_others_answered() {
        let mut cell = Calling::new(MAX_CALLS_IN_FLIGHT as u64 + 2);
        let end = drive(
            &mut cell,
            &Slow,
            &GivenTexts::default(),
            InterruptTimer::within(None, None, Duration::ZERO),
        )
        .await;
        assert!(matches!(end, CellEnd::Ended { interrupted: false, .. }));
        assert_eq!(cell.refused, [2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cell_over_its_time_is_interrupted_twice_and_given_up() {
        let (mut cell, second) = (Calling::new(1), Duration::from_secs(1));
        let end = drive(
            &mut cell,
            &Slow,
            &GivenTexts::default(),
            InterruptTimer::within(Some(second / 4), None, second / 2),
        )
        .await;
        assert!(matches!(end, CellEnd::TimedOut));
        assert_eq!((cell.interrupts, cell.unanswered), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_cell_is_interrupted_and_can_be_driven_on() {
        let (mut cell, second) = (Calling::new(1), Duration::from_secs(1));
        let (given, timer) = (GivenTexts::default(), InterruptTimer::within(None, None, second));
        let driving = drive(&mut cell, &Slow, &given, timer);
        assert!(tokio::time::timeout(second / 2, driving).await.is_err());
        assert_eq!(cell.interrupts, 1);
        cell.unsent = 1;
        let end = drive(&mut cell, &Cancelled, &GivenTexts::default(), InterruptTimer::expired(second)).await;
        assert!(matches!(end, CellEnd::Ended { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn two_interrupts_then_the_end() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timer = InterruptTimer::within(Some(second), None, second);
        assert_eq!((timer.deadline(), timer.interrupted()), (start + second, false));
        tokio::time::advance(second).await;
        assert!(timer.advance());
        assert_eq!((timer.deadline(), timer.interrupted()), (start + second * 3 / 2, true));
        tokio::time::advance(second / 2).await;
        assert!(timer.advance());
        assert_eq!(timer.deadline(), start + second * 2);
        assert!(!timer.advance());
    }
}

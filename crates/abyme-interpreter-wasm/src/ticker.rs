//! One thread for all sessions of a factory: it makes running guests yield every few milliseconds.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use abyme_core::{Error, ErrorKind, Result};
use wasmtime::Engine;

/// How often a running guest yields and looks for an interrupt.
const TICK: Duration = Duration::from_millis(5);

/// Advances the engine's epoch while cells run; sleeps while none does.
#[derive(Clone, Debug)]
pub(crate) struct Ticker(Arc<TickerShared>);

#[derive(Debug, Default)]
struct TickerShared {
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TickerState {
    running: usize,
    stopped: bool,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn new(engine: &Engine) -> Result<Self> {
        let (shared, engine) = (Arc::new(TickerShared::default()), engine.weak());
        let theirs = shared.clone();
        let tick = move || {
            while theirs.wait_for_work() {
                thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        };
        let thread = thread::Builder::new().name("abyme-wasm-ticker".to_owned());
        thread.spawn(tick).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot start a thread: {error}")).with_source(error)
        })?;
        Ok(Self(shared))
    }

    /// Ticks until the returned value is dropped.
    pub(crate) fn tick(&self) -> Ticking {
        let mut state = self.0.lock();
        state.running += 1;
        if state.running == 1 {
            self.0.changed.notify_one();
        }
        drop(state);
        Ticking(self.0.clone())
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_one();
    }
}

impl TickerShared {
    fn lock(&self) -> std::sync::MutexGuard<'_, TickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a cell runs. Returns `false` when the thread has to end.
    fn wait_for_work(&self) -> bool {
        let state = self.lock();
        let idle = |state: &mut TickerState| state.running == 0 && !state.stopped;
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }
}

/// Keeps the ticker running while a cell runs.
#[derive(Debug)]
pub(crate) struct Ticking(Arc<TickerShared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

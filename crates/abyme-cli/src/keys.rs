//! The keys that a person presses while a run goes on.

use std::{
    io::{ErrorKind, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

use crate::terminal::TerminalMode;

/// The key that has a run answer with what it knows.
const END: u8 = b'q';
/// How often it is looked whether the terminal is still ours: a shell changes its mode when it stops this
/// process and goes on with it.
const LOOK: Duration = Duration::from_millis(200);

/// Whose the keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Us,
    /// A question that a person answers with a line.
    Question,
    /// Whatever reads the terminal afterwards.
    Others,
}

#[derive(Debug)]
struct SharedTerminal {
    mode: TerminalMode,
    holder: Mutex<Holder>,
    end: Notify,
}

/// Takes the keys of the terminal until it is dropped.
#[derive(Debug)]
pub(crate) struct Keys(Arc<SharedTerminal>);

impl Keys {
    /// `None` where no person can press one: without a terminal, and in the background.
    pub(crate) fn take() -> Option<Self> {
        let mode = TerminalMode::now().filter(TerminalMode::is_ours)?;
        // Some systems cannot wait for a terminal.
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut terminal = [PollFd::new(mode.terminal(), PollFlags::IN)];
        if poll(&mut terminal, Some(&now)).is_err() || terminal[0].revents().contains(PollFlags::NVAL) {
            return None;
        }
        let shared = Arc::new(SharedTerminal { mode, holder: Mutex::new(Holder::Us), end: Notify::new() });
        shared.mode.take_keys();
        let keys = Self(shared.clone());
        // It ends soon after the keys are given back, and nobody waits for it.
        thread::Builder::new().name("abyme-keys".into()).spawn(move || shared.watch()).ok()?;
        Some(keys)
    }

    /// Waits until the key is pressed that ends a run with what it knows.
    pub(crate) async fn end_pressed(&self) {
        self.0.end.notified().await;
    }

    /// Lets a person type a line in between.
    pub(crate) fn lend<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.0.pass_to(Holder::Question);
        let answer = ask();
        self.0.pass_to(Holder::Us);
        answer
    }

    /// Takes no more keys. The terminal is as it was before.
    pub(crate) fn give_back(&self) {
        self.0.pass_to(Holder::Others);
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl SharedTerminal {
    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_to(&self, next: Holder) {
        let mut holder = self.holder();
        if *holder != Holder::Others {
            *holder = next;
            match next {
                Holder::Us => self.mode.take_keys(),
                Holder::Question | Holder::Others => {
                    self.mode.restore();
                }
            }
        }
    }

    fn watch(&self) {
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        loop {
            let mut terminal = [PollFd::new(self.mode.terminal(), PollFlags::IN)];
            let is_pressed = match poll(&mut terminal, Some(&look)) {
                Ok(ready) => ready > 0,
                Err(rustix::io::Errno::INTR) => false,
                Err(_) => return,
            };
            let holder = self.holder();
            match *holder {
                Holder::Us if self.mode.is_ours() => self.mode.take_keys(),
                Holder::Us | Holder::Question => {
                    drop(holder);
                    // A key that is not for us stays there, and would be seen at once.
                    thread::sleep(LOOK);
                    continue;
                }
                Holder::Others => return,
            }
            let mut keys = [0; 64];
            match is_pressed.then(|| self.mode.terminal().read(&mut keys)) {
                // More at once is pasted, or typed before it was asked for.
                Some(Ok(count)) if keys[..count] == [END] => self.end.notify_one(),
                // The terminal is gone.
                Some(Ok(0)) => return,
                Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }
}

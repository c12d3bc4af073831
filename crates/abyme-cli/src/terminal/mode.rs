//! The mode of the terminal that a person types at.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
};

use rustix::{
    fs::OFlags,
    process::getpgrp,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};

/// A terminal, and the mode that it had.
#[derive(Debug)]
pub(crate) struct TerminalMode {
    terminal: File,
    before: Termios,
}

impl TerminalMode {
    /// The mode of this process's terminal, if it has one.
    pub(crate) fn now() -> Option<Self> {
        let mut options = File::options();
        // A read must not wait for a key that another process took.
        options.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let terminal = options.open("/dev/tty");
        let terminal = terminal.or_else(|_| io::stdin().as_fd().try_clone_to_owned().map(File::from)).ok()?;
        let before = tcgetattr(&terminal).ok()?;
        Some(Self { terminal, before })
    }

    pub(crate) fn terminal(&self) -> &File {
        &self.terminal
    }

    /// Whether this process may read from it and change it. One in the background would be stopped for it.
    pub(crate) fn is_ours(&self) -> bool {
        !tcgetpgrp(&self.terminal).is_ok_and(|group| group != getpgrp())
    }

    /// Has it give each key at once, and not show it. Ctrl-C and its kind stay signals. A terminal that does
    /// not take it stays as it is.
    pub(crate) fn take_keys(&self) {
        let line_edited = LocalModes::ICANON | LocalModes::ECHO;
        let Ok(mut mode) = tcgetattr(&self.terminal) else { return };
        if mode.local_modes.intersects(line_edited) && self.is_ours() {
            mode.local_modes -= line_edited;
            mode.special_codes[SpecialCodeIndex::VMIN] = 1;
            mode.special_codes[SpecialCodeIndex::VTIME] = 0;
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &mode);
        }
    }

    /// Gives it back the mode that it had. Says whether it had another one.
    pub(crate) fn restore(&self) -> bool {
        let is_changed =
            tcgetattr(&self.terminal).is_ok_and(|now| now.local_modes != self.before.local_modes);
        is_changed && self.is_ours() && tcsetattr(&self.terminal, OptionalActions::Now, &self.before).is_ok()
    }
}

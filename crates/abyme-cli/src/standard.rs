//! The command's own stdin and stdout.
//!
//! Where cells run in the command's own process, the code they start could reach descriptors 0 and 1, and
//! read requests or write in the middle of answers. So a command that can do that moves both streams to other
//! descriptors before anything starts.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    termios::{QueueSelector, tcflush},
};

use crate::{
    exit::{Exit, Failure},
    terminal::escape,
};

/// stdin and stdout.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standard {
    /// Both streams if they have moved.
    moved: Option<(Arc<File>, Arc<File>)>,
}

impl Standard {
    /// Takes stdin and stdout away from descriptors 0 and 1. Descriptor 0 then reads an end of input, and
    /// what is written to descriptor 1 goes to stderr.
    ///
    /// # Errors
    /// If a descriptor cannot be duplicated.
    #[cfg(feature = "pyo3")]
    pub(crate) fn moved() -> Result<Self, Failure> {
        let move_both = || -> io::Result<Self> {
            let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
            rustix::stdio::dup2_stdout(io::stderr())?;
            Ok(Self { moved: Some((Arc::new(input), Arc::new(output))) })
        };
        move_both().map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot keep stdin and stdout from the cells: {error}"))
        })
    }

    /// Whether a person types what comes in.
    pub(crate) fn is_input_terminal(&self) -> bool {
        self.input_descriptor().is_terminal()
    }

    /// Whether a person reads what goes out.
    pub(crate) fn is_output_terminal(&self) -> bool {
        self.output_descriptor().is_terminal()
    }

    /// Whether another program reads what goes out.
    pub(crate) fn is_output_pipe(&self) -> bool {
        let status = rustix::fs::fstat(self.output_descriptor());
        let kind = status.map(|status| rustix::fs::FileType::from_raw_mode(status.st_mode));
        kind.is_ok_and(|kind| matches!(kind, rustix::fs::FileType::Fifo | rustix::fs::FileType::Socket))
    }

    fn input_descriptor(&self) -> BorrowedFd<'_> {
        match &self.moved {
            Some((input, _)) => input.as_fd(),
            None => rustix::stdio::stdin(),
        }
    }

    fn output_descriptor(&self) -> BorrowedFd<'_> {
        match &self.moved {
            Some((_, output)) => output.as_fd(),
            None => rustix::stdio::stdout(),
        }
    }

    pub(crate) fn input(&self) -> Box<dyn Read + Send> {
        match &self.moved {
            Some((input, _)) => Box::new(input.clone()),
            None => Box::new(io::stdin()),
        }
    }

    /// Waits for something to read, but no longer than this. Where that cannot be known, reading finds out.
    pub(crate) fn is_readable_within(&self, wait: Duration) -> bool {
        let wait = Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let mut input = [PollFd::from_borrowed_fd(self.input_descriptor(), PollFlags::IN)];
        !matches!(poll(&mut input, Some(&wait)), Ok(0) | Err(Errno::INTR))
    }

    /// Drops what was typed and not read.
    pub(crate) fn drop_typed(&self) {
        // Without a terminal nothing is typed.
        let _ = tcflush(self.input_descriptor(), QueueSelector::IFlush);
    }

    pub(crate) fn output(&self) -> Box<dyn Write + Send> {
        match &self.moved {
            Some((_, output)) => Box::new(output.clone()),
            None => Box::new(io::stdout()),
        }
    }

    /// Both streams as files of their own, for what reads and writes them beside other work.
    ///
    /// # Errors
    /// If a descriptor cannot be duplicated.
    #[cfg(feature = "mcp-server")]
    pub(crate) fn files(&self) -> io::Result<(File, File)> {
        match &self.moved {
            Some((input, output)) => Ok((input.try_clone()?, output.try_clone()?)),
            None => Ok((
                File::from(io::stdin().as_fd().try_clone_to_owned()?),
                File::from(io::stdout().as_fd().try_clone_to_owned()?),
            )),
        }
    }

    /// Writes text to stdout that a program takes as it is, and whose control characters a person is shown.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn write_or_show(&self, text: &str) -> Result<(), Failure> {
        match self.is_output_terminal() {
            true => self.write(&escape(text)),
            false => self.write(text),
        }
    }

    /// Writes text to stdout as it is.
    ///
    /// # Errors
    /// Quietly if the reader closed stdout, as `head` does; otherwise with the reason.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = self.output();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::quiet(Exit::Output),
            _ => Failure::new(Exit::Output, format!("cannot write the answer to stdout: {error}")),
        })
    }
}

//! A child process that runs Python, and with namespaces the first process of its own.

use std::{
    io,
    process::{ChildStderr, Command},
};

use abyme_core::{Error, ErrorKind};
use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, kill_process, kill_process_group,
        waitid, waitpid,
    },
};

use crate::isolation::{entry::Watch, mechanism::Mechanism};

/// A child that was started and not reaped, so that its id stays its own. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    python: Option<Pid>,
    init: Option<Pid>,
    /// The first process of the namespace ends with this.
    watch: Option<Watch>,
    stderr: Option<ChildStderr>,
}

/// Why no child was started.
#[derive(Debug)]
pub(crate) struct StartError {
    /// What could not be applied, if it was that.
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) error: io::Error,
}

impl StartError {
    /// The error for the caller. `what` is what was to be started.
    pub(crate) fn explained(self, what: &str) -> Error {
        match self.mechanism {
            Some(mechanism) => mechanism.missing(&self.error),
            None => Error::new(ErrorKind::Unavailable, format!("cannot start {what}: {}", self.error))
                .with_source(self.error),
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self { mechanism: None, error }
    }
}

impl ChildProcess {
    /// Starts a child, and waits until it is the program that it is to be. `watch` is there if it is
    /// isolated.
    pub(crate) fn start(mut command: Command, watch: Option<Watch>) -> Result<Self, StartError> {
        let spawned = command.spawn();
        // It holds the child's ends of the pipes.
        drop(command);
        let report = watch.as_ref().map(Watch::report).unwrap_or_default();
        let mut started = Self { python: report.python, init: report.init, watch, stderr: None };
        match spawned {
            Ok(mut child) => {
                started.stderr = child.stderr.take();
                match started.init {
                    // The child that was spawned started two others and ended.
                    Some(_) => drop(child.wait()),
                    None => started.python = Some(Pid::from_child(&child)),
                }
            }
            // It was reaped, unless it had started others.
            Err(error) if report.failed.is_none() => return Err(error.into()),
            Err(_) => {}
        }
        match report.failed {
            // Dropping what was started kills it.
            Some((mechanism, errno)) => Err(StartError { mechanism: Some(mechanism), error: errno.into() }),
            None => Ok(started),
        }
    }

    /// The process that runs Python.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.python
    }

    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// How Python ended, if it did. It is left to be reaped.
    pub(crate) fn status(&self) -> Option<WaitIdStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.python?), options).ok().flatten()
    }

    /// The memory limit of all its processes together, if the kernel has killed one of them for it.
    pub(crate) fn overrun_bytes(&self) -> Option<u64> {
        self.watch.as_ref().and_then(Watch::overrun_bytes)
    }

    /// Kills the process with its group, or with its pid namespace or its control group, which no process
    /// leaves.
    pub(crate) fn kill(&self) {
        if let Some(init) = self.init {
            let _ = kill_process(init, Signal::KILL);
        }
        if let Some(python) = self.python {
            let _ = kill_process_group(python, Signal::KILL);
            let _ = kill_process(python, Signal::KILL);
        }
        self.watch.iter().for_each(Watch::kill);
    }

    /// Waits until a killed child is gone, and reaps it.
    pub(crate) fn reap(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.end();
        }
        // The first process of a namespace goes last: it waits until all others are reaped.
        for pid in [self.python.take(), self.init.take()].into_iter().flatten() {
            while waitpid(Some(pid), WaitOptions::empty()).is_err_and(|errno| errno == Errno::INTR) {}
        }
        self.watch = None;
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

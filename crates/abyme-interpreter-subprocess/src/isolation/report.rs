//! What a child tells its host between fork and exec: records of two numbers in a pipe.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has what is reported"))]

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{io::Errno, process::Pid};

use super::mechanism::Mechanism;

const RECORD: usize = 8;
/// The first number of a record that brings the id of a process; the others are those of mechanisms.
const INIT: i32 = 100;
const PYTHON: i32 = 101;

/// What a child told.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The first process of its pid namespace, as the host sees it.
    pub(crate) init: Option<Pid>,
    /// The process that runs Python, as the host sees it.
    pub(crate) python: Option<Pid>,
    /// What it could not apply.
    pub(crate) failed: Option<(Mechanism, Errno)>,
}

/// The reading end, which does not wait, and the writing end.
pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reading, writing) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reading, true)?;
    Ok((reading, writing))
}

/// Says that a mechanism cannot be applied. Allocates nothing.
pub(crate) fn failed(pipe: BorrowedFd<'_>, mechanism: Mechanism, errno: Errno) {
    write(pipe, mechanism.number(), errno.raw_os_error());
}

/// Says which process is the first of the pid namespace. Allocates nothing.
pub(crate) fn started_init(pipe: BorrowedFd<'_>, pid: i32) {
    write(pipe, INIT, pid);
}

/// Says which process runs Python. Allocates nothing.
pub(crate) fn started_python(pipe: BorrowedFd<'_>, pid: i32) {
    write(pipe, PYTHON, pid);
}

fn write(pipe: BorrowedFd<'_>, what: i32, value: i32) {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&what.to_ne_bytes());
    record[4..].copy_from_slice(&value.to_ne_bytes());
    // A pipe takes a few small records whole; a host that is gone reads none.
    let _ = rustix::io::write(pipe, &record);
}

/// What is in the pipe. The first failure counts: later ones follow from it.
pub(crate) fn read(pipe: &impl AsFd) -> Report {
    let mut report = Report::default();
    let mut record = [0; RECORD];
    while rustix::io::read(pipe, &mut record) == Ok(RECORD) {
        let [what, value] =
            [0, 4].map(|at| i32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]));
        match what {
            INIT => report.init = Pid::from_raw(value),
            PYTHON => report.python = Pid::from_raw(value),
            _ => {
                let failed = Mechanism::of_number(what);
                let failed = failed.map(|mechanism| (mechanism, Errno::from_raw_os_error(value)));
                report.failed = report.failed.or(failed);
            }
        }
    }
    report
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_as_it_was_written() {
        let (reading, writing) = pipe().unwrap();
        started_init(writing.as_fd(), 7);
        started_python(writing.as_fd(), 8);
        failed(writing.as_fd(), Mechanism::Landlock, Errno::NOSYS);
        failed(writing.as_fd(), Mechanism::Seccomp, Errno::PERM);
        let report = read(&reading);
        assert_eq!((report.init, report.python), (Pid::from_raw(7), Pid::from_raw(8)));
        assert_eq!(report.failed, Some((Mechanism::Landlock, Errno::NOSYS)));
        assert_eq!(read(&reading).failed, None);
    }
}

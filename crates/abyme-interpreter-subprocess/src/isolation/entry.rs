//! What a child does before it is Python, and what its host sees of that.

use std::io::{self, PipeReader, PipeWriter};

#[cfg(target_os = "linux")]
use super::{cgroup::Group, jail::Jail};
use super::{
    limits::Limits,
    parent_death::die_with,
    report::{self, Report},
};

/// What a child does between fork and exec.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Limits alone. `host` is the process that starts the child.
    Open { limits: Limits, host: u32 },
    /// All that its plan names.
    #[cfg(target_os = "linux")]
    Jail(Jail),
}

impl Entry {
    /// Does it. For a child between fork and exec: it makes system calls alone, and allocates nothing.
    pub(crate) fn enter(&self) -> io::Result<()> {
        match self {
            Entry::Open { limits, host } => {
                limits.apply()?;
                Ok(die_with(*host)?)
            }
            #[cfg(target_os = "linux")]
            Entry::Jail(jail) => jail.enter(),
        }
    }
}

/// The host's ends of the pipes of an isolated child.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has such children"))]
pub(crate) struct Watch {
    pub(crate) report: PipeReader,
    /// The first process of the child's pid namespace, and with it all others, ends when this is dropped.
    pub(crate) lifeline: Option<PipeWriter>,
    /// The control group of the child, which can be removed when the child is gone.
    pub(crate) group: Option<Group>,
}

impl Watch {
    /// Has the child end.
    pub(crate) fn end(&mut self) {
        self.lifeline = None;
    }

    /// Kills all processes of the child's control group, if it has one.
    pub(crate) fn kill(&self) {
        self.group.iter().for_each(Group::kill);
    }

    /// The memory limit of the child's control group, if the kernel has killed a process that went over it.
    pub(crate) fn overrun_bytes(&self) -> Option<u64> {
        self.group.as_ref().and_then(Group::overrun_bytes)
    }

    /// What the child has told by now.
    pub(crate) fn report(&self) -> Report {
        report::read(&self.report)
    }
}

/// Other systems have no control groups.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) enum Group {}

#[cfg(not(target_os = "linux"))]
impl Group {
    fn kill(&self) {
        match *self {}
    }

    fn overrun_bytes(&self) -> Option<u64> {
        match *self {}
    }
}

//! What an isolated child does between fork and exec.
//!
//! Everything is computed before the fork. After it there are system calls alone, because the child of a
//! program with threads must not allocate or wait for a lock: another thread may have held it.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    sync::Arc,
};

use rustix::{
    io::Errno,
    process::DumpableBehavior,
    thread::{CapabilitySet, CapabilitySets},
};
use seccompiler::BpfProgram;

use super::{
    init, landlock,
    limits::Limits,
    mechanism::Mechanism,
    mounts::Root,
    namespaces::{self, IdMaps},
    parent_death::die_with,
    report, seccomp, syscall,
};

/// The first descriptor that is not a standard stream.
const FIRST_PRIVATE_DESCRIPTOR: i32 = 3;

/// The mechanisms that a child applies to itself.
#[derive(Debug)]
pub(crate) struct Jail {
    pub(crate) report: PipeWriter,
    /// Where it enters the control groups that limit it.
    pub(crate) groups: Vec<File>,
    pub(crate) own: Option<OwnSpace>,
    pub(crate) rules: Option<landlock::Rules>,
    pub(crate) filters: Arc<[BpfProgram]>,
    pub(crate) limits: Limits,
    /// The process that starts the child.
    pub(crate) host: u32,
}

/// Namespaces, with a file system and a first process.
#[derive(Debug)]
pub(crate) struct OwnSpace {
    pub(crate) maps: IdMaps,
    pub(crate) root: Arc<Root>,
    /// What the first process waits for the end of.
    pub(crate) lifeline: PipeReader,
}

type Failure = (Mechanism, Errno);

impl Jail {
    /// Isolates this process. With namespaces, it returns in another process than it was called in, and the
    /// first one ends. For a child between fork and exec.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.apply().map_err(|(mechanism, errno)| {
            report::failed(self.report.as_fd(), mechanism, errno);
            errno.into()
        })
    }

    fn apply(&self) -> Result<(), Failure> {
        for group in &self.groups {
            rustix::io::write(group, b"0").map_err(|errno| (Mechanism::Cgroup, errno))?;
        }
        match &self.own {
            Some(own) => own.enter(&self.report)?,
            None => {
                die_with(self.host).map_err(|errno| (Mechanism::Init, errno))?;
                // Those of a root host would lift limits again. Namespaces leave none over the host.
                let none = CapabilitySet::empty();
                let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
                rustix::thread::set_capabilities(None, none).map_err(|errno| (Mechanism::Limits, errno))?;
            }
        }
        syscall::close_on_exec_from(FIRST_PRIVATE_DESCRIPTOR).map_err(|errno| (Mechanism::Limits, errno))?;
        rustix::thread::set_no_new_privs(true).map_err(|errno| (Mechanism::Seccomp, errno))?;
        if let Some(rules) = &self.rules {
            rules.apply().map_err(|errno| (Mechanism::Landlock, errno))?;
        }
        // After what opens descriptors: until exec, the host's count towards the session's limit.
        let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        self.limits.apply().map_err(|error| (Mechanism::Limits, errno(error)))?;
        seccomp::apply(&self.filters).map_err(|errno| (Mechanism::Seccomp, errno))
    }
}

impl OwnSpace {
    fn enter(&self, report: &PipeWriter) -> Result<(), Failure> {
        let at = |mechanism| move |errno| (mechanism, errno);
        namespaces::enter(&self.maps).map_err(at(Mechanism::Namespaces))?;
        self.root.build().map_err(at(Mechanism::Mounts))?;
        // Until they are other programs, the next two hold a copy of the host's memory.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Mechanism::Init))?;
        match syscall::fork_sibling().map_err(at(Mechanism::Init))? {
            Some(init) => report::started_init(report.as_fd(), init),
            None => {
                let errno = init::run(self.lifeline.as_fd());
                report::failed(report.as_fd(), Mechanism::Init, errno);
                syscall::exit(1);
            }
        }
        if let Some(python) = syscall::fork_sibling().map_err(at(Mechanism::Init))? {
            report::started_python(report.as_fd(), python);
            syscall::exit(0);
        }
        self.root.close().map_err(at(Mechanism::Mounts))?;
        rustix::process::setsid().map_err(at(Mechanism::Init))?;
        Ok(())
    }
}

//! The limits of the kernel that a child process gets (`setrlimit`).

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::config::Config;

/// Limits that were computed before the fork.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Vec<(Resource, u64)>);

impl Limits {
    /// The limits that a configuration sets.
    pub(crate) fn of(config: &Config) -> Self {
        let cpu = config.cpu_timeout.map(|limit| limit.as_secs().max(1));
        let limits = [
            (Resource::As, config.memory_limit_bytes),
            (Resource::Cpu, cpu),
            (Resource::Fsize, config.max_file_bytes),
            (Resource::Nproc, config.max_processes.map(u64::from)),
            (Resource::Nofile, config.max_open_files),
            (Resource::Core, Some(0)),
        ];
        Self(limits.into_iter().filter_map(|(resource, limit)| Some((resource, limit?))).collect())
    }

    /// And the memory that no other limit counts: pages that are locked, queues of messages, timers and
    /// signals that wait. And the priority over other processes that some users may take.
    #[cfg(target_os = "linux")]
    pub(crate) fn and_of_the_kernel(mut self) -> Self {
        let of_memory = [(Resource::Memlock, 0), (Resource::Msgqueue, 0), (Resource::Sigpending, 1024)];
        self.0.extend(of_memory);
        self.0.extend([(Resource::Rtprio, 0), (Resource::Nice, 0)]);
        self
    }

    /// Applies them to this process. Allocates nothing.
    pub(crate) fn apply(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|&(resource, limit)| lower(resource, limit))
    }
}

/// Lowers a limit; one that is lower already stays.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let at_most = |limit: u64, now: Option<u64>| Some(now.map_or(limit, |now| now.min(limit)));
    // Over the lower limit of processor time comes a signal that says so, over the higher one a plain kill.
    let hard = if resource == Resource::Cpu { limit.saturating_add(1) } else { limit };
    setrlimit(resource, Rlimit { current: at_most(limit, now.current), maximum: at_most(hard, now.maximum) })
        .map_err(Into::into)
}

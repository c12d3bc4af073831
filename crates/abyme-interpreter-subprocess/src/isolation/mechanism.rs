//! The mechanisms of the isolation, and what to do where one is missing.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has them"))]

use std::io;

use abyme_core::{Error, ErrorKind};
use rustix::io::Errno;

/// A step of the isolation that this machine, or its administrator, may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Cgroup,
    Namespaces,
    Mounts,
    Init,
    Limits,
    Landlock,
    Seccomp,
}

impl Mechanism {
    const ALL: [Mechanism; 7] = [
        Mechanism::Cgroup,
        Mechanism::Namespaces,
        Mechanism::Mounts,
        Mechanism::Init,
        Mechanism::Limits,
        Mechanism::Landlock,
        Mechanism::Seccomp,
    ];

    /// Its number in a report, and the mechanism of a number.
    pub(crate) fn number(self) -> i32 {
        self as i32
    }

    pub(crate) fn of_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.number() == number)
    }

    fn name(self) -> &'static str {
        match self {
            Mechanism::Cgroup => "control groups",
            Mechanism::Namespaces => "user namespaces",
            Mechanism::Mounts => "mounts in a user namespace",
            Mechanism::Init => "the first process of a pid namespace",
            Mechanism::Limits => "resource limits",
            Mechanism::Landlock => "Landlock",
            Mechanism::Seccomp => "seccomp",
        }
    }

    /// What makes it available.
    fn way(self) -> &'static str {
        match self {
            Mechanism::Cgroup => "let this user write to its control group",
            Mechanism::Namespaces | Mechanism::Mounts | Mechanism::Init => {
                "allow them (`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu, \
                 `kernel.unprivileged_userns_clone=1` on older Debian, `user.max_user_namespaces` over 0; in \
                 a container, a profile that allows `unshare` and `mount`, and for its root the capability \
                 `CAP_SETFCAP`, or another user)"
            }
            Mechanism::Limits => "raise the hard limits of this process",
            Mechanism::Landlock => "use Linux 5.13 or later with `landlock` in its `lsm=` list",
            Mechanism::Seccomp => "use a Linux that has seccomp filters",
        }
    }

    /// The error of a session that needs the mechanism and does not get it.
    pub(crate) fn missing(self, problem: &io::Error) -> Error {
        if is_shortage(problem) {
            let message = format!(
                "a session cannot be started ({problem}, while setting up {}): have fewer sessions at once, \
                 close files, or raise what this process may have (`ulimit -n`, `ulimit -u`)",
                self.name()
            );
            return Error::new(ErrorKind::Unavailable, message).with("mechanism", self.name());
        }
        let message = format!(
            "a session cannot be isolated here, because {} cannot be used ({problem}): {}; or start sessions \
             with what there is (`.isolation(IsolationMode::BestEffort)`, `--isolation best-effort`); or use \
             the wasm backend, which needs nothing of the system",
            self.name(),
            self.way()
        );
        Error::new(ErrorKind::Unavailable, message).with("mechanism", self.name())
    }
}

/// Whether the machine has the mechanism, but no more of something else.
pub(crate) fn is_shortage(problem: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    Errno::from_io_error(problem).is_some_and(|errno| shortages.contains(&errno))
}

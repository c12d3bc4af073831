//! The names of control groups, which say who made them: so what a killed process left can be told from what
//! a living one has.

use std::{fs, os::unix::fs::MetadataExt};

const PREFIX: &str = "abyme-";

/// A process that makes groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pid: u32,
    /// When it began, in ticks since the start of the machine.
    start: u64,
    /// The pid namespace in which its id is one.
    namespace: u64,
}

impl Maker {
    /// This process. `None` if `/proc` is not that of its pid namespace.
    pub(crate) fn this() -> Option<Self> {
        let pid = std::process::id();
        let listed = fs::read_link("/proc/self").ok()?;
        let namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
        let start = start_ticks(pid).filter(|_| listed.to_str() == Some(&pid.to_string()))?;
        Some(Self { pid, start, namespace })
    }

    /// The maker of the group of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { pid, start, namespace: parts.next()?.parse().ok()? })
    }

    /// The name of its group of this number.
    pub(crate) fn name(&self, number: u64) -> String {
        format!("{PREFIX}{}-{}-{}-{number}", self.pid, self.start, self.namespace)
    }

    /// Whether it has ended, as this process sees it. It sees nothing of other pid namespaces.
    pub(crate) fn has_ended(&self, this: &Self) -> bool {
        self.namespace == this.namespace && start_ticks(self.pid) != Some(self.start)
    }
}

/// When a process began.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_group_names_the_process_that_made_it() {
        let this = Maker::this().unwrap();
        assert_eq!(Maker::of(&this.name(3)), Some(this));
        assert_eq!(Maker::of("abyme-sessions-x"), None);
        assert!(!this.has_ended(&this));
    }

    /// Its id may be that of another process by now. Of another namespace nothing is known.
    #[test]
    fn one_that_has_ended_is_told_from_one_that_is_not_seen() {
        let this = Maker::this().unwrap();
        let earlier = Maker { start: this.start - 1, ..this };
        assert!(earlier.has_ended(&this));
        assert!(!Maker { namespace: this.namespace + 1, ..earlier }.has_ended(&this));
    }
}

//! Whose a container is. Labels say which process made it, so that another one can tell when that is gone.

use std::{collections::HashMap, fs};

/// Every container of Abyme has this label; its value is the container's name.
pub(crate) const SESSION: &str = "dev.abyme.session";
const HOST: &str = "dev.abyme.owner.host";
const BOOT: &str = "dev.abyme.owner.boot";
const SPACE: &str = "dev.abyme.owner.pid-namespace";
const PROCESS: &str = "dev.abyme.owner.pid";
const STARTED: &str = "dev.abyme.owner.started";

/// A process, told apart from all others: numbers of processes are used again, and an engine may serve many machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The machine: its name and its installation.
    host: String,
    /// The machine's start. Empty where the system does not tell it.
    boot: String,
    /// Where the process's number means something. Containers of one machine have numbers of their own.
    space: String,
    process: u32,
    /// When the process was started, in ticks since the machine was.
    started: u64,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let process = std::process::id();
        Self {
            host: format!("{} {}", read("/proc/sys/kernel/hostname"), read("/etc/machine-id")),
            boot: read("/proc/sys/kernel/random/boot_id"),
            space: space.to_string_lossy().into_owned(),
            process,
            started: started(process).unwrap_or_default(),
        }
    }

    /// The labels of a container of this process.
    pub(crate) fn labels(&self, session: &str) -> HashMap<String, String> {
        let owned = [
            (SESSION, session.to_owned()),
            (HOST, self.host.clone()),
            (BOOT, self.boot.clone()),
            (SPACE, self.space.clone()),
            (PROCESS, self.process.to_string()),
            (STARTED, self.started.to_string()),
        ];
        owned.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Whose a container with these labels is, if they are whole.
    pub(crate) fn of(labels: &HashMap<String, String>) -> Option<Self> {
        let text = |name: &str| labels.get(name).cloned();
        Some(Self {
            host: text(HOST)?,
            boot: text(BOOT)?,
            space: text(SPACE)?,
            process: text(PROCESS)?.parse().ok()?,
            started: text(STARTED)?.parse().ok()?,
        })
    }

    /// Whether this owner is known to be gone, seen from the process `here`. `started` says when a process of a number
    /// was started, if there is one.
    ///
    /// Whoever cannot be judged from here, on another machine or in another container, is taken to be there.
    pub(crate) fn is_gone(&self, here: &Self, started: impl Fn(u32) -> Option<u64>) -> bool {
        if self.boot.is_empty() || here.boot.is_empty() {
            return false;
        }
        if self.boot != here.boot {
            // The same installation, started again since. A name alone may be shared by many machines.
            return self.host == here.host && has_installation(&here.host);
        }
        self.space == here.space && started(self.process) != Some(self.started)
    }
}

fn has_installation(host: &str) -> bool {
    host.split_once(' ').is_some_and(|(name, installation)| !name.is_empty() && !installation.is_empty())
}

/// When a process was started, in ticks since the machine was; none if there is no such process.
pub(crate) fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    // A zombie is gone: it only waits to be counted.
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            host: "name id".to_owned(),
            boot: "boot".to_owned(),
            space: "pid:[1]".to_owned(),
            process: 7,
            started: 100,
        }
    }

    #[test]
    fn labels_hold_an_owner() {
        let labels = owner().labels("abyme-1");
        assert_eq!(labels[SESSION], "abyme-1");
        assert_eq!(Owner::of(&labels), Some(owner()));
        assert_eq!(Owner::of(&HashMap::new()), None);
    }

    #[test]
    fn a_process_that_runs_is_not_gone() {
        assert!(!owner().is_gone(&owner(), |_| Some(100)));
    }

    #[test]
    fn one_that_ended_is_gone_also_when_its_number_is_used_again() {
        assert!(owner().is_gone(&owner(), |_| None));
        assert!(owner().is_gone(&owner(), |_| Some(101)));
    }

    #[test]
    fn nobody_is_judged_from_elsewhere() {
        let other_container = Owner { space: "pid:[2]".to_owned(), ..owner() };
        assert!(!owner().is_gone(&other_container, |_| None));
        let other_machine = Owner { host: "name other".to_owned(), boot: "other".to_owned(), ..owner() };
        assert!(!owner().is_gone(&other_machine, |_| None));
        let unknown = Owner { boot: String::new(), ..owner() };
        assert!(!unknown.is_gone(&owner(), |_| None) && !owner().is_gone(&unknown, |_| None));
    }

    #[test]
    fn a_restart_of_the_machine_ends_all() {
        let later = Owner { boot: "later".to_owned(), ..owner() };
        assert!(owner().is_gone(&later, |_| Some(100)));
        let nameless = Owner { host: "name ".to_owned(), ..owner() };
        assert!(!nameless.is_gone(&Owner { boot: "later".to_owned(), ..nameless.clone() }, |_| None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_runs() {
        let this = Owner::this();
        assert!(!this.boot.is_empty() && this.started > 0);
        assert!(!this.is_gone(&Owner::this(), started));
    }
}

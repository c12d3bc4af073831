//! The owner of what outlives a process: containers, sandboxes. Labels name the owner, so that a later
//! process can remove what belongs to an owner that ended without doing so, as when it was killed.

use std::fs;

const HOST: &str = "host";
const BOOT: &str = "boot";
const SPACE: &str = "pid-namespace";
const PROCESS: &str = "pid";
const START: &str = "started";

/// A process, distinguished from all others: process numbers are used again, and an engine or a cloud serves
/// many machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The machine: a digest of its name and the id of its installation. Empty if it has not both.
    host: String,
    /// The id of the machine's start. Empty on systems without one.
    boot: String,
    /// The namespace of the process's number. Containers of one machine have numbers of their own.
    space: String,
    process: u32,
    /// When the process was started, in ticks since the start of the machine.
    start_ticks: u64,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let process = std::process::id();
        Self {
            host: digest(&read("/proc/sys/kernel/hostname"), &read("/etc/machine-id")),
            boot: read("/proc/sys/kernel/random/boot_id"),
            space: space.to_string_lossy().chars().filter(char::is_ascii_digit).collect(),
            process,
            start_ticks: start_ticks(process).unwrap_or_default(),
        }
    }

    /// The labels of what this process makes. Their names begin with `prefix`; values hold digits, small
    /// letters and dashes, at most 40 of them.
    pub fn labels(&self, prefix: &str) -> Vec<(String, String)> {
        let labels = [
            (HOST, self.host.clone()),
            (BOOT, self.boot.clone()),
            (SPACE, self.space.clone()),
            (PROCESS, self.process.to_string()),
            (START, self.start_ticks.to_string()),
        ];
        labels.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
    }

    /// The owner that such labels name, if they are complete. `label` returns the value of a label.
    pub fn of(prefix: &str, label: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let text = |name: &str| label(&format!("{prefix}{name}"));
        Some(Self {
            host: text(HOST)?,
            boot: text(BOOT)?,
            space: text(SPACE)?,
            process: text(PROCESS)?.parse().ok()?,
            start_ticks: text(START)?.parse().ok()?,
        })
    }

    /// Whether this owner is known to have ended, seen from the process `here`.
    ///
    /// An owner on another machine or in another container cannot be judged from here and counts as running.
    pub fn has_ended(&self, here: &Self) -> bool {
        self.has_ended_by(here, start_ticks)
    }

    /// `start_ticks` returns when the process of a number was started, or `None` if there is no such process.
    fn has_ended_by(&self, here: &Self, start_ticks: impl Fn(u32) -> Option<u64>) -> bool {
        if self.boot.is_empty() || here.boot.is_empty() {
            return false;
        }
        if self.boot != here.boot {
            // The same installation was started again. A name alone may be shared by many machines.
            return self.host == here.host && !here.host.is_empty();
        }
        self.space == here.space && start_ticks(self.process) != Some(self.start_ticks)
    }
}

/// A digest of what names a machine, the same in every version of this crate (FNV-1a).
fn digest(name: &str, installation: &str) -> String {
    if name.is_empty() || installation.is_empty() {
        return String::new();
    }
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.bytes().chain([b' ']).chain(installation.bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    format!("{hash:016x}")
}

/// When a process was started, in ticks since the start of the machine. `None` if there is no such process.
fn start_ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    // A zombie has ended; its parent has not waited for it yet.
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            host: digest("name", "id"),
            boot: "boot".to_owned(),
            space: "1".to_owned(),
            process: 7,
            start_ticks: 100,
        }
    }

    #[test]
    fn labels_hold_an_owner() {
        let labels = owner().labels("owner-");
        let label = |name: &str| Some(labels.iter().find(|(label, _)| label == name)?.1.clone());
        assert_eq!(label("owner-pid").as_deref(), Some("7"));
        assert_eq!(Owner::of("owner-", label), Some(owner()));
        assert_eq!(Owner::of("owner-", |_| None), None);
    }

    #[test]
    fn a_process_that_runs_has_not_ended() {
        assert!(!owner().has_ended_by(&owner(), |_| Some(100)));
    }

    #[test]
    fn one_that_ended_has_ended_also_when_its_number_is_used_again() {
        assert!(owner().has_ended_by(&owner(), |_| None));
        assert!(owner().has_ended_by(&owner(), |_| Some(101)));
    }

    #[test]
    fn no_owner_is_judged_from_elsewhere() {
        let other_container = Owner { space: "2".to_owned(), ..owner() };
        assert!(!owner().has_ended_by(&other_container, |_| None));
        let other_machine = Owner { host: digest("name", "other"), boot: "other".to_owned(), ..owner() };
        assert!(!owner().has_ended_by(&other_machine, |_| None));
        let unknown = Owner { boot: String::new(), ..owner() };
        assert!(!unknown.has_ended_by(&owner(), |_| None) && !owner().has_ended_by(&unknown, |_| None));
    }

    #[test]
    fn a_restart_of_the_machine_ends_all() {
        let later = Owner { boot: "later".to_owned(), ..owner() };
        assert!(owner().has_ended_by(&later, |_| Some(100)));
        let nameless = Owner { host: digest("name", ""), ..owner() };
        assert!(!nameless.has_ended_by(&Owner { boot: "later".to_owned(), ..nameless.clone() }, |_| None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_runs() {
        let this = Owner::this();
        assert!(!this.boot.is_empty() && this.start_ticks > 0);
        assert!(!this.has_ended_by(&Owner::this(), start_ticks));
    }
}

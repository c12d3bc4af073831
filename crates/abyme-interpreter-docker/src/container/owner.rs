//! The owner of a container: the process that made it.
//!
//! Labels name the owner, so that a later process can remove the containers of an owner that ended without
//! doing so, as when it was killed.

use std::{collections::HashMap, fs};

use abyme_core::Result;
use bollard::{Docker, errors::Error as DockerError, query_parameters::ListContainersOptionsBuilder};
use futures_util::{StreamExt, stream::FuturesUnordered};

use super::removal::remove;
use crate::engine::Client;

/// Every container of Abyme has this label; its value is the container's name.
pub(crate) const SESSION: &str = "dev.abyme.session";
const HOST: &str = "dev.abyme.owner.host";
const BOOT: &str = "dev.abyme.owner.boot";
const SPACE: &str = "dev.abyme.owner.pid-namespace";
const PROCESS: &str = "dev.abyme.owner.pid";
const START: &str = "dev.abyme.owner.started";

/// A process, distinguished from all others: process numbers are used again, and an engine may serve many
/// machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The machine: its name and the id of its installation.
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
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let process = std::process::id();
        Self {
            host: format!("{} {}", read("/proc/sys/kernel/hostname"), read("/etc/machine-id")),
            boot: read("/proc/sys/kernel/random/boot_id"),
            space: space.to_string_lossy().into_owned(),
            process,
            start_ticks: start_ticks(process).unwrap_or_default(),
        }
    }

    /// The labels of a container of this process.
    pub(crate) fn labels(&self, session: &str) -> HashMap<String, String> {
        let labels = [
            (SESSION, session.to_owned()),
            (HOST, self.host.clone()),
            (BOOT, self.boot.clone()),
            (SPACE, self.space.clone()),
            (PROCESS, self.process.to_string()),
            (START, self.start_ticks.to_string()),
        ];
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The owner that a container's labels name, if they are complete.
    fn of(labels: &HashMap<String, String>) -> Option<Self> {
        let text = |name: &str| labels.get(name).cloned();
        Some(Self {
            host: text(HOST)?,
            boot: text(BOOT)?,
            space: text(SPACE)?,
            process: text(PROCESS)?.parse().ok()?,
            start_ticks: text(START)?.parse().ok()?,
        })
    }

    /// Whether this owner is known to have ended, seen from the process `here`. `start_ticks` returns when
    /// the process of a number was started, or `None` if there is no such process.
    ///
    /// An owner on another machine or in another container cannot be judged from here and counts as running.
    fn has_ended(&self, here: &Self, start_ticks: impl Fn(u32) -> Option<u64>) -> bool {
        if self.boot.is_empty() || here.boot.is_empty() {
            return false;
        }
        if self.boot != here.boot {
            // The same installation was started again. A name alone may be shared by many machines.
            return self.host == here.host && has_installation(&here.host);
        }
        self.space == here.space && start_ticks(self.process) != Some(self.start_ticks)
    }
}

fn has_installation(host: &str) -> bool {
    host.split_once(' ').is_some_and(|(name, installation)| !name.is_empty() && !installation.is_empty())
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

/// Removes the containers whose owner has ended, and returns how many there were.
pub(crate) async fn sweep(client: &Client, here: &Owner) -> Result<usize> {
    let swept = client.thread.run_to_end(remove_orphans(client.docker.clone(), here.clone())).await?;
    swept.map_err(|error| client.failed("cannot look for containers left behind", error))
}

/// Does the same without waiting for it. The end of the factory does, for as long as it waits for the removal
/// of its own containers.
pub(crate) fn sweep_in_background(client: &Client, here: &Owner) {
    let orphans = remove_orphans(client.docker.clone(), here.clone());
    client.thread.spawn_tracked(async move {
        if let Err(error) = orphans.await {
            tracing::warn!(%error, "containers left behind by other programs could not be looked for");
        }
    });
}

async fn remove_orphans(docker: Docker, here: Owner) -> Result<usize, DockerError> {
    let filters = HashMap::from([("label", vec![SESSION])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let removals = FuturesUnordered::new();
    for container in docker.list_containers(Some(options)).await? {
        let owner = Owner::of(&container.labels.unwrap_or_default());
        let is_orphan = owner.is_some_and(|owner| owner.has_ended(&here, start_ticks));
        if let Some(id) = container.id.filter(|_| is_orphan) {
            tracing::info!(container = id, "removing a container whose program has ended");
            // At once, so that all are asked for before a short program ends.
            let docker = &docker;
            removals.push(async move { remove(docker, &id, None).await });
        }
    }
    let removed: Vec<bool> = removals.collect().await;
    Ok(removed.into_iter().filter(|removed| *removed).count())
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
            start_ticks: 100,
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
    fn a_process_that_runs_has_not_ended() {
        assert!(!owner().has_ended(&owner(), |_| Some(100)));
    }

    #[test]
    fn one_that_ended_has_ended_also_when_its_number_is_used_again() {
        assert!(owner().has_ended(&owner(), |_| None));
        assert!(owner().has_ended(&owner(), |_| Some(101)));
    }

    #[test]
    fn no_owner_is_judged_from_elsewhere() {
        let other_container = Owner { space: "pid:[2]".to_owned(), ..owner() };
        assert!(!owner().has_ended(&other_container, |_| None));
        let other_machine = Owner { host: "name other".to_owned(), boot: "other".to_owned(), ..owner() };
        assert!(!owner().has_ended(&other_machine, |_| None));
        let unknown = Owner { boot: String::new(), ..owner() };
        assert!(!unknown.has_ended(&owner(), |_| None) && !owner().has_ended(&unknown, |_| None));
    }

    #[test]
    fn a_restart_of_the_machine_ends_all() {
        let later = Owner { boot: "later".to_owned(), ..owner() };
        assert!(owner().has_ended(&later, |_| Some(100)));
        let nameless = Owner { host: "name ".to_owned(), ..owner() };
        assert!(!nameless.has_ended(&Owner { boot: "later".to_owned(), ..nameless.clone() }, |_| None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_runs() {
        let this = Owner::this();
        assert!(!this.boot.is_empty() && this.start_ticks > 0);
        assert!(!this.has_ended(&Owner::this(), start_ticks));
    }
}

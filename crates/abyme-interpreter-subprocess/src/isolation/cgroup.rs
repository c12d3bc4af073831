//! Control groups: limits for all processes of a session together, where this process may make groups.
//!
//! Sessions that start no process need none: their memory and their processes are limited without.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// How the names of groups begin. The process that made one follows, with the time at which it began.
const PREFIX: &str = "abyme-";
const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// Makes groups, where this process can.
#[derive(Debug)]
pub(crate) struct GroupMaker {
    parents: Vec<Parent>,
    made: AtomicU64,
}

/// A directory of the kernel's in which groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parent {
    dir: PathBuf,
    memory_file: Option<&'static str>,
    has_processes: bool,
}

/// What the processes of a session may take together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) processes: Option<u32>,
}

/// A group, which is removed when this is dropped. It has to be empty then.
#[derive(Debug)]
pub(crate) struct Group {
    dirs: Vec<PathBuf>,
}

impl GroupMaker {
    /// Makes groups that limit memory and processes. `None` where that is not possible. What processes left
    /// there that were killed is removed.
    pub(crate) fn find() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let candidates = candidates(&groups, Path::new(MOUNT_POINT));
        candidates.into_iter().find_map(|parents| {
            // Where the controllers of the older version are mounted, the directory above them is no group.
            if !parents.iter().all(|parent| parent.dir.join("cgroup.procs").is_file()) {
                return None;
            }
            parents.iter().for_each(|parent| sweep(&parent.dir));
            let maker = Self { parents, made: AtomicU64::new(0) };
            // Only trying shows whether limits can be set.
            maker.make(GroupLimits { memory_bytes: Some(1 << 30), processes: Some(16) }).ok()?;
            Some(maker)
        })
    }

    /// Makes a group.
    pub(crate) fn make(&self, limits: GroupLimits) -> io::Result<Group> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let this = std::process::id();
        let name = format!("{PREFIX}{this}-{}-{number}", start_ticks(this).unwrap_or_default());
        let mut group = Group { dirs: Vec::new() };
        for parent in &self.parents {
            let dir = parent.dir.join(&name);
            fs::create_dir(&dir)?;
            group.dirs.push(dir.clone());
            if let (Some(file), Some(bytes)) = (parent.memory_file, limits.memory_bytes) {
                set(&dir.join(file), bytes)?;
                // Without a limit for it, memory would be swapped; not every kernel counts it.
                let _ = set(&dir.join("memory.swap.max"), 0);
                let _ = set(&dir.join("memory.memsw.limit_in_bytes"), bytes);
            }
            if let (true, Some(processes)) = (parent.has_processes, limits.processes) {
                set(&dir.join("pids.max"), processes.into())?;
            }
        }
        Ok(group)
    }
}

impl Group {
    /// The files to which a process writes `0` to become one of the group.
    pub(crate) fn entrances(&self) -> io::Result<Vec<File>> {
        self.dirs.iter().map(|dir| File::options().write(true).open(dir.join("cgroup.procs"))).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            if let Err(error) = fs::remove_dir(dir) {
                let group = dir.display();
                tracing::warn!(%error, %group, "a session's control group could not be removed");
            }
        }
    }
}

/// Sets a limit. The kernel makes its files; any other directory has none.
fn set(file: &Path, limit: u64) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(limit.to_string().as_bytes())
}

/// Where groups may be made, by what the kernel says of this process: of version 2 beside its own group,
/// which cannot have groups below it while it has processes, or below it if it is the root of all; of
/// version 1 below its own ones.
fn candidates(groups: &str, mount_point: &Path) -> Vec<Vec<Parent>> {
    let mut candidates = Vec::new();
    let mut older = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        if controllers.is_empty() {
            let both = |dir: &Path| {
                let dir = mount_point.join(dir);
                vec![Parent { dir, memory_file: Some("memory.max"), has_processes: true }]
            };
            candidates.extend(path.parent().map(both));
            candidates.push(both(path));
            continue;
        }
        let (memory, processes) = (controllers == "memory", controllers == "pids");
        if memory || processes {
            let memory_file = memory.then_some("memory.limit_in_bytes");
            let dir = mount_point.join(controllers).join(path);
            older.push(Parent { dir, memory_file, has_processes: processes });
        }
    }
    if older.len() == 2 {
        candidates.push(older);
    }
    candidates
}

/// Removes the groups of processes that are gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(owner).is_some_and(|(pid, start)| start_ticks(pid) != Some(start)) {
            // One that has processes stays: it is of another pid namespace.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The process that made a group, and when it began, from the group's name.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// When a process began, in ticks since the start of the machine.
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
    fn groups_are_made_where_the_kernel_says() {
        let found = |text| candidates(text, Path::new("/cg"));
        let both =
            |dir: &str| Parent { dir: dir.into(), memory_file: Some("memory.max"), has_processes: true };
        let newer = found("0::/user.slice/app.slice/me.scope\n");
        assert_eq!(newer, [[both("/cg/user.slice/app.slice")], [both("/cg/user.slice/app.slice/me.scope")]]);
        let older = found("8:pids:/\n4:memory:/a/b\n3:cpuset:/\n").pop().unwrap();
        assert_eq!(older[0].dir, Path::new("/cg/pids/"));
        assert_eq!(
            (older[1].dir.as_path(), older[1].memory_file),
            (Path::new("/cg/memory/a/b"), Some("memory.limit_in_bytes"))
        );
        assert!(found("8:pids:/\n").is_empty(), "one without the other is not enough");
    }

    #[test]
    fn a_group_names_the_process_that_made_it() {
        let this = std::process::id();
        let start = start_ticks(this).unwrap();
        assert_eq!(owner(&format!("abyme-{this}-{start}-3")), Some((this, start)));
        assert_eq!(owner("abyme-sessions-x"), None);
    }
}

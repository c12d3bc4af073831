//! Control groups: limits for all processes of a session together, where this process may make groups.
//!
//! Sessions that start no process need none: their memory and their processes are limited without.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::group_name::Maker;

const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// How often it is tried to remove a group, and how long it is waited in between: processes that were killed
/// take a moment to be gone.
const REMOVALS: u32 = 200;
const REMOVAL_INTERVAL: Duration = Duration::from_millis(5);

/// Makes groups, where this process can.
#[derive(Debug)]
pub(crate) struct GroupMaker {
    parents: Vec<Parent>,
    this: Maker,
    made: AtomicU64,
}

/// A directory of the kernel's in which groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parent {
    dir: PathBuf,
    kind: Kind,
}

/// What the groups of a directory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Memory and processes: version 2.
    Unified,
    /// Version 1 has a hierarchy for each.
    Memory,
    Processes,
}

/// What the processes of a session may take together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) processes: Option<u32>,
}

/// A group. It is removed when this is dropped, and what is still in it is killed.
#[derive(Debug)]
pub(crate) struct Group {
    dirs: Vec<PathBuf>,
    memory_bytes: Option<u64>,
}

impl GroupMaker {
    /// Makes groups that limit memory and processes. `None` where that is not possible. What processes left
    /// there that were killed is killed and removed.
    pub(crate) fn find() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let this = Maker::this()?;
        let candidates = candidates(&groups, Path::new(MOUNT_POINT));
        candidates.into_iter().find_map(|parents| {
            if !parents.iter().all(Parent::may_be_used) {
                return None;
            }
            parents.iter().for_each(|parent| sweep(&parent.dir, &this));
            let maker = Self { parents, this, made: AtomicU64::new(0) };
            // Only trying shows whether limits can be set.
            let limits = GroupLimits { memory_bytes: Some(1 << 30), processes: Some(16) };
            let is_able = || maker.make(limits).is_ok();
            (is_able() || maker.parents.iter().all(Parent::enable) && is_able()).then_some(maker)
        })
    }

    /// Makes a group.
    pub(crate) fn make(&self, limits: GroupLimits) -> io::Result<Group> {
        loop {
            let name = self.this.name(self.made.fetch_add(1, Ordering::Relaxed));
            match self.make_as(&name, limits) {
                // Another maker of this process has one of this name.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
    }

    fn make_as(&self, name: &str, limits: GroupLimits) -> io::Result<Group> {
        let mut group = Group { dirs: Vec::new(), memory_bytes: limits.memory_bytes };
        for Parent { dir, kind } in &self.parents {
            let dir = dir.join(name);
            fs::create_dir(&dir)?;
            group.dirs.push(dir.clone());
            if let (Some(file), Some(bytes)) = (kind.memory_file(), limits.memory_bytes) {
                set(&dir.join(file), bytes)?;
                // Without a limit for it, memory would be swapped; not every kernel counts it.
                let _ = set(&dir.join("memory.swap.max"), 0);
                let _ = set(&dir.join("memory.memsw.limit_in_bytes"), bytes);
            }
            if let (true, Some(processes)) = (kind.has_processes(), limits.processes) {
                set(&dir.join("pids.max"), processes.into())?;
            }
        }
        Ok(group)
    }
}

impl Kind {
    fn memory_file(self) -> Option<&'static str> {
        match self {
            Self::Unified => Some("memory.max"),
            Self::Memory => Some("memory.limit_in_bytes"),
            Self::Processes => None,
        }
    }

    fn has_processes(self) -> bool {
        self != Self::Memory
    }
}

impl Parent {
    /// Whether it is a group whose processes this one may move. Where the controllers of version 1 are
    /// mounted, the directory above them is none.
    fn may_be_used(&self) -> bool {
        let processes = self.dir.join("cgroup.procs");
        match self.kind {
            // A process enters a group below this one by the right to write here, too.
            Kind::Unified => File::options().write(true).open(processes).is_ok(),
            Kind::Memory | Kind::Processes => processes.is_file(),
        }
    }

    /// Has the groups below this one limit something, as the owner of a delegated tree has to. The kernel
    /// refuses while this group has processes of its own, and in trees that are not this user's.
    fn enable(&self) -> bool {
        let controllers = File::options().write(true).open(self.dir.join("cgroup.subtree_control"));
        self.kind == Kind::Unified
            && controllers.and_then(|mut file| file.write_all(b"+memory +pids")).is_ok()
    }
}

impl Group {
    /// Kills all that is in it, whatever it did to stay.
    pub(crate) fn kill(&self) {
        for dir in &self.dirs {
            if let Err(error) = kill(dir) {
                let group = dir.display();
                tracing::warn!(%error, %group, "what is in a session's control group could not be killed");
            }
        }
    }

    /// The memory that its processes may take together, if the kernel has killed one that wanted more.
    pub(crate) fn overrun_bytes(&self) -> Option<u64> {
        let kills = |dir: &Path, file: &str| {
            let events = fs::read_to_string(dir.join(file)).ok()?;
            events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok())
        };
        let has_killed = |dir: &PathBuf| {
            let counted = ["memory.events", "memory.oom_control"].map(|file| kills(dir, file));
            counted.into_iter().flatten().any(|count| count > 0)
        };
        self.memory_bytes.filter(|_| self.dirs.iter().any(has_killed))
    }

    /// The files to which a process writes `0` to become one of the group.
    pub(crate) fn entrances(&self) -> io::Result<Vec<File>> {
        self.dirs.iter().map(|dir| File::options().write(true).open(dir.join("cgroup.procs"))).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            if let Err(error) = remove(dir) {
                let group = dir.display();
                tracing::warn!(%error, %group, "a session's control group could not be removed");
            }
        }
    }
}

/// Kills what is in a group and removes it.
fn remove(dir: &Path) -> io::Result<()> {
    let mut pauses = 1..REMOVALS;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && pauses.next().is_some() => {
                kill(dir)?;
                std::thread::sleep(REMOVAL_INTERVAL);
            }
            done => return done,
        }
    }
}

/// Kills the processes of a group: at once with version 2 since Linux 5.14, and one by one elsewhere, where
/// those that start meanwhile are left.
fn kill(dir: &Path) -> io::Result<()> {
    match File::options().write(true).open(dir.join("cgroup.kill")) {
        Ok(mut file) => file.write_all(b"1"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let held: Vec<_> = processes(dir)?
                .into_iter()
                .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
                .collect();
            // Of a process that ended since, the id may be that of another now, but not its descriptor.
            let now = processes(dir)?;
            for (_, process) in held.iter().filter(|(pid, _)| now.contains(pid)) {
                pidfd_send_signal(process, Signal::KILL)?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The processes of a group, as far as this one's namespace has them.
fn processes(dir: &Path) -> io::Result<Vec<Pid>> {
    let list = fs::read_to_string(dir.join("cgroup.procs"))?;
    Ok(list.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
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
            let both = |dir: &Path| vec![Parent { dir: mount_point.join(dir), kind: Kind::Unified }];
            candidates.extend(path.parent().map(both));
            candidates.push(both(path));
            continue;
        }
        let kind = match controllers {
            "memory" => Kind::Memory,
            "pids" => Kind::Processes,
            _ => continue,
        };
        older.push(Parent { dir: mount_point.join(controllers).join(path), kind });
    }
    if older.len() == 2 {
        candidates.push(older);
    }
    candidates
}

/// Removes the groups of makers that have ended, with what is in them: what left its session, where no
/// namespace held it.
fn sweep(parent: &Path, this: &Maker) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(Maker::of).is_some_and(|maker| maker.has_ended(this)) {
            let _ = remove(&entry.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_where_the_kernel_says() {
        let found = |text| candidates(text, Path::new("/cg"));
        let both = |dir: &str| Parent { dir: dir.into(), kind: Kind::Unified };
        let newer = found("0::/user.slice/app.slice/me.scope\n");
        assert_eq!(newer, [[both("/cg/user.slice/app.slice")], [both("/cg/user.slice/app.slice/me.scope")]]);
        let older = found("8:pids:/\n4:memory:/a/b\n3:cpuset:/\n").pop().unwrap();
        let expected = [("/cg/pids/", Kind::Processes), ("/cg/memory/a/b", Kind::Memory)];
        assert_eq!(older, expected.map(|(dir, kind)| Parent { dir: dir.into(), kind }));
        assert!(found("8:pids:/\n").is_empty(), "one without the other is not enough");
    }
}

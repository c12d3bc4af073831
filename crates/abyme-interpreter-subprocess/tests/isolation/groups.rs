//! Control groups: what they limit, what they kill, and what is left of them.
//!
//! Those of version 2 need a machine that has them, with a tree that this user may write to. Some tests make
//! a tree of their own and run themselves again in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use abyme_conformance::prerequisite::note_ignored;
use abyme_core::{CodeInterpreter, Guarantee, InterpreterFactory, InterpreterFactoryExt};
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};
use rustix::process::{Signal, getpid, kill_process};

use crate::{
    again::{PLAIN_USER, again, is_root, is_there, refuse, runtime, without_namespaces},
    attack::{dedent, isolated, open, printed, processes_with, run, secret},
    common::eventually,
};

const NONE: &str = "this user can make none here";
const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// Leaves its process group and its session, and stays.
const DAEMON: &str = r"
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: time.sleep(1)
        os._exit(0)
    os.wait()
    print('left')
";

/// Whether this holds the processes and the memory of sessions by control groups.
fn has_groups(subprocess: &Subprocess) -> bool {
    let guarantees = &subprocess.capabilities().guarantees;
    [Guarantee::ProcessCapped, Guarantee::MemoryCapped]
        .iter()
        .all(|guarantee| guarantees.get(guarantee).is_some_and(|by| by == "control group"))
}

/// The groups that a process is in, of those that can limit it.
fn groups_of(pid: &str) -> Vec<PathBuf> {
    let list = fs::read_to_string(Path::new("/proc").join(pid).join("cgroup")).unwrap_or_default();
    let dir = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let dir = Path::new(MOUNT_POINT).join(controllers).join(path.trim_start_matches('/'));
        (["", "memory", "pids"].contains(&controllers) && dir.join("cgroup.procs").is_file()).then_some(dir)
    };
    list.lines().filter_map(dir).collect()
}

/// Those of them that are a session's.
fn groups_of_session(pid: &str) -> Vec<PathBuf> {
    groups_of(pid).into_iter().filter(|dir| dir.to_str().unwrap().contains("/abyme-")).collect()
}

/// Where control groups can be made, processes of a session are counted and their memory is summed up.
#[tokio::test]
async fn a_fork_bomb_is_bounded() {
    let bounded = isolated().allow_processes().max_processes(20).memory_limit_bytes(256 << 20);
    if !has_groups(&bounded) {
        return note_ignored("control groups", NONE);
    }
    let bomb = r"
        import os, time
        started = 0
        try:
            while started < 60:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                started += 1
        except OSError: pass
        print(started)
    ";
    assert_eq!(printed(&run(&open(), bomb).await), "60");
    let started: u32 = printed(&run(&bounded, bomb).await).parse().unwrap();
    assert!((1..=20).contains(&started), "{started}");

    // Each of them keeps to the limit for one, and all together do not.
    let hoarding = r"
        import os, time
        ready, wake = os.pipe()
        for _ in range(8):
            if os.fork() == 0:
                kept = b'x' * (150 << 20)
                os.read(ready, 1)
                os._exit(0)
        time.sleep(1)
        os.write(wake, b'x' * 8)
        print(sum(os.wait()[1] != 0 for _ in range(8)))
    ";
    let limit = isolated().allow_processes().memory_limit_bytes(256 << 20).disk_limit_bytes(16 << 20);
    let mut session = limit.session().await.unwrap();
    let observation = session.run_code(dedent(hoarding)).await.unwrap();
    let survived = observation.session_ended.is_none() && printed(&observation) == "0";
    assert!(!survived, "1200 MB were held under a limit of 272 MB: {observation:?}");
    let _ = session.shutdown().await;
}

#[tokio::test]
async fn factories_of_one_program_have_groups_at_once() {
    let factories = [(); 2].map(|()| isolated().allow_processes());
    let mut sessions = Vec::new();
    for factory in factories.iter().cycle().take(6) {
        sessions.push(factory.session().await.unwrap());
    }
    for session in &mut sessions {
        assert!(session.run_code("1").await.unwrap().is_ok());
    }
}

/// The kernel kills the largest process. If that is the one that talks to the host, its end has a reason.
#[tokio::test]
async fn a_session_over_its_memory_limit_says_so() {
    let limited = isolated().allow_processes().memory_limit_bytes(512 << 20).disk_limit_bytes(16 << 20);
    if !has_groups(&limited) {
        return note_ignored("control groups", NONE);
    }
    // Each of the two keeps to the limit for one.
    let code = r"
        import subprocess, sys
        kept = b'x' * (380 << 20)
        print(subprocess.run([sys.executable, '-c', 'kept = b\'x\' * (200 << 20); print(len(kept))']))
    ";
    let observation = run(&limited, code).await;
    let reason = observation.session_ended.as_deref().unwrap_or_default();
    let expected = "signal 9 (kill), because memory ran out (limit 528 MB)";
    assert!(reason.contains(expected), "{observation:?}");
}

/// Without a pid namespace, the group is what holds all of a session.
#[test]
fn a_daemon_ends_with_a_session_that_has_no_namespaces() {
    if !is_there() {
        return without_namespaces("groups::a_daemon_ends_with_a_session_that_has_no_namespaces");
    }
    runtime().block_on(async {
        let mark = format!("ABYME_TEST_MARK={}", secret());
        let Some(mut session) = without_namespaces_session(&mark).await else { return };
        assert_eq!(printed(&session.run_code(dedent(DAEMON)).await.unwrap()), "left");
        let daemons = processes_with(&mark);
        assert_eq!(daemons.len(), 2, "the session and what it started: {daemons:?}");
        let groups = groups_of_session(&daemons[0]);
        assert!(!groups.is_empty() && groups.iter().all(|group| group.is_dir()), "{groups:?}");
        session.shutdown().await.unwrap();
        assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
        assert_eq!(processes_with(&mark), Vec::<String>::new());
    });
}

async fn without_namespaces_session(mark: &str) -> Option<abyme_core::Session> {
    let (name, value) = mark.split_once('=').unwrap();
    let effort = isolated().allow_processes().isolation(IsolationMode::BestEffort).env(name, value);
    if !has_groups(&effort) {
        note_ignored("control groups", NONE);
        return None;
    }
    assert!(!effort.capabilities().guarantees.contains_key(&Guarantee::KilledWithHost));
    Some(effort.session().await.unwrap())
}

/// Without namespaces and Landlock, code writes to the kernel's files as its user does, and leaves its group.
#[test]
fn a_group_that_code_can_leave_is_no_promise() {
    const TEST: &str = "groups::a_group_that_code_can_leave_is_no_promise";
    if !is_there() {
        return without_namespaces(TEST);
    }
    refuse(&[(libc::SYS_landlock_create_ruleset, None)], libc::ENOSYS);
    runtime().block_on(async {
        let mark = format!("ABYME_TEST_MARK={}", secret());
        let (name, value) = mark.split_once('=').unwrap();
        let effort = isolated().allow_processes().isolation(IsolationMode::BestEffort).env(name, value);
        let mut session = effort.session().await.unwrap();
        let pid = processes_with(&mark).remove(0);
        let groups = groups_of_session(&pid);
        if groups.is_empty() {
            return note_ignored(TEST, NONE);
        }
        for host in groups_of("self") {
            let leave =
                format!("import os\nos.write(os.open({:?}, os.O_WRONLY), b'0')", host.join("cgroup.procs"));
            let observation = session.run_code(leave).await.unwrap();
            assert!(observation.is_ok(), "{observation:?}");
        }
        assert_eq!(groups_of_session(&pid), Vec::<PathBuf>::new());
        assert!(!has_groups(&effort), "{:?}", effort.capabilities().guarantees);
    });
}

const KILLED: &str = "ABYME_TEST_KILLED_HOST";

/// A killed host cannot kill what left its session where no namespace holds that. The next host does.
#[test]
fn what_a_killed_host_left_is_killed_by_the_next() {
    const TEST: &str = "groups::what_a_killed_host_left_is_killed_by_the_next";
    if !is_there() {
        return without_namespaces(TEST);
    }
    if let Ok(mark) = std::env::var(KILLED) {
        return runtime().block_on(async {
            let Some(mut session) = without_namespaces_session(&mark).await else { return };
            assert_eq!(printed(&session.run_code(dedent(DAEMON)).await.unwrap()), "left");
            kill_process(getpid(), Signal::KILL).unwrap();
        });
    }
    let mark = format!("ABYME_TEST_MARK={}", secret());
    let mut host = Command::new(std::env::current_exe().unwrap());
    let host = host.args(["--exact", TEST, "--nocapture"]).env(KILLED, &mark).output().unwrap();
    if host.status.success() {
        return; // It could make no groups, and has said so.
    }
    let is_left = || processes_with(&mark).len() == 1;
    assert!(eventually(is_left), "{:?} {host:?}", processes_with(&mark));
    let groups = groups_of_session(&processes_with(&mark)[0]);
    assert!(!groups.is_empty());
    let next = isolated().allow_processes().isolation(IsolationMode::BestEffort);
    assert!(has_groups(&next));
    assert!(eventually(|| processes_with(&mark).is_empty()));
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
}

/// A tree of version 2 that is this test's own. What is in it ends with it.
struct Tree(PathBuf);

impl Tree {
    /// Beside the group of this process or, if that is the root of all, below it.
    fn new(test: &str) -> Option<Self> {
        let list = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = list.lines().find_map(|line| line.strip_prefix("0::/")).map(PathBuf::from);
        let parents = own.iter().flat_map(|own| own.parent().into_iter().chain([own.as_path()]));
        for parent in parents.map(|dir| Path::new(MOUNT_POINT).join(dir)) {
            let tree = Self(parent.join(format!("test-{}", secret())));
            let has_all = |list: String| ["memory", "pids"].iter().all(|name| list.contains(name));
            if parent.join("cgroup.procs").is_file()
                && fs::create_dir(&tree.0).is_ok()
                && fs::read_to_string(tree.0.join("cgroup.controllers")).is_ok_and(has_all)
            {
                return Some(tree);
            }
        }
        note_ignored(test, "this user can make no control group of version 2 here");
        None
    }

    /// The script of a shell that is told the tree, and goes on as the command that follows.
    fn run(&self, test: &str, script: &str, with: &[&str]) {
        let script = format!("set -e; tree=$1; shift; {script}; exec \"$@\"");
        let shell = ["sh", "-c", &script, "sh", self.0.to_str().unwrap()];
        again(test, &[shell.as_slice(), with].concat());
    }

    /// The groups of sessions in it.
    fn sessions(tree: &Path) -> Vec<PathBuf> {
        let all = fs::read_dir(tree).unwrap().flatten().map(|entry| entry.path());
        all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("abyme-")).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for dir in ["inner/app", "inner", "app", ""] {
            let _ = fs::remove_dir(self.0.join(dir));
        }
        assert!(std::thread::panicking() || !self.0.exists(), "{} is left", self.0.display());
    }
}

/// As a service with `Delegate=yes` and `DelegateSubgroup=app`: nothing is enabled in its tree.
#[test]
fn the_controllers_of_a_delegated_tree_are_enabled() {
    const TEST: &str = "groups::the_controllers_of_a_delegated_tree_are_enabled";
    if !is_there() {
        let Some(tree) = Tree::new(TEST) else { return };
        let script = "mkdir $tree/app; echo $$ > $tree/app/cgroup.procs; export ABYME_TEST_TREE=$tree";
        return tree.run(TEST, script, &[]);
    }
    let tree = PathBuf::from(std::env::var_os("ABYME_TEST_TREE").unwrap());
    runtime().block_on(async {
        let limited = isolated().allow_processes().memory_limit_bytes(256 << 20).max_processes(20);
        assert!(has_groups(&limited), "{:?}", limited.capabilities().guarantees);
        let mut session = limited.session().await.unwrap();
        assert!(session.run_code("1").await.unwrap().is_ok());
        let groups = Tree::sessions(&tree);
        assert_eq!(groups.len(), 1, "{groups:?}");
        let set = |file: &str| fs::read_to_string(groups[0].join(file)).unwrap().trim().to_owned();
        assert_eq!(set("memory.max"), ((256_u64 << 20) + (1 << 30)).to_string());
        assert_eq!(set("pids.max"), "20");
        if groups[0].join("memory.swap.max").exists() {
            assert_eq!(set("memory.swap.max"), "0");
        }
        session.shutdown().await.unwrap();
        assert_eq!(Tree::sessions(&tree), Vec::<PathBuf>::new());
        drop(limited.session().await.unwrap());
        assert!(eventually(|| Tree::sessions(&tree).is_empty()), "one that was dropped");
        let mut killed = limited.session().await.unwrap();
        let observation = killed.run_code("import os\nos.kill(os.getpid(), 9)").await.unwrap();
        let reason = observation.session_ended.unwrap();
        assert!(reason.contains("perhaps because memory ran out"), "the kernel has killed none: {reason}");
        assert!(eventually(|| Tree::sessions(&tree).is_empty()), "one that was killed");
    });
}

/// Where no groups can be made, nothing is declared, sessions start all the same, and no group is left.
fn without_groups(test: &str, script: &str, with: &[&str]) {
    if !is_there() {
        if !is_root() {
            return note_ignored(test, "this user is not root");
        }
        let Some(tree) = Tree::new(test) else { return };
        tree.run(test, script, with);
        return assert_eq!(Tree::sessions(&tree.0), Vec::<PathBuf>::new());
    }
    runtime().block_on(async {
        let subprocess = isolated().allow_processes();
        let guarantees = &subprocess.capabilities().guarantees;
        assert!(!guarantees.contains_key(&Guarantee::ProcessCapped), "{guarantees:?}");
        assert!(!guarantees.contains_key(&Guarantee::MemoryCapped), "{guarantees:?}");
        assert_eq!(printed(&run(&subprocess, "print(6 * 7)").await), "42");
    });
}

/// As a service with `Delegate=yes` alone: a group that has processes has no limits for groups below it.
#[test]
fn a_group_that_holds_its_host_limits_nothing() {
    let script = "chown -R 65534 $tree; echo $$ > $tree/cgroup.procs";
    without_groups("groups::a_group_that_holds_its_host_limits_nothing", script, &PLAIN_USER);
}

#[test]
fn a_tree_without_the_memory_controller_limits_nothing() {
    let script = "echo +pids > $tree/cgroup.subtree_control; mkdir -p $tree/inner/app; \
                  chown -R 65534 $tree/inner; echo $$ > $tree/inner/app/cgroup.procs";
    without_groups("groups::a_tree_without_the_memory_controller_limits_nothing", script, &PLAIN_USER);
}

/// Only the directory is the user's: no process of theirs may enter a group below it.
#[test]
fn a_tree_that_no_process_may_enter_limits_nothing() {
    let script = "echo '+memory +pids' > $tree/cgroup.subtree_control; mkdir $tree/app; \
                  chown 65534 $tree; echo $$ > $tree/app/cgroup.procs";
    without_groups("groups::a_tree_that_no_process_may_enter_limits_nothing", script, &PLAIN_USER);
}

/// As in a container.
#[test]
fn a_tree_that_is_mounted_to_be_read_limits_nothing() {
    let mount = "mount -o remount,bind,ro /sys/fs/cgroup && exec \"$0\" \"$@\"";
    let with = ["unshare", "-m", "sh", "-c", mount];
    without_groups("groups::a_tree_that_is_mounted_to_be_read_limits_nothing", ":", &with);
}

/// As a container that sees its own group as the root of all, with its processes in it.
#[test]
fn a_container_that_is_in_its_own_root_limits_nothing() {
    let script = "mkdir $tree/app; echo $$ > $tree/app/cgroup.procs";
    let mount = "umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"";
    let with = ["unshare", "-mC", "sh", "-c", mount];
    without_groups("groups::a_container_that_is_in_its_own_root_limits_nothing", script, &with);
}

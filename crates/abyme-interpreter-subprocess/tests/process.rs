//! What only this backend promises: where its process comes from, what it may use, and that nothing of it is
//! left.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use abyme_core::{
    CodeInterpreter, ErrorKind, InterpreterFactory, InterpreterFactoryExt, Observation, Pool, PoolConfig,
    Session,
};
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};
use common::eventually;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

async fn session(subprocess: Subprocess) -> Session {
    subprocess.session().await.unwrap()
}

/// Sessions whose processes and directories are the host's, where the test can look at them.
fn open() -> Subprocess {
    Subprocess::new().isolation(IsolationMode::Off)
}

fn shown(observation: &Observation) -> String {
    assert!(observation.is_ok(), "{observation:?}");
    observation.value.as_ref().unwrap().to_string().trim_matches('\'').to_owned()
}

async fn value(session: &mut Session, code: &str) -> String {
    shown(&session.run_code(code).await.unwrap())
}

fn is_running(pid: &str) -> bool {
    // A zombie has no command line any more.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Whether a child can be waited for: a moment after its memory and its command line are gone, and no sooner
/// does its parent hear of its end.
fn has_exited(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(child), options).is_ok_and(|status| status.is_some())
}

/// The processes that this one started and that run in a directory below `dir`.
fn children_in(dir: &Path) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir)))
        .collect()
}

#[tokio::test]
async fn the_working_directory_is_private_and_removed() {
    let mut session = session(open()).await;
    let code = "import os, stat\nopen('left.txt', 'w').write('x')\n\
                f'{os.getcwd()} {stat.S_IMODE(os.stat(os.getcwd()).st_mode):o}'";
    let (dir, mode) = value(&mut session, code)
        .await
        .split_once(' ')
        .map(|(a, b)| (PathBuf::from(a), b.to_owned()))
        .unwrap();
    assert_eq!(mode, "700");
    assert!(dir.join("left.txt").exists());
    session.shutdown().await.unwrap();
    assert!(!dir.exists(), "the directory is gone when shutdown returns");
}

#[tokio::test]
async fn the_environment_is_an_allow_list() {
    let config = Subprocess::new().env("GIVEN", "yes").allow_env("CARGO_PKG_NAME");
    let mut session = session(config).await;
    let names = value(&mut session, "import os\n' '.join(sorted(os.environ))").await;
    let names: Vec<_> = names.split(' ').collect();
    assert!(names.contains(&"GIVEN") && names.contains(&"CARGO_PKG_NAME"), "{names:?}");
    assert!(!names.contains(&"CARGO_MANIFEST_DIR") && !names.contains(&"USER"), "{names:?}");
}

#[tokio::test]
async fn the_limits_are_set() {
    let config = Subprocess::new()
        .memory_limit_bytes(2 << 30)
        .max_file_bytes(1 << 20)
        .max_open_files(64)
        .max_processes(1000)
        .cpu_timeout(Duration::from_secs(77));
    let mut session = session(config).await;
    let code = "import resource as r\n\
                names = 'AS FSIZE NOFILE NPROC CPU CORE'.split()\n\
                [r.getrlimit(getattr(r, 'RLIMIT_' + name))[0] for name in names]";
    assert_eq!(value(&mut session, code).await, "[2147483648, 1048576, 64, 1000, 77, 0]");
    let observation = session.run_code("open('big', 'wb').write(bytes(2 << 20))").await.unwrap();
    assert_eq!(observation.error.unwrap().type_name, "OSError");
    let observation = session.run_code("x = bytearray(3 << 30)").await.unwrap();
    assert_eq!(observation.error.unwrap().type_name, "MemoryError");
    assert_eq!(value(&mut session, "6 * 7").await, "42");
}

#[tokio::test]
async fn the_whole_group_is_killed() {
    let mut session = session(open()).await;
    let child = value(&mut session, "import subprocess\nsubprocess.Popen(['sleep', '1000']).pid").await;
    assert!(eventually(|| is_running(&child)));
    session.shutdown().await.unwrap();
    assert!(eventually(|| !is_running(&child)), "a process that a cell started lives on");
}

#[tokio::test]
async fn dropping_a_session_leaves_nothing() {
    let mut dropped = session(open()).await;
    let seen = value(&mut dropped, "import os\nf'{os.getpid()} {os.getcwd()}'").await;
    let (pid, dir) = seen.split_once(' ').unwrap();
    drop(dropped);
    assert!(eventually(|| !is_running(pid) && !Path::new(dir).exists()));
}

/// However deep they are, and though not even their owner may read them.
#[tokio::test]
async fn directories_of_any_depth_and_mode_go_with_their_session() {
    // In memory: some disks take milliseconds for each directory.
    let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut session = session(open().temp_dir(temp.path())).await;
    let code = "import os\nhere = os.getcwd()\nos.mkdir('closed')\nopen('closed/file', 'w').close()\n\
                os.chmod('closed', 0)\n\
                for _ in range(20_000):\n    os.mkdir('d')\n    os.chdir('d')\nhere";
    let dir = value(&mut session, code).await;
    assert!(Path::new(&dir).join("d/d/d").is_dir());
    session.shutdown().await.unwrap();
    assert!(!Path::new(&dir).exists());
}

#[tokio::test]
async fn a_kill_from_outside_is_named() {
    let mut session = session(Subprocess::new()).await;
    let observation = session
        .run_code("import os, signal\nprint('so far', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)")
        .await
        .unwrap();
    assert_eq!(observation.stdout.to_string(), "so far\n");
    let reason = observation.session_ended.unwrap();
    assert!(reason.contains("signal 9") && reason.contains("memory"), "{reason}");
    let error = session.run_code("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(error.message().contains("signal 9"), "{error}");
}

#[tokio::test]
async fn a_python_that_is_not_there_says_what_to_do() {
    let missing = Subprocess::new().python("python-that-is-not-there");
    let error = missing.session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.message().contains("no `python-that-is-not-there`") && error.message().contains("install"),
        "{error}"
    );

    let other = Subprocess::new().python("/bin/false");
    let error = other.session().await.unwrap_err();
    assert!(error.message().contains("not a Python that Abyme can use"), "{error}");

    let nowhere = open().temp_dir("/nonexistent");
    let error = nowhere.session().await.unwrap_err();
    assert!(error.message().contains("working directory"), "{error}");
}

#[tokio::test]
async fn the_real_python_is_found_once() {
    let factory = Subprocess::new();
    let mut first = factory.session().await.unwrap();
    let executable = value(&mut first, "import sys\nsys.executable").await;
    assert!(Path::new(&executable).is_absolute() && !executable.contains("shims"), "{executable}");
}

#[tokio::test]
async fn a_pool_holds_started_processes() {
    let pool = Pool::new(Subprocess::new(), PoolConfig::default().size(2));
    pool.fill().await.unwrap();
    let mut session = Session::new(pool.create().await.unwrap());
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    assert!(pool.ready() >= 1);
}

#[tokio::test]
async fn a_pool_drops_what_died_while_it_waited() {
    // Tests that run in this process at the same time have children of their own.
    let dir = tempfile::tempdir().unwrap();
    let factory = open().temp_dir(dir.path());
    let pool = Pool::new(factory, PoolConfig::default().size(1));
    pool.fill().await.unwrap();
    let pids = children_in(&dir.path().canonicalize().unwrap());
    assert_eq!(pids.len(), 1, "there is one waiting child to kill");
    let pid = Pid::from_raw(pids[0].parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert!(eventually(|| has_exited(pid)));
    let mut session = Session::new(pool.create().await.unwrap());
    assert_eq!(value(&mut session, "1 + 1").await, "2");
}

/// As tests do that share a pool: each `#[tokio::test]` has a runtime of its own.
#[test]
fn a_session_and_a_pool_know_their_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = Pool::new(Subprocess::new(), PoolConfig::default().size(1));
    let first = runtime();
    let mut session = first.block_on(async {
        let mut session = Session::new(pool.create().await.unwrap());
        assert_eq!(value(&mut session, "1 + 1").await, "2");
        pool.fill().await.unwrap();
        session
    });
    for _ in 0..2 {
        runtime().block_on(async {
            let error = session.run_code("1 + 1").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("started on another tokio runtime"), "{error}");
            let mut own = Session::new(pool.create().await.unwrap());
            assert_eq!(value(&mut own, "2 + 2").await, "4");
            pool.fill().await.unwrap();
        });
    }
    // The refused calls have not ended it.
    first.block_on(async { assert_eq!(value(&mut session, "3 + 3").await, "6") });
}

#[tokio::test]
async fn used_up_processor_time_is_named() {
    let mut session = session(Subprocess::new().cpu_timeout(Duration::from_secs(1))).await;
    let observation = session.run_code("while True: pass").await.unwrap();
    let reason = observation.session_ended.unwrap();
    assert!(reason.contains("processor time limit"), "{reason}");
}

#[test]
fn sessions_outlive_a_runtime_without_a_panic() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (session, pid) = runtime.block_on(async {
        let mut session = session(open()).await;
        let pid = value(&mut session, "import os\nos.getpid()").await;
        (session, pid)
    });
    drop(runtime);
    drop(session);
    assert!(eventually(|| !is_running(&pid)));
}

/// Only the process that started it reaps it afterwards.
#[test]
fn a_runtime_that_ends_while_python_is_looked_for_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let (python, pids) = (dir.path().join("python"), dir.path().join("pids"));
    // As a version manager, it has a child of its own, and it takes its time.
    let script = format!("#!/bin/sh\nsleep 1000 &\necho $$ $! > {}\nwait\n", pids.display());
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o700)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let subprocess = open().python(python);
    runtime.spawn(async move { subprocess.session().await.map(drop) });
    let started = || std::fs::read_to_string(&pids).unwrap_or_default();
    assert!(eventually(|| started().ends_with('\n')));
    runtime.shutdown_background();
    let started = started();
    let (asked, child) = started.trim().split_once(' ').unwrap();
    assert!(eventually(|| !Path::new("/proc").join(asked).exists()), "a zombie has a directory there, too");
    assert!(eventually(|| !is_running(child)));
}

/// Not a test by itself: the program that `a_killed_host_takes_its_sessions_along` starts and kills.
#[tokio::test]
async fn host_to_be_killed() {
    if std::env::var_os("ABYME_TEST_HOST").is_none() {
        return;
    }
    let mut session = session(open()).await;
    println!("session {}", value(&mut session, "import os\nos.getpid()").await);
    let _ = session.run_code("while True: pass").await;
}

#[test]
fn a_killed_host_takes_its_sessions_along() {
    use std::io::{BufRead, BufReader};

    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_to_be_killed", "--nocapture"])
        .env("ABYME_TEST_HOST", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let pid =
        lines.map_while(Result::ok).find_map(|line| Some(line.split_once("session ")?.1.to_owned())).unwrap();
    assert!(eventually(|| is_running(&pid)));
    host.kill().unwrap();
    host.wait().unwrap();
    assert!(eventually(|| !is_running(&pid)), "the session's process outlived its host");
}

const KILLED: &str = "ABYME_TEST_KILLED_HOST";

/// What a killed host leaves is removed by the next one, and what a living one has is not.
#[test]
fn directories_of_a_killed_host_are_removed_by_the_next() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let cwd = "import os\nos.getcwd()";
    if let Some(dir) = std::env::var_os(KILLED) {
        runtime.block_on(async {
            let mut session = session(open().temp_dir(dir)).await;
            println!("{KILLED} {}", value(&mut session, cwd).await);
            kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
        });
    }
    let parent = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["directories_of_a_killed_host_are_removed_by_the_next", "--exact", "--nocapture"])
        .env(KILLED, parent.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let left = text.lines().find_map(|line| line.split_once(KILLED)).unwrap().1.trim();
    assert!(Path::new(left).is_dir(), "{left}");
    runtime.block_on(async {
        let mut first = session(open().temp_dir(parent.path())).await;
        assert!(eventually(|| !Path::new(left).exists()));
        let alive = value(&mut first, cwd).await;
        let mut second = session(open().temp_dir(parent.path())).await;
        assert_eq!(value(&mut second, "1 + 1").await, "2");
        std::thread::sleep(Duration::from_millis(100));
        assert!(Path::new(&alive).is_dir());
    });
}

/// A value is passed on, or is an error of the cell: there is no depth at which the session ends.
#[tokio::test]
async fn deep_values_do_not_end_a_session() {
    let mut session = session(Subprocess::new()).await;
    for (levels, passes) in [(99, true), (100, true), (101, false), (102, false), (110, false), (500, false)]
    {
        for wrap in ["v", "{'$a': v}", "{'a': v}"] {
            let code = format!("v = 1\nfor _ in range({levels}): v = [v]\nSUBMIT({wrap})");
            let observation = session.run_code(code).await.unwrap();
            let nested = observation.error.as_ref().is_some_and(|error| error.message.contains("nested"));
            assert!(nested || observation.submission.is_some(), "{levels} {wrap}: {observation:?}");
            if wrap == "v" {
                assert_eq!(observation.submission.is_some(), passes, "{levels}: {observation:?}");
            }
        }
    }
}

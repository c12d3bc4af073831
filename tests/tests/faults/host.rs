//! Faults of the program that uses Abyme: it drops, it ends, it is killed, and its machine runs out of
//! things.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use abyme::{
    Cell, CodeInterpreter, CodeInterpreterExt, Error, ErrorKind, FunctionSpec, HostCall, HostError,
    HostFunctions, InterpreterFactory, InterpreterFactoryExt, Interruption, ParameterSpec, Scope, Session,
    Status, Value, inputs,
};
use abyme_conformance::prerequisite::note_ignored;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

use crate::{
    oracle::{
        Oracle, again, alone, alone_with, eventually, files_of_sessions, processes_of_sessions, pythons,
        times,
    },
    record::{beginning_of_a_run, is_over},
    runs::{ANSWER, first_session, guests, open_processes, processes, rlm, runtime},
};

/// What a killed host does until then.
const DIR: &str = "ABYME_TEST_KILLED_IN";

/// Numbers that are the same each time.
fn seeded() -> StdRng {
    StdRng::seed_from_u64(17)
}

#[test]
fn sessions_that_come_and_go_leave_nothing() {
    alone("host::sessions_that_come_and_go_leave_nothing", || {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            // The second ones have directories on disk.
            let cycles = times("ABYME_TEST_CYCLES", 60);
            for factory in [processes(dir.path()), open_processes(dir.path())] {
                first_session(&factory, dir.path()).await;
                come_and_go(&factory, dir.path(), cycles).await;
            }
            come_and_go(&guests(), dir.path(), cycles.max(1_000)).await;
        });
    });
}

/// One after the other, ended in each of the ways that there are.
async fn come_and_go(factory: &impl InterpreterFactory, dir: &Path, cycles: usize) {
    let once = async |number: usize| {
        let mut session = factory.session().await.unwrap();
        let seen = session.run_code(format!("open('left', 'w').write('x')\n{number}")).await.unwrap();
        assert_eq!(seen.value.unwrap().to_string(), number.to_string());
        match number % 3 {
            0 => session.shutdown().await.unwrap(),
            1 => drop(session),
            // In the middle of a cell.
            _ => {
                let cell = session.run_code("while True: pass");
                assert!(tokio::time::timeout(Duration::from_millis(1), cell).await.is_err());
            }
        }
    };
    for number in 0..30 {
        once(number).await;
    }
    settled(factory, dir).await;
    let oracle = Oracle::new(dir);
    for number in 0..cycles {
        once(number).await;
    }
    settled(factory, dir).await;
    oracle.nothing_is_left(200, 20 << 20);
    println!("{}: {cycles} cycles, {} KB more", factory.name(), oracle.grown_bytes() >> 10);
}

/// Waits for what was dropped before.
async fn settled(factory: &impl InterpreterFactory, dir: &Path) {
    factory.session().await.unwrap().shutdown().await.unwrap();
    eventually("directories go", || files_of_sessions(dir).is_empty());
    eventually("processes go", || pythons().is_empty());
}

/// Gives back what it gets, in an order that is not that of the calls.
struct Echo;

#[async_trait]
impl HostFunctions for Echo {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let value = call.kwargs["value"].clone();
        for _ in 0..value.repr(99).len() % 4 {
            tokio::task::yield_now().await;
        }
        Ok(value)
    }
}

#[test]
fn many_sessions_never_mix_their_answers() {
    alone("host::many_sessions_never_mix_their_answers", || {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            never_mixed(Arc::new(guests().max_sessions(70)), 64).await;
            never_mixed(Arc::new(processes(dir.path())), times("ABYME_TEST_PROCESSES", 64)).await;
        });
    });
}

async fn never_mixed(factory: Arc<dyn InterpreterFactory>, sessions: usize) {
    let scope = Scope::new().function(FunctionSpec::new("echo", "").parameter(ParameterSpec::new("value")));
    let scope = Arc::new(scope);
    let all = (0..sessions).map(|number| {
        let (factory, scope) = (factory.clone(), scope.clone());
        tokio::spawn(async move {
            let mut session = factory.create().await.unwrap();
            // Half of the calls one by one, half of them from four threads.
            let code = format!(
                "from concurrent.futures import ThreadPoolExecutor\n\
                 me = {number}\n\
                 def ask(n): return echo([me, n]) == [me, n]\n\
                 right = sum(ask(n) for n in range(100))\n\
                 with ThreadPoolExecutor(4) as pool: right += sum(pool.map(ask, range(100, 200)))\n\
                 right"
            );
            let seen = session.execute(Cell::new(code).scope(scope), &Echo).await.unwrap();
            assert_eq!(seen.value.as_ref().unwrap().to_string(), "200", "session {number}: {seen:?}");
            session.shutdown().await.unwrap();
        })
    });
    for session in all.collect::<Vec<_>>() {
        session.await.unwrap();
    }
}

/// Sessions are killed while runs go on in them, at any moment; the runs go on or say why not.
#[test]
fn killed_sessions_lose_no_event() {
    alone("host::killed_sessions_lose_no_event", || {
        let (dir, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut random = seeded();
        let count = times("ABYME_TEST_KILLS", 24);
        runtime().block_on(async {
            let rlm = rlm(processes(dir.path()));
            rlm.run(inputs! { docs: "first" }).await.unwrap();
            let oracle = Oracle::new(dir.path());
            let mut ends = HashMap::<String, usize>::new();
            let mut killed = 0;
            for number in 0..count {
                let path = traces.path().join(format!("{number}.jsonl"));
                let run = tokio::spawn(rlm.run(inputs! { docs: "text" }).trace(&path).into_future());
                for _ in 0..random.random_range(1..3) {
                    tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
                    for pid in pythons() {
                        let pid = Pid::from_raw(pid).unwrap();
                        killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
                    }
                }
                let ended = run.await.expect("nothing panics");
                let end = match &ended {
                    Ok(prediction) if prediction.status() == Status::Submitted => {
                        assert_eq!(prediction.get::<String>("text").unwrap(), ANSWER);
                        "submitted".to_owned()
                    }
                    Ok(prediction) => format!("{:?}", prediction.status()),
                    Err(error) => {
                        assert!(is_of_a_lost_session(error), "{error:?}");
                        format!("{:?}", error.kind())
                    }
                };
                *ends.entry(end).or_default() += 1;
                let record = beginning_of_a_run(&path).expect("the run wrote its record");
                assert!(is_over(&record), "{}", path.display());
                let kept = match &ended {
                    Ok(prediction) => prediction.trajectory(),
                    Err(error) => error.trajectory().unwrap(),
                };
                assert!(record.records().eq(kept.records()), "all that happened is in the file");
            }
            assert!(killed > 0, "no session was killed: the test tried nothing");
            oracle.nothing_is_left(200, 32 << 20);
            println!("{count} runs, {killed} kills: {ends:?}");
        });
    });
}

fn is_of_a_lost_session(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::SessionEnded | ErrorKind::Unavailable | ErrorKind::Protocol | ErrorKind::LimitReached
    )
}

/// A host that is killed at any moment leaves records that are complete up to their last event, and can be
/// gone on with.
#[test]
fn killed_hosts_lose_no_event() {
    const TEST: &str = "host::killed_hosts_lose_no_event";
    if let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) {
        return runs_until_killed(&dir);
    }
    let mut random = seeded();
    let count = times("ABYME_TEST_KILLS", 24);
    let (mut runs, mut hosts, mut unfinished, mut processes_seen) = (0, 0, 0, 0);
    while runs < count {
        let dir = tempfile::tempdir().unwrap();
        let mut host = again(TEST).env(DIR, dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(host.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("begun")), "the host runs");
        std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
        processes_seen += processes_of_sessions(dir.path()).len();
        host.kill().unwrap();
        host.wait().unwrap();
        hosts += 1;
        eventually("its processes end with it", || processes_of_sessions(dir.path()).is_empty());
        let mut left = Vec::new();
        for entry in fs::read_dir(dir.path()).unwrap().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            runs += 1;
            if beginning_of_a_run(&path).is_some_and(|record| !is_over(&record)) {
                left.push(path);
            }
        }
        unfinished += left.len();
        // One of them goes on; the deterministic tests of `backends` go on with every one.
        let Some(path) = left.first() else { continue };
        let sessions = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let resumed = rlm(processes(sessions.path())).resume(path).await;
            let resumed = resumed.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
            assert_eq!(resumed.get::<String>("text").unwrap(), ANSWER);
            assert!(is_over(&beginning_of_a_run(path).unwrap()));
        });
    }
    assert!(unfinished > 0, "no run was cut: the test tried nothing");
    assert!(processes_seen > 0, "no process of a session was seen before its host was killed");
    println!("{hosts} hosts killed in {runs} runs, {unfinished} of them unfinished");
}

/// The host: runs in three tasks, one after the other in each, until it is killed.
fn runs_until_killed(dir: &Path) {
    runtime().block_on(endless_runs(dir, 3, std::future::pending()));
}

/// So many runs at a time, which record in `dir`, with something else beside them once the first has ended.
async fn endless_runs(dir: &Path, at_once: usize, beside: impl Future<Output = ()>) {
    let rlm = rlm(processes(dir));
    rlm.run(inputs! { docs: "first" }).await.unwrap();
    println!("begun");
    let runs = stream::iter(0..100_000).for_each_concurrent(at_once, |number| {
        let run = rlm.run(inputs! { docs: "text" }).trace(dir.join(format!("{number}.jsonl")));
        async move { drop(run.await) }
    });
    tokio::select! {
        () = runs => {}
        () = beside => {}
    }
}

#[test]
fn dropped_runs_leave_nothing() {
    alone("host::dropped_runs_leave_nothing", || {
        let (dir, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut random = seeded();
        runtime().block_on(async {
            let kills = times("ABYME_TEST_KILLS", 24);
            for (name, rlm, most) in [
                ("isolated", rlm(processes(dir.path())), 120),
                ("open", rlm(open_processes(dir.path())), 120),
                ("wasm", rlm(guests()), 25),
            ] {
                rlm.run(inputs! { docs: "first" }).await.unwrap();
                let oracle = Oracle::new(dir.path());
                let mut cut = 0;
                for number in 0..kills {
                    let path = traces.path().join(format!("{name}-{number}.jsonl"));
                    let run = rlm.run(inputs! { docs: "text" }).trace(&path).into_future();
                    let limit = Duration::from_millis(random.random_range(0..most));
                    cut += usize::from(tokio::time::timeout(limit, run).await.is_err());
                    // The writer's thread may have a line still to write.
                    let is_closed = || match fs::metadata(&path) {
                        Ok(_) => beginning_of_a_run(&path).is_none_or(|record| is_over(&record)),
                        Err(_) => true,
                    };
                    eventually("the record of a dropped run is closed", is_closed);
                }
                assert!(cut > 0, "no run was dropped: the test tried nothing");
                oracle.nothing_is_left(200, 32 << 20);
            }
        });
    });
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_runs_leaves_nothing() {
    alone("host::a_runtime_that_ends_in_the_middle_of_runs_leaves_nothing", || {
        let dir = tempfile::tempdir().unwrap();
        let mut random = seeded();
        let backends: [Arc<dyn InterpreterFactory>; 2] =
            [Arc::new(processes(dir.path())), Arc::new(guests())];
        // What a factory finds out once is found before runtimes end.
        runtime().block_on(async {
            for backend in &backends {
                backend.session().await.unwrap().shutdown().await.unwrap();
            }
        });
        let ends_after = |moment: Duration| {
            let runtime = runtime();
            for backend in backends.clone() {
                let rlm = rlm(backend);
                for _ in 0..3 {
                    runtime.spawn(rlm.run(inputs! { docs: "text" }).into_future());
                }
            }
            std::thread::sleep(moment);
            runtime.shutdown_background();
        };
        ends_after(Duration::from_secs(1));
        eventually("processes go", || pythons().is_empty());
        eventually("directories go", || files_of_sessions(dir.path()).is_empty());
        let oracle = Oracle::new(dir.path());
        for _ in 0..8 {
            ends_after(Duration::from_millis(random.random_range(0..150)));
        }
        oracle.nothing_is_left(400, 64 << 20);
    });
}

#[test]
fn descriptors_that_run_out_are_an_error_and_come_back() {
    alone("host::descriptors_that_run_out_are_an_error_and_come_back", || {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let factory = processes(dir.path());
            factory.session().await.unwrap().shutdown().await.unwrap();
            let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
            let limit = Rlimit { current: Some(open + 30), maximum: Some(open + 30) };
            setrlimit(Resource::Nofile, limit).unwrap();
            let mut sessions: Vec<Session> = Vec::new();
            let error = loop {
                match factory.session().await {
                    Ok(session) => sessions.push(session),
                    Err(error) => break error,
                }
                assert!(sessions.len() < 40, "descriptors do not run out");
            };
            assert!(!sessions.is_empty(), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("open files"), "the cause is named: {error}");
            let seen = sessions[0].run_code("6 * 7").await.unwrap();
            assert_eq!(seen.value.unwrap().to_string(), "42", "those that are there go on");
            sessions.clear();
            eventually("processes go", || pythons().is_empty());
            let mut next = factory.session().await.unwrap();
            assert_eq!(next.run_code("1").await.unwrap().value.unwrap().to_string(), "1");
        });
    });
}

/// A library in front of the system's, under which the time of day goes back and forth by ten years.
const JUMPING_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>

static long jump(void) {
    static volatile unsigned long calls;
    return (__sync_add_and_fetch(&calls, 1) & 1 ? 1 : -1) * 315576000L;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += jump();
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

#[test]
fn a_clock_that_jumps_moves_no_limit() {
    let dir = tempfile::tempdir().unwrap();
    let under_the_clock = |command: &mut Command| {
        let (source, library) = (dir.path().join("clock.c"), dir.path().join("clock.so"));
        fs::write(&source, JUMPING_CLOCK).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let made = compiler.output();
        if !made.as_ref().is_ok_and(|made| made.status.success()) {
            return Err(format!("no C compiler makes the clock that jumps: {made:?}"));
        }
        command.env("LD_PRELOAD", &library);
        Ok(())
    };
    let test = "host::a_clock_that_jumps_moves_no_limit";
    alone_with(test, under_the_clock, limits_hold_under_a_jumping_clock);
}

fn limits_hold_under_a_jumping_clock() {
    let years = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (first, second) = (years(), years());
    assert!(first.abs_diff(second) > 300_000_000, "the clock jumps: {first}, {second}");
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let backends: [Arc<dyn InterpreterFactory>; 2] =
            [Arc::new(processes(dir.path())), Arc::new(guests())];
        for backend in backends {
            let name = backend.name().to_owned();
            let run = rlm(backend.clone()).run(inputs! { docs: "text" });
            let run = run
                .limits(|limits| limits.run_timeout(Duration::from_secs(600)))
                .trace(dir.path().join("run.jsonl"));
            let prediction = run.await.unwrap();
            assert_eq!(prediction.status(), Status::Submitted, "{name}: no limit came early");
            assert!(prediction.trajectory().records().all(|record| (0.0..600.0).contains(&record.at)));
            let session = backend.create().await.unwrap().into_session();
            let mut session = session.cell_timeout(Duration::from_secs(1));
            let seen = session.run_code("while True: pass").await.unwrap();
            assert_eq!(seen.interruption, Some(Interruption::Interrupted), "{name}: {seen:?}");
            session.shutdown().await.unwrap();
        }
    });
}

/// The cgroup of the host has no memory left, so the system kills it; what it started ends with it.
#[test]
fn a_host_without_memory_ends_and_its_sessions_too() {
    const TEST: &str = "host::a_host_without_memory_ends_and_its_sessions_too";
    if let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) {
        return takes_all_memory(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(group) = MemoryGroup::new(256 << 20) else {
        return note_ignored(TEST, "this user may make no cgroup that limits memory");
    };
    let procs = group.0.join("cgroup.procs");
    let enter = "echo $$ > \"$1\" && shift && exec \"$@\"";
    let program = std::env::current_exe().unwrap();
    let mut host = Command::new("sh")
        .args(["-c", enter, "sh"])
        .arg(&procs)
        .arg(program)
        .args(["--exact", TEST, "--nocapture"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<_> = lines.collect();
    assert!(said.iter().any(|line| line.contains("begun")), "{said:?}");
    assert!(!host.wait().unwrap().success(), "the host was killed: {said:?}");
    eventually("its processes end with it", || {
        fs::read_to_string(&procs).is_ok_and(|left| left.trim().is_empty())
    });
    for entry in fs::read_dir(dir.path()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
            beginning_of_a_run(&entry.path());
        }
    }
}

fn takes_all_memory(dir: &Path) {
    runtime().block_on(endless_runs(dir, 2, hoard()));
}

async fn hoard() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 4 << 20]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A cgroup of this test, removed when it is dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Of version 1 or 2, whichever is there: of version 2 beside the group of this process, which may be all
    /// that is delegated to this user, or in the root of all.
    fn new(limit_bytes: u64) -> Option<Self> {
        let name = format!("abyme-test-{}", std::process::id());
        let bytes = limit_bytes.to_string();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        let beside = Path::new("/sys/fs/cgroup").join(own.unwrap_or_default()).join("..");
        let unified = |dir| (dir, "memory.max", "memory.swap.max", "0");
        let older = "/sys/fs/cgroup/memory".into();
        for (root, limit, swap_limit, swap) in [
            (older, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes.as_str()),
            unified(beside),
            unified("/sys/fs/cgroup".into()),
        ] {
            // With version 1, the last one is a plain directory, where a file limits nothing.
            if !root.join("cgroup.procs").is_file() || fs::create_dir(root.join(&name)).is_err() {
                continue;
            }
            let group = Self(root.join(&name));
            if fs::write(group.0.join(limit), &bytes).is_ok() {
                // Without swap, where that is counted.
                let swap_limit = group.0.join(swap_limit);
                if swap_limit.is_file() {
                    fs::write(swap_limit, swap).ok();
                }
                return Some(group);
            }
        }
        None
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // It cannot be removed before the last process in it has ended.
        for _ in 0..500 {
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // A second panic would end the process, and hide the first.
        assert!(std::thread::panicking(), "a process stays in {}", self.0.display());
    }
}

//! Tests that need a process of their own: virtual environments, exits, the end of the program, and a lock
//! that no other test may hold meanwhile. Each test runs this program again, as a child with one part.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::{
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use abyme_core::{
    Cell, CodeInterpreter, ErrorKind, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    InterpreterFactoryExt, Interruption, NoHostFunctions, Scope, Session, Value,
};
use abyme_interpreter_pyo3::Pyo3;
use async_trait::async_trait;
use common::{session, value};
use tokio::sync::Notify;

const PART: &str = "ABYME_TEST_PART";

/// Runs the test `name` again in a child, as the part that `argument` describes.
fn play(name: &str, argument: impl AsRef<std::ffi::OsStr>) -> Output {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(["--exact", name, "--nocapture"]).env(PART, argument).output().unwrap()
}

fn part() -> Option<String> {
    std::env::var(PART).ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `os._exit` ends the host: this backend cannot stop it.
#[tokio::test]
async fn os_exit_ends_the_program() {
    if part().is_some() {
        let mut s = session().await;
        let _ = s.run_code("import os; os._exit(7)").await;
        unreachable!("the program goes on");
    }
    assert_eq!(play("os_exit_ends_the_program", "1").status.code(), Some(7));
}

/// The program ends at once: exit handlers do not run, and no thread of a cell delays it.
#[tokio::test]
async fn the_end_of_the_program_waits_for_nothing() {
    if part().is_some() {
        let mut s = session().await;
        let code = "import atexit, threading, time\natexit.register(print, 'an exit handler ran')\n\
                    threading.Thread(target=time.sleep, args=(60,), daemon=False).start()";
        value(&mut s, code).await;
        return;
    }
    let started = Instant::now();
    let output = play("the_end_of_the_program_waits_for_nothing", "1");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(!text(&output.stdout).contains("exit handler"), "{}", text(&output.stdout));
}

/// Python does not take Ctrl-C from the host.
#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_signal_is_the_host_s() {
    if part().is_some() {
        let mut s = session().await;
        let mut signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
        let code =
            "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT); time.sleep(0.1); 'untouched'";
        assert_eq!(value(&mut s, code).await, "'untouched'");
        signals.recv().await.unwrap();
        println!("the host has it");
        return;
    }
    let output = play("an_interrupt_signal_is_the_host_s", "1");
    assert!(text(&output.stdout).contains("the host has it"), "{}", text(&output.stderr));
}

/// The packages of a virtual environment can be imported; another one cannot be had in the same process.
#[tokio::test]
async fn a_virtual_environment_can_be_named() {
    if let Some(directory) = part() {
        let pyo3 = Pyo3::new().venv(&directory);
        let mut s = pyo3.session().await.unwrap();
        assert_eq!(value(&mut s, "import abyme_test_package; abyme_test_package.ANSWER").await, "42");
        assert_eq!(value(&mut s, "import sys; sys.prefix != sys.base_prefix").await, "True");
        for other in [Pyo3::new(), Pyo3::new().venv(Path::new(&directory).join("."))] {
            other.session().await.unwrap();
        }
        let other = Path::new(&directory).join("../other");
        let pyo3 = Pyo3::new().venv(other);
        let problem = pyo3.session().await.unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::Config);
        assert!(problem.message().contains("one process has one Python"), "{problem}");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut s = session().await;
    let (python, version) = (
        value(&mut s, "import sys; sys.executable").await,
        value(&mut s, "'%d.%d' % sys.version_info[:2]").await,
    );
    for name in ["it", "other"] {
        let directory = place.path().join(name);
        let made = Command::new(python.trim_matches('\''))
            .args(["-m", "venv", "--without-pip"])
            .arg(&directory)
            .status();
        assert!(made.is_ok_and(|status| status.success()), "{python} makes no virtual environment");
    }
    let packages = place.path().join(format!("it/lib/python{}/site-packages", version.trim_matches('\'')));
    std::fs::write(packages.join("abyme_test_package.py"), "ANSWER = 42").unwrap();
    let output = play("a_virtual_environment_can_be_named", place.path().join("it"));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// A program that waits for a session while it holds Python's lock gets an error that says so, in time.
#[test]
fn a_host_that_holds_the_lock_is_told() {
    if part().is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        pyo3::Python::initialize();
        let start = |pyo3: Pyo3| runtime.block_on(async { pyo3.create().await.unwrap().start().await });
        let short = Pyo3::new().start_timeout(Duration::from_millis(300));
        let problem = pyo3::Python::attach(|_| start(short)).unwrap_err();
        assert!(problem.message().contains("holds Python's lock"), "{problem}");
        start(Pyo3::new()).unwrap();
        return;
    }
    let started = Instant::now();
    let output = play("a_host_that_holds_the_lock_is_told", "1");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// A host that notifies the test when it is called, and answers.
#[derive(Debug, Default)]
struct Bell(Notify);

#[async_trait]
impl HostFunctions for Bell {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        self.0.notify_one();
        Ok(Value::None)
    }
}

/// A call into C that keeps Python's lock neither looks for interrupts nor lets other threads run. A long
/// regular expression does the same, but for how long depends on the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_holds_the_lock_ends_its_session_and_hangs_no_other() {
    if part().is_none() {
        let output = play("code_that_holds_the_lock_ends_its_session_and_hangs_no_other", "1");
        assert!(output.status.success(), "{}", text(&output.stderr));
        return;
    }
    let (mut stuck, mut other) = (session().await, session().await);
    value(&mut other, "x = 1").await;
    value(&mut stuck, "import ctypes").await;
    let bell = Arc::new(Bell::default());
    let host = bell.clone();
    let started = Instant::now();
    let task = tokio::spawn(async move {
        let ring = FunctionSpec::new("ring", "Tells that the cell has begun.");
        let cell = Cell::new("ring(); ctypes.PyDLL(None).sleep(9)").scope(Scope::new().function(ring).into());
        let seen = stuck.execute(cell.timeout(Duration::from_secs(2)), &*host).await.unwrap();
        (seen, stuck)
    });
    tokio::time::timeout(Duration::from_secs(10), bell.0.notified()).await.unwrap();
    let cell = Cell::new("x").timeout(Duration::from_secs(2));
    let seen = other.execute(cell, &NoHostFunctions).await.unwrap();
    // It may come before the call, and on a slow machine be there still when the call is over.
    assert!(
        seen.is_ok()
            || seen.interruption == Some(Interruption::Interrupted)
            || seen.session_ended.as_deref().is_some_and(|why| why.contains("holds Python's lock")),
        "{seen:#?}"
    );
    let (seen, mut stuck) = task.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(9), "the host waited {:?}", started.elapsed());
    let why = seen.session_ended.as_deref().unwrap_or_else(|| panic!("{seen:#?}"));
    assert!(why.contains("code written in C holds Python's lock"), "{why}");
    assert_eq!(seen.interruption, Some(Interruption::Killed));
    let problem = stuck.run_code("1").await.unwrap_err();
    assert!(problem.message().contains("the session was given up"), "{problem}");
    // When the call is over, sessions start again.
    assert_eq!(value(&mut session_after_the_lock().await, "1 + 1").await, "2");
}

async fn session_after_the_lock() -> Session {
    for _ in 0..60 {
        if let Ok(session) = Pyo3::new().session().await {
            return session;
        }
    }
    panic!("no session starts any more")
}

#[tokio::test]
async fn what_is_no_virtual_environment_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let start = async |directory: &Path| {
        let pyo3 = Pyo3::new().venv(directory);
        pyo3.session().await.unwrap_err()
    };
    let problem = start(place.path()).await;
    assert_eq!(problem.kind(), ErrorKind::Config);
    assert!(problem.message().contains("is not a virtual environment"), "{problem}");
    assert!(problem.message().contains("-m venv"), "{problem}");
    std::fs::write(place.path().join("pyvenv.cfg"), "home = /usr/bin\nversion = 2.7.18\n").unwrap();
    let problem = start(place.path()).await;
    assert!(problem.message().contains("is for Python 2.7.18, but this program is linked to"), "{problem}");
    std::fs::write(place.path().join("pyvenv.cfg"), "home = /usr/bin\n").unwrap();
    let problem = start(place.path()).await;
    assert!(problem.message().contains("bin/python3"), "{problem}");
    // None of it keeps Python from starting.
    assert_eq!(value(&mut session().await, "1 + 1").await, "2");
}

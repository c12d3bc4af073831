//! What sessions share and what they do not, and what happens to code that cannot be stopped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use abyme_core::{
    Access, Cell, CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    InterpreterFactoryExt, Interruption, Isolation, NoHostFunctions, Observation, ParameterSpec, Scope,
    Value,
};
use abyme_interpreter_pyo3::Pyo3;
use async_trait::async_trait;
use common::{error, session, value};

/// With the grace of C10, and what a busy machine adds.
const PROMPT: Duration = Duration::from_secs(10);

#[test]
fn nothing_is_promised_that_is_not_there() {
    let pyo3 = Pyo3::new();
    let capabilities = pyo3.capabilities();
    assert_eq!(capabilities.isolation, Isolation::None);
    for access in
        [capabilities.network, capabilities.host_files, capabilities.environment, capabilities.processes]
    {
        assert_eq!(access, Access::Open);
    }
    assert!(!capabilities.crash_isolated && capabilities.memory_limit_bytes.is_none());
    assert!(capabilities.notes.iter().any(|note| note.contains("inside the host program")));
}

/// Sessions print at the same time, in every way there is to print; some of them into a text of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn output_never_mixes() {
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            tokio::spawn(async move {
                let mut session = session().await;
                let code = format!(
                    "import sys, threading, contextlib, io, warnings\n\
                     from concurrent.futures import ThreadPoolExecutor\n\
                     me = 'session{number};'\n\
                     def speak(_=None):\n    \
                         for _ in range(200):\n        \
                             print(me); sys.stdout.write(me); sys.__class__; print(me, file=sys.stderr)\n\
                     threads = [threading.Thread(target=speak) for _ in range(2)]\n\
                     for t in threads: t.start()\n\
                     with ThreadPoolExecutor(2) as pool: list(pool.map(speak, range(2)))\n\
                     speak()\n\
                     for t in threads: t.join()\n\
                     if {number} % 2:\n    \
                         with contextlib.redirect_stdout(io.StringIO()) as own: speak()\n    \
                         assert own.getvalue().count(me) == 400, own.getvalue().count(me)\n    \
                         assert set(own.getvalue().replace('\\n', '').split(';')) == {{me[:-1], ''}}\n\
                     import __main__; __main__.me"
                );
                let cell = Cell::new(code).max_output_chars(1_000_000);
                let seen = session.execute(cell, &NoHostFunctions).await.unwrap();
                assert!(seen.is_ok(), "{seen:#?}");
                let (stdout, stderr) = (seen.stdout.to_string(), seen.stderr.to_string());
                let mine = format!("session{number};");
                let counts = (stdout.matches(&mine).count(), stderr.matches(&mine).count());
                assert_eq!(counts, (2000, if number % 2 == 1 { 1200 } else { 1000 }));
                let all = |text: &str| text.matches("session").count();
                assert_eq!((all(&stdout), all(&stderr)), counts);
                assert_eq!(seen.value.unwrap().to_string(), format!("'{mine}'"));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// `<cell 2>` exists in every session; each sees the lines of its own.
#[tokio::test]
async fn tracebacks_show_the_session_s_own_lines() {
    let (mut a, mut b) = (session().await, session().await);
    for session in [&mut a, &mut b] {
        value(session, "import linecache").await;
    }
    value(&mut a, "def f():\n    raise ValueError('a')  # of a").await;
    value(&mut b, "def f():\n    raise ValueError('b')  # of b").await;
    for (session, mine) in [(&mut a, "# of a"), (&mut b, "# of b")] {
        let seen = session.run_code("f()").await.unwrap();
        assert!(seen.error.unwrap().traceback.contains(mine));
        assert!(value(session, "import inspect; inspect.getsource(f)").await.contains(mine));
    }
}

/// What waits for ever, or catches everything, ends its own session only; its thread is asked to end until it
/// does.
#[tokio::test]
async fn code_that_does_not_stop_is_given_up() {
    let mut other = session().await;
    value(&mut other, "x = 1").await;
    for code in [
        "import threading\nlock = threading.Lock(); lock.acquire(); lock.acquire(timeout=6)",
        "import queue; queue.SimpleQueue().get(timeout=6)",
        // Not for ever: with most versions of Python nothing ends a loop that catches all.
        "n = 0\nwhile n < 50:\n    try:\n        while True: pass\n    except BaseException: n += 1",
    ] {
        let mut stuck = session().await;
        let cell = Cell::new(code).timeout(Duration::from_millis(200));
        let seen = stuck.execute(cell, &NoHostFunctions).await.unwrap();
        match seen.session_ended.as_deref() {
            Some(why) => {
                assert!(why.contains("does not come back to Python, or catches every exception"), "{why}");
            }
            // With luck an interrupt hits the loop where nothing is caught.
            None => assert!(code.contains("while") && seen.interruption == Some(Interruption::Interrupted)),
        }
        assert_eq!(value(&mut other, "x").await, "1");
    }
    drop(other);
    let deadline = Instant::now() + Duration::from_secs(30);
    while session_threads() > 0 {
        assert!(Instant::now() < deadline, "{} threads of sessions are left", session_threads());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same for a cell whose future was dropped, while the session is still there.
#[tokio::test]
async fn a_dropped_cell_that_does_not_stop_is_given_up() {
    let mut stuck = session().await;
    let code = "def spin():\n    while True: pass\nn = 0\n\
                while n < 50:\n    try: spin()\n    except BaseException: n += 1";
    let dropped =
        tokio::time::timeout(Duration::from_millis(200), stuck.execute(Cell::new(code), &NoHostFunctions));
    assert!(dropped.await.is_err());
    match stuck.run_code("1").await {
        Err(problem) => {
            assert!(problem.message().contains("a cancelled cell did not stop in order"), "{problem}");
            let deadline = Instant::now() + Duration::from_secs(30);
            while session_threads() > 0 {
                assert!(Instant::now() < deadline, "the thread of the session goes on");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        // With luck an interrupt hits the loop where nothing is caught.
        Ok(seen) => assert_eq!(seen.value.unwrap().to_string(), "1"),
    }
}

/// A host that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl HostFunctions for Silent {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        std::future::pending().await
    }
}

fn asking(code: &str) -> Cell {
    Cell::new(code).scope(Scope::new().function(FunctionSpec::variadic("ask", "Never answers.")).into())
}

fn assert_interrupted(code: &str, seen: &Observation) {
    assert_eq!(seen.interruption, Some(Interruption::Interrupted), "{code}\n{seen:#?}");
    assert_eq!(seen.error.as_ref().unwrap().type_name, "KeyboardInterrupt", "{code}");
}

/// A cell that waits for its threads waits for their calls: these end with the cell, and its state is kept.
#[tokio::test]
async fn threads_that_wait_for_the_host_do_not_hold_their_cell() {
    for (import, code) in [
        (
            "from concurrent.futures import ThreadPoolExecutor",
            "with ThreadPoolExecutor(4) as pool: list(pool.map(ask, range(20)))",
        ),
        ("import threading", "t = threading.Thread(target=ask); t.start(); t.join()"),
        ("import asyncio", "await asyncio.gather(*[asyncio.to_thread(ask) for _ in range(4)])"),
    ] {
        let mut s = session().await;
        value(&mut s, &format!("{import}\nx = 1")).await;
        let seen = s.execute(asking(code).timeout(Duration::from_millis(300)), &Silent).await.unwrap();
        assert_interrupted(code, &seen);
        assert_eq!(value(&mut s, "x").await, "1");
        // The same for a future that is dropped.
        let dropped =
            tokio::time::timeout(Duration::from_millis(300), s.execute(asking(code), &Silent)).await;
        assert!(dropped.is_err(), "{code}");
        assert_eq!(value(&mut s, "x").await, "1", "{code}");
    }
}

/// Waits of the standard library that check for interrupts when they are woken.
#[tokio::test]
async fn event_loops_and_conditions_are_interrupted() {
    for code in [
        "import asyncio; await asyncio.sleep(60)",
        "import queue; queue.Queue().get()",
        "import threading; threading.Event().wait(60)",
        "from concurrent.futures import Future; Future().result()",
    ] {
        let mut s = session().await;
        value(&mut s, "x = 1").await;
        let cell = Cell::new(code).timeout(Duration::from_millis(300));
        let seen = s.execute(cell, &NoHostFunctions).await.unwrap();
        assert_interrupted(code, &seen);
        assert_eq!(value(&mut s, "x").await, "1");
    }
}

/// A handler of `logging` belongs to all, and keeps the stream of the session that made it.
#[tokio::test]
async fn what_is_logged_goes_to_the_session_that_logs() {
    let (mut a, mut b) = (session().await, session().await);
    for (session, name) in [(&mut a, "a"), (&mut b, "b")] {
        let seen = session.run_code(&format!("import logging; logging.warning('of {name}')")).await.unwrap();
        assert_eq!(seen.stderr.to_string(), format!("WARNING:root:of {name}\n"));
    }
    a.shutdown().await.unwrap();
    let seen = b.run_code("logging.warning('later')").await.unwrap();
    assert_eq!(seen.stderr.to_string(), "WARNING:root:later\n");
}

/// Code of the cells that runs when their variables are dropped is told to end, too.
#[tokio::test]
async fn a_session_that_does_not_close_is_asked_to_end() {
    let mut s = session().await;
    value(&mut s, "class Endless:\n    def __del__(self):\n        while True: pass\nit = Endless()").await;
    let started = Instant::now();
    s.shutdown().await.unwrap();
    assert!(started.elapsed() < PROMPT);
    let deadline = Instant::now() + Duration::from_secs(30);
    while session_threads() > 0 {
        assert!(Instant::now() < deadline, "the thread of the session goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Threads of this process that run cells, where the system tells.
fn session_threads() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.trim() == "abyme-session")
        .count()
}

/// Threads that a cell leaves behind are told to end with their session, daemon or not.
#[tokio::test]
async fn threads_end_with_their_session() {
    let mut witness = session().await;
    let mut leaving = session().await;
    value(&mut witness, "import builtins; builtins.ticks = []").await;
    let code = "import threading, builtins\n\
                def tick():\n    \
                    while True: builtins.ticks.append(1); threading.Event().wait(0.001)\n\
                for daemon in (True, False): threading.Thread(target=tick, daemon=daemon).start()\n\
                while not builtins.ticks: threading.Event().wait(0.001)";
    value(&mut leaving, code).await;
    leaving.shutdown().await.unwrap();
    let code = "import time\nend = time.monotonic() + 30\n\
                while True:\n    \
                    before = len(builtins.ticks); time.sleep(0.3); more = len(builtins.ticks) - before\n    \
                    if not more or time.monotonic() > end: break\n\
                (before > 0, more)";
    assert_eq!(value(&mut witness, code).await, "(True, 0)");
}

#[tokio::test]
async fn python_leaves_signals_to_the_host() {
    let mut s = session().await;
    let seen = error(&mut s, "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)").await;
    assert!(seen.contains("main thread"), "{seen}");
    assert!(error(&mut s, "raise SystemExit(3)").await.starts_with("SystemExit"));
    assert_eq!(value(&mut s, "'goes on'").await, "'goes on'");
}

/// A child made by `os.fork` ends with its cell, whatever it did, and the session goes on in the parent.
#[tokio::test]
async fn a_forked_child_ends_with_its_cell() {
    let mut s = session().await;
    let code = "import os, warnings\nwarnings.simplefilter('ignore')\npid = os.fork()\n\
                if pid == 0: raise SystemExit(7)\n\
                os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])";
    assert_eq!(value(&mut s, code).await, "7");
    // Also one that has nowhere to say what went wrong.
    let code = code.replace("raise SystemExit(7)", "os.close(2); 1 / 0");
    assert_eq!(value(&mut s, &code).await, "1");
    assert_eq!(value(&mut s, "pid > 0").await, "True");
}

/// A child's call would get no answer.
#[tokio::test]
async fn a_forked_child_is_refused_by_the_host() {
    let mut s = session().await;
    let code = "import os, warnings\nwarnings.simplefilter('ignore')\npid = os.fork()\nif pid == 0:\n    \
                    try: ask()\n    \
                    except RuntimeError as error: os._exit('forked' in str(error))\n\
                os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])";
    let seen = s.execute(asking(code).timeout(PROMPT), &Silent).await.unwrap();
    assert_eq!(seen.value.unwrap().to_string(), "1");
}

/// Whatever a cell does to the proxies, the next cell and the other sessions find them installed.
#[tokio::test]
async fn proxies_are_installed_again() {
    let (mut a, mut b) = (session().await, session().await);
    for code in [
        "import sys; vars(sys)['stdout'] = None; vars(sys)['stderr'] = 5",
        "import sys; sys.modules['__main__'] = None",
        "import sys; del sys.modules['__main__']",
        "import linecache; linecache.cache = {}; linecache.clearcache()",
        "import sys; sys.stdout = None; sys.stderr.close()",
        "import sys; del sys.stdout",
    ] {
        let _ = a.run_code(code).await.unwrap();
        for session in [&mut a, &mut b] {
            let seen = session.run_code("import __main__; print('here'); __main__.__name__").await.unwrap();
            assert_eq!(seen.stdout.to_string(), "here\n", "{code}\n{seen:#?}");
            assert_eq!(seen.value.unwrap().to_string(), "'__main__'", "{code}");
            let seen = session.run_code("1 / 0  # shown").await.unwrap().error.unwrap();
            assert!(seen.traceback.contains("# shown"), "{code}\n{}", seen.traceback);
        }
    }
}

/// A hundred megabytes go in and come back, of one, two and four bytes a character, with nothing lost.
#[tokio::test]
async fn large_texts_go_both_ways() {
    let mut s = session().await;
    for text in ["line of text\n", "строка ", "🦀 crab "] {
        let text = text.repeat(30_000_000 / text.len());
        let cell = Cell::new("n = len(text)").variable("text", text.clone()).read("text").read("n");
        let seen = s.execute(cell, &NoHostFunctions).await.unwrap();
        assert!(seen.is_ok(), "{:?}", seen.error);
        assert_eq!(seen.variables["n"].as_i64(), i64::try_from(text.chars().count()).ok());
        assert!(seen.variables["text"].as_text() == Some(&text), "another text came back");
    }
}

#[tokio::test]
async fn values_over_the_budget_are_errors_of_the_cell() {
    let mut session = Pyo3::new().max_message_bytes(1 << 20).session().await.unwrap();
    for code in ["SUBMIT([0] * 1_000_000)", "SUBMIT('x' * 2_000_000)", "FINAL([[1]] * 100_000)"] {
        let error = error(&mut session, code).await;
        assert!(error.contains("more than 1 MiB of the host's memory"), "{error}");
    }
    let large = "n = 1 << 399_999\nFINAL([n] * 1000)";
    let mut session = Pyo3::new().session().await.unwrap();
    let error = error(&mut session, large).await;
    assert!(error.contains("large integers"), "{error}");
    let _ = session.run_code("v = [0] * 10_000_000").await.unwrap();
    let problem = session.get_variable("v").await.unwrap_err();
    assert!(problem.to_string().contains("more than 256 MiB"), "{problem}");
    assert_eq!(value(&mut session, "len(v)").await, "10000000");
}

/// Answers each call after a moment.
struct Slow;

#[async_trait]
impl HostFunctions for Slow {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(Value::None)
    }
}

#[tokio::test]
async fn calls_that_hold_too_much_are_refused_one_by_one() {
    let mut session = Pyo3::new().max_message_bytes(1 << 20).create().await.unwrap();
    let scope = Scope::new().function(FunctionSpec::new("f", "").parameter(ParameterSpec::new("value")));
    let code = "from concurrent.futures import ThreadPoolExecutor\n\
                def go(_):\n    \
                    try: f('x' * 600_000)\n    \
                    except RuntimeError as error: return str(error)\n\
                with ThreadPoolExecutor(4) as pool: print(sorted(map(str, pool.map(go, range(4)))))\n\
                print(go(0))";
    let cell = Cell::new(code).scope(std::sync::Arc::new(scope));
    let seen = session.execute(cell, &Slow).await.unwrap();
    let refused = "'the call was refused'";
    let expected = format!("['None', {refused}, {refused}, {refused}]\nNone\n");
    assert_eq!(seen.stdout.to_string(), expected, "{seen:?}");
}

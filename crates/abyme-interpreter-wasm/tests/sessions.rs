//! Sessions: what they offer, how many there can be, and what happens to hostile code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use abyme_core::{
    Cell, CodeInterpreter, ErrorKind, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    Interruption, NoHostFunctions, Scope, Stage, Value, built_in_functions,
};
use abyme_interpreter_wasm::Wasm;
use async_trait::async_trait;
use common::{error, factory, session, session_of, told, value};

#[tokio::test]
async fn the_standard_library_is_there() {
    let mut s = session().await;
    // Some are in the base image, some are imported from the archive.
    let modules = "json re math statistics decimal fractions zlib gzip hashlib hmac \
                   xml.etree.ElementTree html.parser urllib.parse email.message difflib textwrap sqlite3 \
                   wave colorsys plistlib tomllib configparser ast dis tokenize unittest doctest timeit \
                   pdb graphlib zipapp xml.dom.minidom";
    let code = format!(
        "import importlib\nmissing = []\nfor name in {modules:?}.split():\n\
         \x20   try: importlib.import_module(name)\n    \
         except ImportError: missing.append(name)\nmissing"
    );
    assert_eq!(value(&mut s, &code).await, "['sqlite3']");
    assert_eq!(
        value(&mut s, "import zlib; zlib.decompress(zlib.compress(b'x' * 1000)) == b'x' * 1000").await,
        "True"
    );
}

#[tokio::test]
async fn randomness_and_clocks_are_fresh() {
    let code = "import random, uuid, secrets, os, time, tempfile\n\
                [random.random(), uuid.uuid4().hex, secrets.token_hex(8), os.urandom(8).hex(), \
                next(tempfile._get_candidate_names())]";
    let (mut a, mut b) = (session().await, session().await);
    let (first, second) = (value(&mut a, code).await, value(&mut b, code).await);
    for (one, other) in first.split(", ").zip(second.split(", ")) {
        assert_ne!(one, other);
    }
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let theirs: u64 = value(&mut a, "int(time.time())").await.parse().unwrap();
    assert!((before..=now()).contains(&theirs));
    assert_eq!(
        value(&mut a, "t = time.monotonic(); time.sleep(0.05); 0.04 < time.monotonic() - t < 5").await,
        "True"
    );
}

/// What is in the base image is never freed, which its count of references shows.
#[tokio::test]
async fn the_functions_of_a_run_are_in_the_base_image() {
    let mut interpreter = factory().create().await.unwrap();
    let functions = built_in_functions();
    let names: Vec<_> = functions.iter().map(|function| function.name.clone()).collect();
    let other = FunctionSpec::new("another", "");
    let scope = functions.into_iter().fold(Scope::new().function(other), Scope::function);
    let code = format!(
        "import sys\nkept = lambda f: sys.getrefcount(f.__code__) > 1_000_000\n\
         all(map(kept, [{}])), kept(another)",
        names.join(", ")
    );
    let cell = Cell::new(code).scope(Arc::new(scope));
    let observation = interpreter.execute(cell, &NoHostFunctions).await.unwrap();
    assert_eq!(observation.value.unwrap().to_string(), "(True, False)");
}

#[tokio::test]
async fn sockets_and_processes_are_refused() {
    let mut s = session().await;
    for code in [
        "import socket; socket.create_connection(('127.0.0.1', 80), timeout=1)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1')",
        "import subprocess; subprocess.run(['ls'])",
        "import os; os.fork()",
        "import os; os.system('ls')",
        "import ctypes",
        "import numpy",
    ] {
        let seen = error(&mut s, code).await;
        assert!(seen.contains("Error"), "{code}: {seen}");
    }
    assert_eq!(value(&mut s, "1 + 1").await, "2");
}

/// Whatever this code does: the host is fine, the session is usable afterwards, and no other is touched.
#[tokio::test]
async fn hostile_code_stays_inside() {
    let mut witness = session().await;
    value(&mut witness, "kept = 'untouched'").await;
    // Memory that was filled and freed stays changed, so the checkpoints here may be large.
    let factory = Wasm::new().max_sessions(2).checkpoint_limit_bytes(1 << 30);
    for code in [
        "while True: pass",
        "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')",
        "x = 7 ** 10_000_000; y = x * x",
        "sum(range(10**12))",
        "import time; time.sleep(100)",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "'x' * 10**10",
        "x = [0] * 10**9",
        "x = []\nwhile True: x.append('x' * 1000)",
        "d = {}\nfor n in range(10**9): d[n] = str(n) * 10",
        "def f(): return f()\nf()",
        "import sys; sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
        "class A:\n    def __repr__(self): return repr(self)\nrepr(A())",
        "x = []\nfor _ in range(100_000): x = [x]\nrepr(x)",
        "x = []\nfor _ in range(1_000_000): x = [x]\ndel x",
        "import json; json.loads('[' * 1_000_000)",
        "import pickle\nx = []\nfor _ in range(100_000): x = [x]\npickle.dumps(x)",
        "import re; re.compile('(' * 100_000 + ')' * 100_000)",
        "eval('(' * 10_000 + ')' * 10_000)",
        "eval('-' * 100_000 + '1')",
        "import ast; ast.parse('x' + '.x' * 200_000)",
        "import copy\nx = []\nfor _ in range(100_000): x = [x]\ncopy.deepcopy(x)",
        "import os; os._exit(1)",
        "import os; os.abort()",
        "import signal; signal.raise_signal(signal.SIGABRT)",
        "import faulthandler; faulthandler._sigsegv()",
        "import faulthandler; faulthandler._fatal_error_c_thread()",
        "import faulthandler; faulthandler._stack_overflow()",
        "import _abyme_guest; _abyme_guest.start(1, 2, 3)",
        "import _abyme_guest; _abyme_guest.submit('x', 'y', 'z')",
        "import _abyme_guest; _abyme_guest.wait(12345, -1.0)",
        "import _abyme_guest; _abyme_guest.wait(0, -1.0)",
        "import _abyme_guest; _abyme_guest.output(0, 'x' * 10_000_000)",
        "import os\nfor fd in range(300): os.close(fd)",
        "import os\nos.write(1, b'x' * 50_000_000)",
        "import sys; sys.settrace(lambda *a: 1 / 0)\nlen([])",
        "import gc; gc.get_objects()[0]; gc.set_threshold(1)\nfor o in gc.get_objects():\n\
         \x20   try: o.clear()\n    except BaseException: pass",
        "import sys\nsys.modules.clear()\nimport json",
        "import builtins\nfor n in list(vars(builtins)):\n    delattr(builtins, n)",
    ] {
        let mut s = session_of(&factory).await.cell_timeout(Duration::from_secs(2));
        value(&mut s, "kept = 1").await;
        let outcome = s.run_code(code).await;
        if s.ended().is_some() {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Protocol, "{code}");
            s = session_of(&factory).await.cell_timeout(Duration::from_secs(2));
            value(&mut s, "kept = 1").await;
        }
        let after = s.run_code("kept").await.unwrap();
        assert_eq!(
            after.value.as_ref().map(ToString::to_string).as_deref(),
            Some("1"),
            "{code}\n{}",
            told(&after)
        );
    }
    assert_eq!(value(&mut witness, "kept").await, "'untouched'");
}

/// Recursion without end is a `RecursionError` in whatever way the calls are made, and costs no memory.
#[tokio::test]
async fn runaway_recursion_is_limited() {
    let mut s = session().await;
    for code in [
        "def walk(n): return walk(n)\nwalk(1)",
        "def walk(n, d=0): return walk(n)\nwalk(1)",
        "def walk(n, **more): return walk(n=n)\nwalk(1)",
        "class A:\n    def walk(self, d=0): return self.walk()\nA().walk()",
        "class B:\n    def __init__(self, d=0): B()\nB()",
        "def walk():\n    for x in walk(): yield x\nlist(walk())",
        "def walk():\n    yield from walk()\nlist(walk())",
        "class C:\n    def __getitem__(self, n): return self[n]\nC()[0]",
        "class D:\n    @property\n    def x(self): return self.x\nD().x",
        "class E:\n    def __getattr__(self, name): return getattr(self, name)\nE().x",
    ] {
        let message = error(&mut s, code).await;
        assert!(message.starts_with("RecursionError: maximum recursion depth exceeded"), "{code}\n{message}");
        let indented = code.replace('\n', "\n    ");
        let caught = format!("try:\n    {indented}\nexcept RecursionError: caught = True\ncaught");
        assert_eq!(value(&mut s, &caught).await, "True", "{code}");
    }
    // The session can still come back after a crash.
    let crashed = s.run_code("import os\nos._exit(1)").await.unwrap();
    assert!(crashed.restored.is_some() && crashed.session_ended.is_none(), "{crashed:?}");
    assert_eq!(value(&mut s, "caught").await, "True");
    // A deep structure is reported at once, too.
    let deep = "import copy\nx = []\nfor _ in range(100_000): x = [x]\ncopy.deepcopy(x)";
    assert!(error(&mut s, deep).await.starts_with("RecursionError"));
}

/// What this Python lacks is said in the error that a cell gets.
#[tokio::test]
async fn what_is_missing_is_said() {
    let mut s = session().await;
    for (code, why) in [
        ("import os\nos.fork()", "without processes"),
        ("import os\nos.get_terminal_size()", "without processes, pipes, users and terminals"),
        ("import shutil\nshutil.disk_usage('/')", "without processes"),
        ("import multiprocessing\nmultiprocessing.Pool(2)", "ThreadPoolExecutor"),
        ("import signal\nsignal.alarm(1)", "no timers"),
        ("import numpy", "no native packages"),
        ("import sqlite3", "no native packages"),
        ("import zoneinfo\nzoneinfo.ZoneInfo('Europe/Paris')", "no time zones but UTC"),
    ] {
        let observation = s.run_code(code).await.unwrap();
        let problem = observation.error.as_ref().expect(code);
        assert!(problem.message.contains(why) && problem.traceback.contains(why), "{code}\n{problem:?}");
    }
    let utc = "import datetime\nstr(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('UTC')))";
    assert_eq!(value(&mut s, utc).await, "'2024-07-01 00:00:00+00:00'");
}

/// A cell that fills the memory leaves enough for the next one: for its own report, and to delete what it is
/// full of.
#[tokio::test]
async fn a_full_memory_can_be_emptied() {
    // Without checkpoints nothing but the session itself can help.
    let factory = Wasm::new().memory_limit_bytes(96 << 20).checkpoints(false).max_sessions(1);
    for code in [
        "x = []\nwhile True: x.append('x' * 1000)",
        "x = []\nwhile True: x.append(bytes(7))",
        "x = {}\nfor n in range(10**9): x[n] = [n]",
        "x = None\nwhile True: x = [x]",
        "x = []\ntry:\n    while True: x.append(object())\nexcept MemoryError: pass",
        "x = []\ntry:\n    while True: x.append('x' * 1000)\nexcept MemoryError:\n    try:\n\
         \x20       while True: x.append(object())\n    except MemoryError: pass",
    ] {
        let mut s = session_of(&factory).await.cell_timeout(Duration::from_secs(20));
        let full = s.run_code(code).await.unwrap();
        assert_eq!(full.session_ended, None, "{code}\n{}", told(&full));
        for wanted in ["True", "True"] {
            let next = s.run_code("x is not None").await.unwrap();
            assert_eq!(
                next.value.as_ref().map(ToString::to_string).as_deref(),
                Some(wanted),
                "{code}\n{}",
                told(&next)
            );
        }
        // Not anything of another size: this malloc keeps its pages for objects of the size they once held.
        let emptied = s.run_code("del x\nlen([str(n) for n in range(1000)])").await.unwrap();
        let value = emptied.value.as_ref().map(ToString::to_string);
        assert_eq!(value.as_deref(), Some("1000"), "{code}\n{}", told(&emptied));
    }
}

#[tokio::test]
async fn without_checkpoints_a_crash_ends_the_session() {
    let factory = Wasm::new().checkpoints(false).max_sessions(1);
    assert!(!factory.capabilities().restores);
    let mut s = factory.create().await.unwrap();
    let cell = Cell::new("print('before', flush=True)\nimport os; os._exit(3)");
    let seen = s.execute(cell, &NoHostFunctions).await.unwrap();
    assert_eq!(seen.session_ended.as_deref(), Some("the interpreter exited with code 3"));
    assert_eq!(seen.stdout.to_string(), "before\n");
    let problem = s.execute(Cell::new("1"), &NoHostFunctions).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::SessionEnded);
    // Its place is free again.
    let mut next = factory.create().await.unwrap();
    assert!(next.execute(Cell::new("1"), &NoHostFunctions).await.unwrap().is_ok());
    let cell = Cell::new("while True:\n    try:\n        while True: pass\n    except BaseException: pass");
    let seen = next.execute(cell.timeout(Duration::from_millis(300)), &NoHostFunctions).await.unwrap();
    assert_eq!(seen.interruption, Some(Interruption::Killed));
    assert!(seen.session_ended.is_some());
}

#[tokio::test]
async fn a_crash_over_the_checkpoint_limit_ends_the_session() {
    let factory = Wasm::new().checkpoint_limit_bytes(8 << 20).max_sessions(1);
    let mut s = factory.create().await.unwrap();
    let crash = || Cell::new("import os; os._exit(1)");
    assert!(s.execute(crash(), &NoHostFunctions).await.unwrap().restored.is_some());
    // It computes so long that its state is kept before the next cell, where that can be.
    let large = Cell::new("x = b'x' * (20 << 20)\nsum(range(3_000_000))");
    let _ = s.execute(large, &NoHostFunctions).await.unwrap();
    assert!(s.execute(crash(), &NoHostFunctions).await.unwrap().session_ended.is_some());
}

/// The place of a crashed session is its own: others that wait do not get it.
#[tokio::test]
async fn a_crashed_session_comes_back_before_others_begin() {
    let factory = Wasm::new().max_sessions(1).queue_timeout(Duration::from_millis(500));
    let mut s = factory.create().await.unwrap();
    let _ = s.execute(Cell::new("kept = 1"), &NoHostFunctions).await.unwrap();
    let waiting = async { factory.create().await.unwrap().start().await };
    let (waited, seen) =
        tokio::join!(waiting, s.execute(Cell::new("import os; os._exit(1)"), &NoHostFunctions));
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(seen.unwrap().restored.is_some());
    let seen = s.execute(Cell::new("kept"), &NoHostFunctions).await.unwrap();
    assert_eq!(seen.value.unwrap().to_string(), "1");
}

/// A guest that has its calls answered at once cannot keep the thread to itself.
#[tokio::test(flavor = "current_thread")]
async fn calls_without_end_are_stopped() {
    #[derive(Debug)]
    struct AtOnce;

    #[async_trait]
    impl HostFunctions for AtOnce {
        async fn call(&self, _: HostCall) -> Result<Value, HostError> {
            Ok(Value::None)
        }
    }

    let scope = Arc::new(Scope::new().function(FunctionSpec::new("f", "Answers at once.")));
    let code = "import _abyme_guest as g\nfrom collections import deque\nq = deque()\nwhile True:\n    \
                q.append(g.start('f', (), {}))\n    if len(q) > 5000:\n        n = q.popleft()\n        \
                try: g.reply(n)\n        except RuntimeError: q.append(n)";
    let mut s = factory().create().await.unwrap();
    let cell = Cell::new(code).scope(scope).timeout(Duration::from_millis(500));
    let seen = s.execute(cell, &AtOnce).await.unwrap();
    assert!(seen.interruption.is_some(), "{}", told(&seen));
}

#[tokio::test]
async fn what_is_too_large_to_pass_on_is_refused_in_python() {
    let mut s = session().await;
    assert!(error(&mut s, "FINAL(1 << 1_000_000)").await.contains("1000001 bits is too large"));
    assert!(error(&mut s, "FINAL([1, 'x', 1 << 1_000_000])").await.contains("too large to pass on"));
    assert!(error(&mut s, "FINAL([None] * 5_000_000)").await.contains("4000000 parts"));
    let seen = s.run_code("FINAL([1 << 300_000, -(1 << 64)] + [0] * 1000)").await.unwrap();
    assert!(seen.submission.is_some(), "{}", told(&seen));
}

#[tokio::test]
async fn what_was_printed_before_a_crash_is_kept() {
    let mut s = session().await;
    let seen =
        s.run_code("import os\nprint('printed')\nos.write(1, b'written\\n')\nos._exit(1)").await.unwrap();
    assert_eq!(seen.stdout.to_string(), "printed\nwritten\n");
    let seen = s.run_code("import os\nos.write(2, b'x' * 1_000_000)\nos.abort()").await.unwrap();
    assert!(seen.restored.unwrap().len() < 400);
}

#[tokio::test]
async fn sessions_over_the_limit_wait_for_their_turn() {
    let factory = Wasm::new().max_sessions(2).queue_timeout(Duration::from_millis(200));
    let (_first, mut second) = (session_of(&factory).await, session_of(&factory).await);
    let problem = factory.create().await.unwrap().start().await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unavailable);
    let said = problem.to_string();
    assert!(said.contains("all 2 are in use") && said.contains("`max_sessions`"), "{said}");
    // A fork needs a place too.
    assert_eq!(second.fork().await.unwrap_err().kind(), ErrorKind::Unavailable);
    // One that waits gets a place as soon as there is one.
    let factory = Wasm::new().max_sessions(1).queue_timeout(Duration::from_secs(30));
    let first = session_of(&factory).await;
    let waiting = async {
        let mut third = factory.create().await.unwrap();
        third.start().await.map(|()| third)
    };
    let (third, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(first);
    });
    let mut third = third.unwrap();
    // Also that of a large session, whose memory is given back elsewhere.
    let grown = third.execute(Cell::new("data = b'x' * 50_000_000"), &NoHostFunctions).await.unwrap();
    assert!(grown.error.is_none(), "{grown:?}");
    third.shutdown().await.unwrap();
    factory.create().await.unwrap().start().await.unwrap();
}

/// Every session waits in a host call until all of them do, on one thread.
#[tokio::test(flavor = "current_thread")]
async fn a_waiting_call_holds_no_thread() {
    const SESSIONS: usize = 100;
    let barrier = Arc::new(tokio::sync::Barrier::new(SESSIONS));
    let scope = Arc::new(Scope::new().function(FunctionSpec::new("meet", "Waits for all.")));
    let all = (0..SESSIONS).map(|_| {
        let (host, scope) = (Meet(barrier.clone()), scope.clone());
        async move {
            let mut session = factory().create().await.unwrap();
            let cell = Cell::new("meet()").scope(scope).timeout(Duration::from_secs(60));
            session.execute(cell, &host).await.unwrap()
        }
    });
    for seen in futures_util::future::join_all(all).await {
        assert_eq!(seen.value.as_ref().map(ToString::to_string).as_deref(), Some("'met'"), "{}", told(&seen));
    }
}

#[derive(Debug)]
struct Meet(Arc<tokio::sync::Barrier>);

#[async_trait]
impl HostFunctions for Meet {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        self.0.wait().await;
        Ok(Value::from("met"))
    }
}

#[tokio::test]
async fn what_does_not_fit_the_memory_is_said_so() {
    let factory = Wasm::new().memory_limit_bytes(64 << 20).max_sessions(1);
    let mut s = factory.create().await.unwrap();
    let cell = Cell::new("len(docs)").variable("docs", "x".repeat(100 << 20)).variable("n", 1);
    let seen = s.execute(cell, &NoHostFunctions).await.unwrap();
    let error = seen.error.unwrap();
    assert_eq!((error.type_name.as_str(), error.stage), ("MemoryError", Stage::Scope));
    assert!(
        error.message.contains("`docs` (at least 100 MiB in Python)") && error.message.contains("64 MiB"),
        "{}",
        error.message
    );
    assert!(s.execute(Cell::new("1"), &NoHostFunctions).await.unwrap().is_ok());
}

#[tokio::test]
async fn configurations_that_cannot_work_are_refused() {
    for (config, says) in [
        (Wasm::new().max_sessions(1).memory_limit_bytes(8 << 20), "too small"),
        (Wasm::new().max_sessions(1).memory_limit_bytes(5 << 30), "4096 MiB"),
        (Wasm::new().max_sessions(0), "`max_sessions`"),
    ] {
        let problem = config.prepare().await.unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::Config, "{problem}");
        assert!(problem.to_string().contains(says), "{problem}");
    }
}

/// How many turns of the thread some work takes.
async fn turns<T>(work: impl Future<Output = T>) -> (T, usize) {
    let (mut work, mut turns) = (pin!(work), 0);
    let done = poll_fn(|context| {
        turns += 1;
        work.as_mut().poll(context)
    })
    .await;
    (done, turns)
}

#[tokio::test]
async fn large_copies_leave_the_thread_to_others() {
    const LARGE: usize = 40_000_000;
    let factory = Wasm::new().max_sessions(3);
    let mut s = session_of(&factory).await;
    value(&mut s, &format!("big = bytearray(b'x') * {LARGE}")).await;
    let (snapshot, count) = turns(s.snapshot()).await;
    assert!(count > 8, "a snapshot: {count}");
    let (restored, count) = turns(factory.restore(snapshot.as_ref().unwrap())).await;
    assert!(count > 8, "a restored session: {count}");
    drop(restored);
    // What the snapshot wrote down is kept, and a fork of it has nothing to copy.
    value(&mut s, &format!("del big\nbig = bytearray(b'x') * {LARGE}")).await;
    let (fork, count) = turns(s.fork()).await;
    assert!(count > 8, "a fork: {count}");
    assert_eq!(value(&mut fork.unwrap(), "big.count(b'x')").await, LARGE.to_string());
    let cell = Cell::new("len(text)").variable("text", Value::from("ж".repeat(LARGE / 2)));
    let (observation, count) = turns(s.execute(cell, &NoHostFunctions)).await;
    assert_eq!(observation.unwrap().value.unwrap().to_string(), (LARGE / 2).to_string());
    assert!(count > 8, "a text: {count}");
}

#[tokio::test]
async fn a_dropped_copy_leaves_the_session_as_it_was() {
    let mut s = session_of(&Wasm::new().max_sessions(1)).await;
    value(&mut s, "big = bytearray(b'x') * 20_000_000").await;
    assert!(futures_util::poll!(pin!(s.snapshot())).is_pending());
    assert!(futures_util::poll!(pin!(s.run_code("big = None"))).is_pending());
    let observation = s.run_code("import os; os._exit(1)").await.unwrap();
    assert!(observation.restored.is_some(), "{}", told(&observation));
    assert_eq!(value(&mut s, "big.count(b'x')").await, "20000000");
}

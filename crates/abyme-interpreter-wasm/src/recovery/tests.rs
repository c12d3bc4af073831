//! What comes back after a crash is what was there: all of the memory, byte by byte, and the files.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use abyme_conformance::{CaseResult, FactoryHarness, run_all};
use abyme_core::{
    Capabilities, Cell, CodeInterpreter, Determinism, ErrorKind, FunctionSpec, HostCall, HostError,
    HostFunctions, InterpreterFactory, NoHostFunctions, Observation, ParameterSpec, Result, Scope, Value,
};
use abyme_driver::LazySession;
use async_trait::async_trait;
use proptest::prelude::*;
use tokio::sync::OnceCell;

use super::*;
use crate::{Wasm, config::WasmConfig, guest::request::message, memory::page::PAGE, session::WasmSession};

async fn with(config: WasmConfig) -> Arc<Runtime> {
    Arc::new(Runtime::load(config, crate::progress::Reporter::default()).await.unwrap())
}

async fn session() -> WasmSession {
    WasmSession::new(with(WasmConfig { max_sessions: 3, ..WasmConfig::default() }).await).await.unwrap()
}

/// Compares the session with what a crash now would bring back. Returns whether there was anything to
/// compare: not where the next cell begins with keeping the state.
async fn is_brought_back(live: &mut WasmSession, when: &str) -> bool {
    let Some((now, back)) = live.brought_back().await else { return false };
    let back = back.unwrap_or_else(|problem| panic!("{when}: {problem}"));
    let (now_memory, memory) = (now.memory(), back.memory());
    assert_eq!(now_memory.len(), memory.len(), "{when}");
    let differs = (0..).zip(now_memory.chunks(PAGE).zip(memory.chunks(PAGE)));
    let differs: Vec<u32> = differs.filter(|(_, (now, then))| now != then).map(|(page, _)| page).collect();
    assert!(differs.is_empty(), "{when}: pages {differs:?}");
    assert_eq!(system(now), system(&back), "{when}");
    true
}

/// The files, descriptors, clocks and seeds of a guest. The host's monotonic clock goes on meanwhile.
fn system(vm: &Vm) -> String {
    let text = format!("{:?}", vm.wasi().checkpoint());
    let (before, after) = text.split_once(" monotonic: ").unwrap();
    let (monotonic, rest) = after.split_once(',').unwrap();
    let monotonic = if vm.wasi().is_fixed() { monotonic } else { "" };
    format!("{before}{monotonic}{rest}")
}

async fn run(live: &mut WasmSession, code: &str) {
    let _ = ran(live, code).await;
    unhurried(live);
}

/// What cells take is not counted here: on a busy machine any may take long, after which the state is kept.
fn unhurried(live: &mut WasmSession) {
    if let Recovery::Ready(kept) = live.recovery() {
        kept.time = Duration::ZERO;
    }
}

async fn ran(live: &mut WasmSession, code: &str) -> Observation {
    let observation = live.execute(cell(code), &Host).await.unwrap();
    assert!(observation.is_ok(), "{code}: {observation:?}");
    observation
}

async fn value(live: &mut WasmSession, code: &str) -> String {
    let observation = ran(live, code).await;
    unhurried(live);
    observation.value.unwrap().to_string()
}

async fn crash(live: &mut WasmSession) -> Observation {
    live.execute(cell("x = 'lost'\nimport os\nprint('gone')\nos._exit(1)"), &Host).await.unwrap()
}

/// Crashes it and compares what was there with what is there.
async fn assert_survives(live: &mut WasmSession, when: &str) {
    assert!(is_brought_back(live, when).await, "{when}: nothing to compare");
    let before = live.memory().unwrap().to_vec();
    let observation = crash(live).await;
    assert!(observation.restored.is_some() && observation.session_ended.is_none(), "{when}: {observation:?}");
    assert!(live.memory().unwrap() == before, "{when}: after the crash");
}

fn cell(code: &str) -> Cell {
    let function = |name: &str| FunctionSpec::new(name, "").parameter(ParameterSpec::new("value"));
    let scope =
        Scope::new().function(function("echo")).function(function("later")).function(function("fail"));
    Cell::new(code).scope(Arc::new(scope)).timeout(Duration::from_secs(60))
}

/// `echo(value)` answers its argument, `later(value)` so many milliseconds later, `fail(value)` fails.
#[derive(Debug)]
struct Host;

#[async_trait]
impl HostFunctions for Host {
    async fn call(&self, mut call: HostCall) -> Result<Value, HostError> {
        let value = call.kwargs.swap_remove("value").unwrap_or_default();
        match call.name.as_str() {
            "echo" => Ok(value),
            "later" => {
                tokio::time::sleep(Duration::from_millis(value.as_i64().unwrap_or_default() as u64)).await;
                Ok(value)
            }
            _ => Err(HostError::new("KeyError", "it failed")),
        }
    }
}

/// A factory whose sessions are compared after each cell with what a crash would bring back.
struct Compared {
    wasm: Wasm,
    runtime: OnceCell<Arc<Runtime>>,
    /// How often they were.
    compared: Arc<AtomicUsize>,
}

struct ComparedSession {
    runtime: Arc<Runtime>,
    wasm: Wasm,
    session: LazySession<WasmSession>,
    compared: Arc<AtomicUsize>,
}

impl Compared {
    async fn session(&self, session: LazySession<WasmSession>) -> Box<dyn CodeInterpreter> {
        let runtime = self.runtime().await;
        Box::new(ComparedSession {
            runtime,
            wasm: self.wasm.clone(),
            session,
            compared: self.compared.clone(),
        })
    }

    async fn runtime(&self) -> Arc<Runtime> {
        self.runtime.get_or_init(|| with(WasmConfig::default())).await.clone()
    }
}

impl fmt::Debug for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compared")
    }
}

impl fmt::Debug for ComparedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ComparedSession")
    }
}

#[async_trait]
impl InterpreterFactory for Compared {
    fn name(&self) -> &str {
        "wasm"
    }

    fn capabilities(&self) -> &Capabilities {
        self.wasm.capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(self.session(LazySession::default()).await)
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        let session = WasmSession::restore(self.runtime().await, snapshot).await?;
        Ok(self.session(LazySession::started(session)).await)
    }
}

impl ComparedSession {
    async fn live(&mut self) -> Result<&mut WasmSession> {
        let runtime = self.runtime.clone();
        self.session.get_or_start(|| WasmSession::new(runtime)).await
    }

    async fn compare(&mut self, when: &str) {
        let compared = self.compared.clone();
        let Ok(live) = self.live().await else { return };
        if is_brought_back(live, when).await {
            compared.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl CodeInterpreter for ComparedSession {
    fn capabilities(&self) -> &Capabilities {
        self.wasm.capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        self.live().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        let when = format!("{:?}", cell.code);
        let observation = self.live().await?.execute(cell, host).await;
        self.compare(&when).await;
        observation
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        let session = LazySession::started(self.live().await?.fork().await?);
        let (runtime, wasm, compared) = (self.runtime.clone(), self.wasm.clone(), self.compared.clone());
        Ok(Box::new(Self { runtime, wasm, session, compared }))
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.live().await?.snapshot().await
    }

    async fn shutdown(&mut self) -> Result<()> {
        drop(self.session.end(WasmSession::ended));
        Ok(())
    }
}

#[tokio::test]
async fn after_every_cell_of_the_conformance_suite_a_replay_gives_the_same_memory() {
    let compared = Arc::new(AtomicUsize::new(0));
    let factory = Compared { wasm: Wasm::new(), runtime: OnceCell::new(), compared: compared.clone() };
    let results = run_all(FactoryHarness::new(factory)).await;
    let failed: Vec<_> = results.iter().filter(|(_, result)| result.is_failed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.iter().filter(|(_, result)| *result == CaseResult::Passed).count() > 100);
    let compared = compared.load(Ordering::Relaxed);
    assert!(compared > 300, "only {compared} cells were compared");
}

/// Parts of programs: all kinds of work, and all kinds of questions that only the host can answer. `$` is a
/// number.
const PARTS: [&str; 30] = [
    "x = x + $",
    "d[$] = [str(n) for n in range($ * 7)]",
    "d.pop($, None)",
    "d.clear()",
    "import random; d['r'] = [random.random() for _ in range($)], random.choice('abc')",
    "import time; d['t'] = time.time(), time.monotonic(), time.perf_counter(), time.process_time()",
    "import os; d['u'] = os.urandom($)",
    "import uuid, secrets; d['i'] = uuid.uuid4(), secrets.token_hex($)",
    "import datetime; print(datetime.datetime.now())",
    "print('$' * $); print('error', file=__import__('sys').stderr)",
    "d['e'] = echo([$, 'text', {'k': d.get('r')}])",
    "d['l'] = echo('long ' * ($ * 1000))",
    "d['b'] = echo(bytes($ * 1000))",
    "try: fail($)\nexcept KeyError as problem: d['f'] = str(problem)",
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool: \
     d['p'] = list(pool.map(later, [$ % 5, 3, 0, 1, 2]))",
    "import asyncio\nasync def go():\n    \
     return await asyncio.gather(*[asyncio.to_thread(later, n) for n in (3, $ % 7, 1)])\n\
     d['a'] = asyncio.run(go())",
    "from concurrent.futures import ThreadPoolExecutor, as_completed\npool = ThreadPoolExecutor(3)\n\
     d['o'] = [done.result() for done in as_completed([pool.submit(later, n) for n in (4, $ % 9, 2)])]",
    "import time; time.sleep($ / 10000)",
    "import threading; t = threading.Thread(target=lambda: d.update(th=later(1)))\n\
     t.start(); t.join($ / 1000)",
    "raise ValueError($)",
    "1 / 0",
    "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nd['fib'] = f($ % 12)",
    "def deep(): return deep()\ntry: deep()\nexcept RecursionError: d['deep'] = True",
    "class C:\n    def __del__(self): print('deleted')\nd['c'] = C()",
    "import gc; gc.collect()",
    "import re; d['m'] = re.findall(r'[a-z]+', 'some text ' * $)",
    "big = bytearray($ * 50_000); big[::4096] = b'x' * len(big[::4096])",
    "import os; os.write(1, b'raw'); os.write(2, b'$')",
    "import json; d['j'] = json.loads(json.dumps({str(n): n for n in range($)}))",
    "import collections, decimal; d['n'] = collections.Counter('$' * $), decimal.Decimal($) / 7",
];

/// Parts that change files or are interrupted, after which a state is kept.
const KEPT: [&str; 3] = [
    "open('/work/f$', 'w').write('x' * $)",
    "import os, time; time.sleep(0.001)\nfor name in os.listdir('/work'): os.remove('/work/' + name)",
    "import tempfile; t = tempfile.NamedTemporaryFile(); t.write(b'$'); t.flush()",
];

fn program() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![9 => prop::sample::select(&PARTS[..]), 1 => prop::sample::select(&KEPT[..])];
    let part = (part, 1..60_u32).prop_map(|(part, number)| part.replace('$', &number.to_string()));
    let cell = prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("\n"));
    prop::collection::vec(cell, 1..8)
}

#[test]
fn after_random_programs_a_replay_gives_the_same_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let loaded = runtime.block_on(with(WasmConfig { max_sessions: 2, ..WasmConfig::default() }));
    let compared = AtomicUsize::new(0);
    let strategy = (program(), any::<Option<u64>>(), any::<bool>());
    proptest!(ProptestConfig::with_cases(48), |((cells, seed, crashes) in strategy)| {
        runtime.block_on(async {
            let mut live = WasmSession::new(loaded.clone()).await.unwrap();
            run(&mut live, "x, d = 0, {}").await;
            for code in &cells {
                let mut cell = cell(code);
                cell.determinism = seed.map(|seed| Determinism { seed, unix_ms: 1_700_000_000_000 });
                let _ = live.execute(cell, &Host).await.unwrap();
                unhurried(&mut live);
                if is_brought_back(&mut live, code).await {
                    compared.fetch_add(1, Ordering::Relaxed);
                    if crashes {
                        assert_survives(&mut live, code).await;
                    }
                }
            }
        });
    });
    let compared = compared.into_inner();
    assert!(compared > 80, "only {compared} cells were compared");
}

/// Nothing is kept in a young session: its cells are replayed.
#[tokio::test]
async fn few_states_are_kept() {
    let mut live = session().await;
    for number in 0..20 {
        value(&mut live, &format!("x = {number}\nx")).await;
        let Recovery::Ready(kept) = live.recovery() else { panic!("not ready") };
        assert_eq!(kept.cells.len(), number + 1);
        assert!(kept.state.pages.is_empty());
    }
    // What computes long is kept.
    let _ = ran(&mut live, "sum(range(3_000_000))").await;
    assert!(live.recovery().is_due());
    run(&mut live, "x").await;
    let Recovery::Ready(kept) = live.recovery() else { panic!("not ready") };
    assert!(kept.cells.len() == 1 && !kept.state.pages.is_empty());
    assert_survives(&mut live, "after a kept state").await;
    assert_eq!(value(&mut live, "x").await, "19");
}

#[tokio::test]
async fn a_crash_is_muted_when_it_is_replayed() {
    let mut live = session().await;
    let counted = ran(&mut live, "print('told once')\nx = echo(5)\nx").await;
    assert_eq!(counted.stdout.to_string(), "told once\n");
    let observation = crash(&mut live).await;
    assert_eq!(observation.stdout.to_string(), "gone\n");
    assert_eq!(observation.restored.as_deref(), Some("the interpreter exited with code 1"));
    // Once more, and with other ways to die; without a host, calls would fail.
    for code in ["import os\nos.abort()", "import os\nos._exit(3)"] {
        let observation = live.execute(cell(code), &NoHostFunctions).await.unwrap();
        assert!(observation.restored.is_some(), "{observation:?}");
        assert_eq!(value(&mut live, "x").await, "5");
        assert_survives(&mut live, code).await;
    }
    // Clocks do not go back.
    run(&mut live, "import time\nt = time.monotonic()").await;
    assert_survives(&mut live, "a clock").await;
    assert_eq!(value(&mut live, "time.monotonic() > t").await, "True");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_kept() {
    let mut live = session().await;
    run(&mut live, "x = 1").await;
    // Interrupted at its limit.
    let endless = cell("x = 2\nwhile True: x += 1").timeout(Duration::from_millis(50));
    let observation = live.execute(endless, &Host).await.unwrap();
    assert!(observation.interruption.is_some(), "{observation:?}");
    assert!(live.recovery().is_due());
    let x = value(&mut live, "x").await;
    assert_survives(&mut live, "an interrupt").await;
    assert_eq!(value(&mut live, "x").await, x);
    // Dropped, with a call in flight.
    let dropped = live.execute(cell("x = 'dropped'\nlater(100_000)"), &Host);
    tokio::time::timeout(Duration::from_millis(100), dropped).await.expect_err("it takes long");
    live.start().await.unwrap();
    assert!(live.recovery().is_due());
    assert_eq!(value(&mut live, "x").await, "'dropped'");
    assert_survives(&mut live, "a dropped cell").await;
    // Files, with the host's times.
    run(&mut live, "open('/work/f', 'w').write('text')").await;
    assert!(live.recovery().is_due());
    run(&mut live, "import os\nwhen = os.stat('/work/f').st_mtime_ns").await;
    assert_survives(&mut live, "a file").await;
    assert_eq!(
        value(&mut live, "open('/work/f').read(), os.stat('/work/f').st_mtime_ns == when").await,
        "('text', True)"
    );
    // Killed at its limit.
    let stubborn = cell("while True:\n    try:\n        while True: pass\n    except BaseException: pass");
    let observation = live.execute(stubborn.timeout(Duration::from_millis(50)), &Host).await.unwrap();
    assert!(observation.restored.is_some(), "{observation:?}");
    assert_eq!(value(&mut live, "x").await, "'dropped'");
}

/// Its interrupts are not those of the cells that are replayed.
#[tokio::test]
async fn a_dropped_cell_that_must_be_killed_leaves_no_trace() {
    let config =
        WasmConfig { max_sessions: 2, interrupt_grace: Duration::from_millis(50), ..WasmConfig::default() };
    let mut live = WasmSession::new(with(config).await).await.unwrap();
    run(&mut live, "x = sum(range(10_000))").await;
    run(&mut live, "y = [str(n) for n in range(10_000)]").await;
    let before = live.memory().unwrap().to_vec();
    let stubborn = "x = 'lost'\nwhile True:\n    try:\n        while True: pass\n    \
                    except BaseException: pass";
    let dropped = live.execute(cell(stubborn), &Host);
    tokio::time::timeout(Duration::from_millis(50), dropped).await.expect_err("it has no end");
    live.start().await.unwrap();
    assert!(live.memory().unwrap() == before);
    assert_eq!(value(&mut live, "x, len(y)").await, "(49995000, 10000)");
}

#[tokio::test]
async fn the_clocks_of_a_deterministic_session_are_replayed_with_its_files() {
    let mut live = session().await;
    let fixed = |code: &str| {
        let mut cell = cell(code);
        cell.determinism = Some(Determinism { seed: 7, unix_ms: 1_700_000_000_000 });
        cell
    };
    let _ =
        live.execute(fixed("import time, os, random\nopen('/work/f', 'w').write('1')"), &Host).await.unwrap();
    run(&mut live, "1").await;
    let code =
        "time.sleep(3)\nopen('/work/f', 'a').write('2')\nr = time.time(), os.urandom(5), random.random()\nr";
    for _ in 0..3 {
        let observation = live.execute(fixed(code), &Host).await.unwrap();
        assert!(observation.is_ok(), "{observation:?}");
        unhurried(&mut live);
        assert!(!live.recovery().is_due(), "files with the guest's own times can be replayed");
        assert_survives(&mut live, code).await;
    }
    assert_eq!(value(&mut live, "open('/work/f').read()").await, "'1222'");
}

#[tokio::test]
async fn what_was_read_of_a_mount_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "before").unwrap();
    let mounts = vec![abyme_wasi::Mount { host: dir.path().into(), guest: "/docs".into() }];
    let runtime = with(WasmConfig { max_sessions: 2, mounts, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime).await.unwrap();
    run(&mut live, "x = 1").await;
    assert_survives(&mut live, "no mount was used").await;
    for code in ["text = open('/docs/f').read()", "import os\nos.listdir('/docs')", "os.stat('/docs/f')"] {
        run(&mut live, code).await;
        assert!(live.recovery().is_due(), "{code}");
    }
    std::fs::write(dir.path().join("f"), "after").unwrap();
    run(&mut live, "x = 2").await;
    assert_survives(&mut live, "a mount").await;
    assert_eq!(value(&mut live, "text, open('/docs/f').read()").await, "('before', 'after')");
}

#[tokio::test]
async fn copies_of_a_session_with_records_have_their_own() {
    let runtime = with(WasmConfig { max_sessions: 6, ..WasmConfig::default() }).await;
    let mut live = WasmSession::new(runtime.clone()).await.unwrap();
    run(&mut live, "import random\nx = [random.random(), echo('kept')]").await;
    run(&mut live, "x.append(1)").await;
    let mut fork = live.fork().await.unwrap();
    let bytes = live.snapshot().await.unwrap();
    let mut restored = WasmSession::restore(runtime.clone(), &bytes).await.unwrap();
    let x = value(&mut live, "x").await;
    for copy in [&mut live, &mut fork, &mut restored] {
        assert_survives(copy, "a copy").await;
        run(copy, "y = random.random()\nx.append(y)").await;
        assert_survives(copy, "a cell of a copy").await;
        assert_eq!(value(copy, "x[:3]").await, x);
    }
    let mut second = fork.fork().await.unwrap();
    assert_eq!(value(&mut second, "len(x)").await, "4");
    assert_survives(&mut second, "a copy of a copy").await;
}

#[tokio::test]
async fn records_are_bounded() {
    let mut live = session().await;
    run(&mut live, "x = 0").await;
    let mut kept_states = 0;
    for (code, times) in [
        ("x = echo('x' * 100_000)", 40),                     // some of these fit
        ("for _ in range(100): x = echo('x' * 100_000)", 2), // one of these does not
        ("import time\nfor _ in range(200_000): time.monotonic()", 2),
        ("import os\nx = os.urandom(2_000_000)", 2),
        ("x = 1", 3),
    ] {
        for _ in 0..times {
            run(&mut live, code).await;
            kept_states += usize::from(live.recovery().is_due());
            if let Recovery::Ready(kept) = live.recovery() {
                let bytes: u64 = kept.cells.iter().map(ReplayableCell::bytes).sum();
                assert_eq!(bytes, kept.bytes);
                assert!(bytes <= 3 * RECORD_BYTES, "{bytes}");
            }
        }
        run(&mut live, "x is None").await;
        assert_survives(&mut live, code).await;
    }
    assert!(kept_states >= 8, "{kept_states}");
    // A request that is large by itself is not kept either.
    let values = Value::list((0..400_000).collect::<Vec<i64>>());
    let _ = live.execute(cell("").variable("values", values), &Host).await.unwrap();
    assert!(live.recovery().is_due());
    assert_eq!(value(&mut live, "len(values)").await, "400000");
}

#[tokio::test]
async fn large_inputs_are_put_in_again() {
    let config = WasmConfig { max_sessions: 2, memory_limit_bytes: 1 << 30, ..WasmConfig::default() };
    let mut live = WasmSession::new(with(config).await).await.unwrap();
    run(&mut live, "x = 0").await;
    for (name, text) in
        [("ascii", "a line of text\n".repeat(1_000_000)), ("wide", "строка\n".repeat(1_000_000))]
    {
        let observation = live.execute(cell("x += 1").variable(name, text), &Host).await.unwrap();
        assert!(observation.is_ok(), "{observation:?}");
        unhurried(&mut live);
        assert_survives(&mut live, name).await;
    }
    assert_eq!(value(&mut live, "x, len(ascii), len(wide)").await, "(2, 15000000, 7000000)");
    // What the session dropped is kept alive for a while, but not without end.
    for round in 0..20 {
        let text = format!("{round:9}\n").repeat(1_000_000);
        let _ = live.execute(cell("").variable("text", text), &Host).await.unwrap();
        let memory = live.memory().unwrap().len() as u64;
        if let Recovery::Ready(kept) = live.recovery() {
            assert!(kept.input_bytes <= memory + 10_000_000, "{} of {memory}", kept.input_bytes);
        }
    }
    run(&mut live, "x = 3").await;
    assert_survives(&mut live, "many inputs").await;
    assert_eq!(value(&mut live, "x, text[:10]").await, r"(3, '       19\n')");
}

/// Every record is changed in some way: a session never comes back in another state.
#[tokio::test]
async fn a_replay_that_differs_ends_the_session() {
    let other = |code: &str| message(&cell(code), None, &[], None).unwrap();
    type Change = Box<dyn Fn(&mut ReplayableCell)>;
    let changes: [(&str, Change); 6] = [
        ("other code", Box::new(move |cell| cell.request = other("x = echo(3); echo(4)"))),
        ("less code", Box::new(move |cell| cell.request = other("x = 1"))),
        ("code that fails", Box::new(move |cell| cell.request = other("import os\nos._exit(3)"))),
        ("no replies", Box::new(|cell| cell.record.replies.clear())),
        ("another reply", Box::new(|cell| cell.record.replies[0] = None)),
        ("another size", Box::new(|cell| cell.memory_len += 1 << 16)),
    ];
    let runtime = with(WasmConfig { max_sessions: 2, ..WasmConfig::default() }).await;
    for (what, change) in changes {
        let mut live = WasmSession::new(runtime.clone()).await.unwrap();
        for code in ["y = 1", "x = echo(3)", "y = 2"] {
            run(&mut live, code).await;
        }
        assert!(is_brought_back(&mut live, what).await);
        let Recovery::Ready(kept) = live.recovery() else { panic!("not ready") };
        change(&mut kept.cells[1]);
        let observation = crash(&mut live).await;
        assert_eq!(observation.restored, None, "{what}");
        assert_eq!(observation.stdout.to_string(), "gone\n");
        let reason = observation.session_ended.unwrap();
        assert_eq!(
            reason,
            "the interpreter exited with code 1; the session cannot be restored: cell 2 of the 3 since its \
             last kept state did not do again what it did when it first ran",
            "{what}"
        );
        let error = live.execute(cell("1"), &Host).await.unwrap_err();
        assert!(error.kind() == ErrorKind::SessionEnded && error.to_string().contains(&reason), "{error}");
    }
}

#[tokio::test]
async fn a_replay_without_end_is_ended() {
    let mut live = session().await;
    run(&mut live, "x = 1").await;
    let Recovery::Ready(kept) = live.recovery() else { panic!("not ready") };
    kept.cells[0].request = message(&cell("while True: pass"), None, &[], None).unwrap();
    let observation = crash(&mut live).await;
    let reason = observation.session_ended.unwrap();
    assert!(reason.ends_with("its last cells take far longer than before"), "{reason}");
}

//! One program on every backend: it observes the same, whichever Python runs it.
//!
//! What may differ, and is not compared:
//! - how long a cell took;
//! - the lines of carets under the source lines of a traceback, and the hint after its last line ("Did you
//!   mean"), which each version of Python has in its own way;
//! - the number of an `OSError`: WASI counts errors in its own way, `[Errno 44]` is what `[Errno 2]` is
//!   elsewhere. Code that compares with `errno.ENOENT` does not see it;
//! - addresses of objects and names of threads, which no cell here shows;
//! - paths of the standard library, and the lines of it that a traceback passes: no cell here raises inside
//!   of it;
//! - what happens to a session whose interpreter is gone, see `a_crash_is_seen_alike`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme::{
    Cell, CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory, Observation,
    ParameterKind, ParameterSpec, Scope, Subprocess, Value, subprocess::IsolationMode,
};
use async_trait::async_trait;
use tokio::sync::Barrier;

use crate::Backend;

/// What the cells can call, and what they called.
#[derive(Debug)]
struct Host {
    calls: Mutex<Vec<HostCall>>,
    four: Barrier,
}

impl Host {
    fn new() -> Self {
        Self { calls: Mutex::default(), four: Barrier::new(4) }
    }

    /// The calls since the last time, those that were in flight together in an order of their own.
    fn take(&self) -> Vec<HostCall> {
        let mut calls = std::mem::take(&mut *self.calls.lock().unwrap());
        if calls.iter().all(|call| call.name == "meet") {
            calls.sort_by_key(|call| call.kwargs["index"].to::<i64>().unwrap());
        }
        calls
    }
}

#[async_trait]
impl HostFunctions for Host {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        self.calls.lock().unwrap().push(call.clone());
        let text = |name: &str| call.kwargs[name].as_text().unwrap().to_owned();
        match call.name.as_str() {
            "add" => {
                let number = |name: &str| call.kwargs[name].to::<i64>();
                let (Ok(a), Ok(b)) = (number("a"), number("b")) else {
                    return Err(HostError::type_error("add() takes numbers"));
                };
                Ok((a + b).into())
            }
            "give" => Ok(call.kwargs["value"].clone()),
            "fail" => Err(HostError::new(text("kind"), text("message"))),
            "meet" => {
                self.four.wait().await;
                Ok(call.kwargs["index"].clone())
            }
            _ => Ok(Value::list([Value::from(call.name), Value::List(call.args), Value::Dict(call.kwargs)])),
        }
    }
}

pub(crate) fn scope() -> Scope {
    let parameter = ParameterSpec::new;
    Scope::new()
        .function(
            FunctionSpec::new("add", "Adds.")
                .parameter(parameter("a").annotation("int"))
                .parameter(parameter("b").annotation("int").default_value(10))
                .returns("int"),
        )
        .function(FunctionSpec::new("give", "Gives back.").parameter(parameter("value")))
        .function(FunctionSpec::variadic("any_of", "Takes all."))
        .function(
            FunctionSpec::new("fail", "Fails.")
                .parameter(parameter("kind"))
                .parameter(parameter("message").kind(ParameterKind::KeywordOnly).default_value("no reason")),
        )
        .function(FunctionSpec::new("meet", "Waits for three others.").parameter(parameter("index")))
        .module(
            "tools.py",
            "count = 0\ndef bump(by: int = 1) -> int:\n    \"\"\"Counts.\"\"\"\n    global count\n    \
             count += by\n    return count",
        )
        .output("title", "str")
        .output("rows", "list[int]")
}

fn given() -> Vec<(String, Value)> {
    let deep = Value::dict([("ключ", Value::list([Value::None, Value::from(true), Value::dict([("", 0)])]))]);
    [
        ("number", Value::from(-7)),
        ("big", Value::int_from_decimal("123456789012345678901234567890").unwrap()),
        ("small", Value::Float(0.1)),
        ("odd", Value::list([f64::NAN, f64::INFINITY, -0.0])),
        ("text", Value::from("naïve 日本 🦀\u{0}\r\n\u{2028}")),
        ("raw", Value::Bytes(vec![0, 255, 10].into())),
        ("deep", deep),
        ("long", Value::from("é🦀".repeat(100_000))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The program. Each cell goes on from those before it.
fn program() -> Vec<Cell> {
    // The host functions, tools and outputs of all cells but the last, which has none.
    let scope = Arc::new(scope());
    let mut cells: Vec<Cell> = CELLS.iter().map(|code| Cell::new(*code).scope(scope.clone())).collect();
    cells[1] = cells[1].clone().variables(given());
    for name in ["number", "big", "small", "odd", "text", "raw", "deep", "long", "missing"] {
        cells[2] = cells[2].clone().read(name);
    }
    for cell in cells.iter_mut().filter(|cell| cell.code.contains("over the cap")) {
        cell.max_output_chars = 101;
    }
    for cell in cells.iter_mut().filter(|cell| cell.code.contains("while True")) {
        cell.timeout = Some(Duration::from_secs(2));
    }
    cells.push(Cell::new("SUBMIT(k=1, other=[2])"));
    cells.push(Cell::new("SUBMIT('alone')"));
    cells.push(Cell::new("add(1)"));
    cells
}

const CELLS: &[&str] = &[
    "x = 41\nprint('six', end='')\nx + 1",
    "[repr(v)[:80] for v in (number, big, small, odd, text, raw, deep)], len(long), long[-2:]",
    "number *= 2\nbig += 1\nodd.append(1e300)\ntext += '!'\nraw = raw[:2]\ndeep['ключ'].append(x)\n\
     long = long[:5]",
    "import sys\nprint('наружу 🦀\\x00\\x1b[1m', 'b', sep='\\t')\nprint('err', file=sys.stderr)\n\
     sys.stdout.write('w\\r\\n')\nNone",
    "print(SHOW_VARS())",
    // Errors: their type, message, line, stage and the source they show.
    "def outer(n):\n    before = n\n    return inner(n - 1)\n\ndef inner(n):\n    return 10 // n\n\n\
     kept = outer(11)\nouter(1)",
    "kept, x",
    "y = 1\nz = = 2",
    "def f():\n  if x:\n return 1",
    "try:\n    {}['key']\nexcept KeyError as error:\n    raise ValueError('näh\\nzwei') from error",
    "class Odd(Exception):\n    def __str__(self): return 'odd: ' + repr(self.args)\nraise Odd(1, 'zwei')",
    "raise SystemExit(3)",
    "assert x == 0, 'not zero'",
    "raise ImportError('nowhere')",
    "exec('1\\n1 / 0')",
    "print('a' * 5); raise KeyboardInterrupt",
    "input()",
    // Host functions.
    "add(1), add(1, 2), add(b=3, a=4), any_of(1, 'zwei', k=[None, 1.5]), any_of()",
    "give({'größe': [1, float('inf'), b'\\x00', 10**30]}), give(None), give((1, 2)), give(value='🦀' * 3)",
    "import inspect\n\
     str(inspect.signature(add)), add.__doc__, add.__name__, str(inspect.signature(fail)), \
     str(inspect.signature(any_of))",
    "add()",
    "add(1, 2, 3)",
    "add('one')",
    "fail('KeyError', message='gone')",
    "fail('NotABuiltin')",
    "seen = []\nfor kind in ('ValueError', 'TimeoutError', 'Exception', 'SystemExit', 'no name'):\n    \
     try: fail(kind, message='m')\n    \
     except BaseException as error: seen.append((type(error).__mro__[1].__name__, type(error).__name__, \
     str(error)))\nseen",
    "bump(), bump(by=5), bump()",
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool:\n    \
     met = list(pool.map(meet, range(4)))\nmet",
    "import asyncio\nawait asyncio.gather(*(asyncio.to_thread(meet, n) for n in range(4)))",
    "import threading\ndone = []\n\
     threads = [threading.Thread(target=lambda n=n: done.append(meet(n))) for n in range(4)]\n\
     for thread in threads: thread.start()\nfor thread in threads: thread.join()\nsorted(done)",
    "async def later(n):\n    await asyncio.sleep(0)\n    return n * 2\nfirst = await later(1)\n\
     print([await later(n) for n in range(3)])\nasync with asyncio.Lock():\n    \
     last = await asyncio.gather(later(2), later(3))\nfirst, last",
    "await later('a' / 2)",
    // Output and values at and over the cap.
    "print('over the cap é' * 1000)\nprint('E', end='')",
    "'over the cap ' + 'v' * 5000 + 'E'",
    "import sys\nprint('over the cap', 'e' * 90_000, file=sys.stderr)\nraise ValueError('m' * 10)",
    "list(range(30)), {'k': {1, 2}}, object, len, ..., -0.0, 1e16, 2 ** 100",
    "class P:\n    def __repr__(self): return 'P(«1»)'\nP()",
    // What is in the language and library.
    "import dataclasses, typing, pickle, collections, json, re, datetime, decimal, enum\n\
     @dataclasses.dataclass\nclass Row:\n    n: int\n    \
     tags: list = dataclasses.field(default_factory=list)\n\
     pickle.loads(pickle.dumps(Row(1, ['a']))), typing.get_type_hints(Row), Row.__module__, \
     inspect.getsource(outer)[:10]",
    "collections.Counter('abca').most_common(1), json.dumps({'é': [1.5, None]}), re.findall(r'\\w+', 'ein \
     zwei é'), sorted({3, 1, 2}), f'{x:>5}|{3.14159:.2f}'",
    "import random\nrandom.seed(5)\n[random.randint(0, 100) for _ in range(5)], random.Random('t').random()",
    "with open('note.txt', 'w', encoding='utf-8') as f: f.write('zeile é\\n')\nimport os\n\
     open('note.txt', encoding='utf-8').read(), os.path.exists('none'), os.listdir()",
    "open('none.txt')",
    "import warnings\nwarnings.warn('old habit')",
    "import logging\nlogging.basicConfig(format='%(levelname)s %(message)s')\nlogging.warning('logged')",
    "del y_never",
    "def g(n): return 0 if n == 0 else 1 + g(n - 1)\ng(200)",
    "__name__, sys.stdout.isatty()",
    "[n for n in range(3)], (lambda: kept)(), [kept for _ in range(1)]",
    "n = 5\nwhile True: pass",
    "n",
    "print = None\nSUBMIT = None\nadd = None\nanswer = None",
    "print('back')\nadd(1)",
    // Submissions.
    "SUBMIT('a title', [1, 2])",
    "SUBMIT(rows=(1, 2), title='t')\nprint('after')",
    "SUBMIT('only a title')",
    "SUBMIT(title='t', rows=[], more=1)",
    "SUBMIT('a', [1], [2])",
    "SUBMIT({'title': 'of a dict', 'rows': [3]})",
    "FINAL({'any': [datetime.date(2024, 2, 29), decimal.Decimal('1.50'), Row(2), {1}, (1, None), b'x', \
     enum.Enum('E', 'A B').A, 1j]})",
    "found = {'title': 'v', 'rows': [x]}\nFINAL_VAR('found')",
    "FINAL_VAR('not_there')",
    "answer['content'] = 'a draft'",
    "answer['ready'] = True",
    "try:\n    SUBMIT('first', [1])\nexcept BaseException:\n    SUBMIT('second', [2])\nfinally:\n    1 / 0",
    "FINAL(float('nan'))",
    "with ThreadPoolExecutor(1) as pool:\n    pool.submit(SUBMIT, 'from a thread', []).exception()\n\
     print('on')",
];

/// What every backend is compared with: a plain process, which needs nothing of the system but Python.
pub(crate) fn reference() -> Subprocess {
    Subprocess::new().isolation(IsolationMode::Off)
}

/// Every cell gives the same observation as on the reference.
pub(crate) async fn the_same_program_observes_the_same(backend: Backend) {
    let name = backend.name().to_owned();
    let (mut here, mut there) = (Run::new(reference()).await, Run::new(backend).await);
    let mut differences = String::new();
    for (index, cell) in program().into_iter().enumerate() {
        let code = cell.code.clone();
        let (seen, other) = tokio::join!(here.observe(cell.clone()), there.observe(cell));
        if seen != other {
            differences
                .push_str(&format!("cell {}:\n{code}\nreference: {seen}\n{name}: {other}\n\n", index + 1));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// All that survive a crash tell what was printed and submitted before; then the session is over, or as it
/// was.
pub(crate) async fn a_crash_is_seen_alike(backend: Backend) {
    let crash = "kept = 2\nprint('last words', flush=True)\ntry:\n    SUBMIT('t', [1])\nfinally:\n    \
                 import os; os._exit(3)";
    let (survives, restores) = (backend.capabilities().crash_isolated, backend.capabilities().restores);
    if !survives {
        return; // The exit would be that of this program.
    }
    let (mut here, mut there) = (Run::new(reference()).await, Run::new(backend).await);
    let mut ends = Vec::new();
    for run in [&mut here, &mut there] {
        let _ = run.execute(Cell::new("kept = 1")).await.unwrap();
        let mut seen = run.execute(Cell::new(crash).scope(Arc::new(scope()))).await.unwrap();
        ends.push((seen.session_ended.take(), seen.restored.take()));
        run.last = plain(seen);
    }
    assert_eq!(here.last, there.last);
    let (ended, restored) = &ends[1];
    let (told, other) = if restores { (restored, ended) } else { (ended, restored) };
    assert!(told.as_ref().is_some_and(|reason| reason.contains("code 3")) && other.is_none(), "{ends:?}");
    match there.execute(Cell::new("kept")).await {
        Ok(seen) => assert!(restores && seen.value.unwrap().to_string() == "1"),
        Err(error) => assert!(!restores && error.is_session_lost(), "{error}"),
    }
}

/// A session and what its cells called.
pub(crate) struct Run {
    session: Box<dyn CodeInterpreter>,
    host: Host,
    last: String,
}

impl Run {
    pub(crate) async fn new(factory: impl InterpreterFactory) -> Self {
        Self { session: factory.create().await.unwrap(), host: Host::new(), last: String::new() }
    }

    pub(crate) async fn execute(&mut self, cell: Cell) -> abyme::Result<Observation> {
        self.session.execute(cell, &self.host).await
    }

    /// What was called since the last time.
    pub(crate) fn calls(&self) -> String {
        format!("{:?}", self.host.take())
    }

    /// What a cell produced and called, as far as it has to be the same.
    async fn observe(&mut self, cell: Cell) -> String {
        let seen = self.execute(cell).await;
        let seen = seen.map_or_else(|error| format!("{:?}: {error}", error.kind()), plain);
        format!("{seen}\ncalls: {:?}", self.host.take())
    }
}

fn plain(mut seen: Observation) -> String {
    seen.duration = Duration::ZERO;
    if let Some(error) = &mut seen.error {
        let is_caret = |line: &&str| !line.is_empty() && line.chars().all(|char| " ~^".contains(char));
        let lines: Vec<_> = error.traceback.lines().filter(|line| !is_caret(line)).collect();
        let lines = lines.join("\n");
        let (lines, _hint) = lines.split_once(". Did you mean: ").unwrap_or((&lines, ""));
        error.traceback = without_number(lines);
        error.message = without_number(&error.message);
    }
    format!("{seen:#?}")
}

/// `[Errno 2] No such file` as `[Errno] No such file`.
fn without_number(text: &str) -> String {
    match text.split_once("[Errno ") {
        Some((before, rest)) => {
            format!("{before}[Errno{}", rest.trim_start_matches(|char: char| char.is_ascii_digit()))
        }
        None => text.to_owned(),
    }
}

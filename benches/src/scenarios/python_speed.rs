//! Scenarios `python-speed-*`. How fast a backend's Python is at pure Python, beside a native one: a loop of
//! 2 million steps, `fib(25)`, a regular expression over 10 MB, splitting 10 MB, counting 1.3 million words,
//! writing and reading 5 MB of JSON, sorting 200 000 floats. The data is made before. The time is taken
//! inside of Python, by its own clock, so that the way in and out is not in it; the result is checked. The
//! programs are nearly those of `crates/abyme-interpreter-wasm/benches/speed.py`.
//!
//! Floors: the `python3` of this machine, and its `python3.13`, the version that the wasm backend is, where
//! there is one.

use abyme::{Cell, CodeInterpreter};
use async_trait::async_trait;

use super::{
    measured::Measured,
    work::{PreparedTrial, check, made, ready, run, value},
};
use crate::{
    floors::python::Native, goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit,
};

const PYTHON: &str = "native python3";
const PYTHON_313: &str = "native python3.13";

const WORDS: &str = "\
import random
random.seed(1)
WORDS = [''.join(random.choices('abcdefghij', k=7)) for _ in range(1000)]
TEXT = ' '.join(random.choices(WORDS, k=1_300_000))
";
/// Counted in another way than the program does.
const MATCHES: &str = "\
FITTING = {word for word in WORDS if set(word) <= set('abcde')}
MATCHES = sum(word in FITTING for word in TEXT.split())
";
const ROWS: &str = "\
import json
ROWS = [{'id': n, 'name': str(n) * 2, 'tags': ['a', 'b'], 'score': n / 7} for n in range(60_000)]
JSON = json.dumps(ROWS)
";
const NUMBERS: &str = "\
import random
random.seed(1)
NUMBERS = [random.random() for _ in range(200_000)]
";

/// A program: its setup, a function `work`, and an expression over its result with what that has to be.
#[derive(Debug)]
struct Program {
    name: &'static str,
    title: &'static str,
    setup: &'static str,
    work: &'static str,
    result: &'static str,
    expected: &'static str,
}

const PROGRAMS: [Program; 8] = [
    Program {
        name: "python-speed-loop",
        title: "Python: a loop of 2 million steps",
        setup: "",
        work: "
    total = 0
    for number in range(2_000_000):
        total += number & 7
    return total",
        result: "result",
        expected: "7000000",
    },
    Program {
        name: "python-speed-fib",
        title: "Python: fib(25)",
        setup: "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n",
        work: " return fib(25)",
        result: "result",
        expected: "75025",
    },
    Program {
        name: "python-speed-re",
        title: "Python: a regular expression over 10 MB",
        setup: WORDS,
        work: "
    import re
    return re.findall(r'\\b[a-e]+\\b', TEXT)",
        result: "len(result) == MATCHES",
        expected: "True",
    },
    Program {
        name: "python-speed-split",
        title: "Python: splitting 10 MB",
        setup: WORDS,
        work: " return TEXT.split()",
        result: "len(result)",
        expected: "1300000",
    },
    Program {
        name: "python-speed-counter",
        title: "Python: counting 1.3 million words",
        setup: WORDS,
        work: "
    import collections
    return collections.Counter(SPLIT)",
        result: "result.total()",
        expected: "1300000",
    },
    Program {
        name: "python-speed-json-dumps",
        title: "Python: writing 5 MB of JSON",
        setup: ROWS,
        work: " return json.dumps(ROWS)",
        result: "result == JSON",
        expected: "True",
    },
    Program {
        name: "python-speed-json-loads",
        title: "Python: reading 5 MB of JSON",
        setup: ROWS,
        work: " return json.loads(JSON)",
        result: "result == ROWS",
        expected: "True",
    },
    Program {
        name: "python-speed-sort",
        title: "Python: sorting 200 000 floats",
        setup: NUMBERS,
        work: " return sorted(NUMBERS)",
        result: "all(a <= b for a, b in zip(result, result[1:])) and len(result)",
        expected: "200000",
    },
];

/// One scenario for each program.
pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    PROGRAMS.iter().map(|program| -> Box<dyn Scenario> { Box::new(PythonSpeed::of(program)) }).collect()
}

/// The scenario, for a program.
#[derive(Debug)]
struct PythonSpeed {
    program: &'static Program,
    native_313: Measured,
}

impl PythonSpeed {
    fn of(program: &'static Program) -> Self {
        Self { program, native_313: Measured::default() }
    }
}

#[async_trait]
impl Scenario for PythonSpeed {
    fn name(&self) -> &'static str {
        self.program.name
    }

    fn title(&self) -> &'static str {
        self.program.title
    }

    fn workload(&self) -> &'static str {
        "pure Python, timed inside by its own clock"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        // The same Python, where it is there; else the machine's, which may be faster.
        let native = if self.native_313.median().is_some() { &[PYTHON_313] } else { &[PYTHON] };
        (system == "wasm").then_some(Goal::Times(2.0, native))
    }

    fn samples(&self) -> usize {
        10
    }

    fn floors(&self) -> Vec<&'static str> {
        vec![PYTHON, PYTHON_313]
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let source = self.program.source();
        let native =
            |command: &str| Native::start(command, &source).map(|python| Floor(self.program, python));
        match system {
            System::Backend(factory) => {
                let mut session = ready(&**factory).await?;
                let _ = run(&mut *session, Cell::new(source)).await?;
                let mut trial = Inside(self.program, session);
                trial.sample().await?;
                made(trial)
            }
            System::Floor(PYTHON) => made(native("python3")?),
            System::Floor(PYTHON_313) => made(self.native_313.note(native("python3.13")?)),
            _ => Ok(None),
        }
    }
}

impl Program {
    /// Defines `measure`, which answers the seconds that `work` took, and what came of it.
    fn source(&self) -> String {
        let Self { setup, work, result, .. } = self;
        let split = if work.contains("SPLIT") { "SPLIT = TEXT.split()\n" } else { "" };
        let matches = if result.contains("MATCHES") { MATCHES } else { "" };
        let measure = "\
import time
def measure():
    started = time.perf_counter()
    result = work()
    taken = time.perf_counter() - started";
        format!(
            "{setup}{split}{matches}def work():{work}\n\n{measure}\n    \
             return ' '.join([repr(taken), repr({result})])\n"
        )
    }

    fn seconds(&self, answer: &str) -> Result<f64, String> {
        let (taken, result) = answer.split_once(' ').unwrap_or((answer, ""));
        check("the result", result, self.expected)?;
        taken.parse().map_err(|_| format!("{taken:?} is no time"))
    }
}

struct Inside(&'static Program, Box<dyn CodeInterpreter>);

#[async_trait]
impl Trial for Inside {
    async fn sample(&mut self) -> Result<f64, String> {
        let answer = value(&mut *self.1, Cell::new("measure()")).await?;
        self.0.seconds(answer.trim_matches('\''))
    }
}

struct Floor(&'static Program, Native);

impl Floor {
    fn once(&mut self) -> Result<f64, String> {
        let answer = self.1.measure()?;
        self.0.seconds(&answer)
    }
}

#[async_trait]
impl Trial for Floor {
    async fn sample(&mut self) -> Result<f64, String> {
        self.once()
    }
}

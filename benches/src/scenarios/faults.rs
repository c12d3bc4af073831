//! Scenarios `faults-...`: how soon a fault is over, and what it costs the host.
//!
//! - `faults-death`: a cell ends its interpreter (`os._exit`); from the start of the cell until the caller
//!   has the observation that says so.
//! - `faults-overshoot`: a cell catches every interrupt and goes on; how long after its limit of half a
//!   second the caller has its answer. It is killed after the backend's grace, which is in the time.
//! - `faults-dropped`: the future of a cell and its session are dropped; until no process of it is left.
//!   subprocess only: the others have no process here.
//! - `faults-close`: the shutdown of a session whose code left threads, exit handlers and blocked signals.
//! - `faults-flood`: cells print and write without end, to both streams and past them, until their limit;
//!   what the program's memory grew by at its highest. Linux only.
//! - `faults-traceback`: a cell fails 300 000 calls deep; by how much it takes longer than one that catches
//!   its error.
//! - `faults-isolation`: a session with isolation and one without start and run a cell, in turns; by how much
//!   the first takes longer. subprocess only.
//!
//! pyo3 has a part in `faults-traceback` alone: nothing there ends code that does not want to end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use abyme::{
    Cell, CodeInterpreter, InterpreterFactory, NoHostFunctions, Observation, Subprocess,
    subprocess::IsolationMode,
};
use async_trait::async_trait;

use super::{
    memory,
    work::{PreparedTrial, check, made, ready, seconds, words},
};
use crate::{cpu, goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// The limit of a cell that does not end by itself.
const LIMIT: Duration = Duration::from_millis(500);
/// Characters that are kept of each stream.
const OUTPUT_CHARS: usize = 10_000;

const STUBBORN: &str = "while True:\n    try:\n        while True: pass\n    except BaseException: pass";
const LEAVES_MUCH: &str = "import atexit, signal, threading, time\n\
    atexit.register(lambda: time.sleep(60))\n\
    for number in (1, 2, 3, 15):\n    \
        try: signal.signal(number, signal.SIG_IGN)\n    \
        except (OSError, ValueError, AttributeError): pass\n\
    for _ in range(4): threading.Thread(target=time.sleep, args=(60,), daemon=False).start()\n1";
const DEEP: &str = "import sys\nsys.setrecursionlimit(300_000)\ndef f(n): return f(n + 1)\n";
const FAILS: &str = "f(0)";
const CATCHES: &str = "try: f(0)\nexcept RecursionError: pass";
const FLOOD: &str = "import os, sys\nline = 'x' * 99_999\nwhile True:\n    \
    print(line); print(line, file=sys.stderr); os.write(1, line.encode()); os.write(2, line.encode())";

/// One of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    Death,
    Overshoot,
    Dropped,
    Close,
    Flood,
    Traceback,
    Isolation,
}

impl Faults {
    pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
        let ends = [Self::Death, Self::Overshoot, Self::Dropped, Self::Close];
        let others = [Self::Flood, Self::Traceback, Self::Isolation];
        ends.into_iter().chain(others).map(|one| Box::new(one) as Box<dyn Scenario>).collect()
    }
}

#[async_trait]
impl Scenario for Faults {
    fn name(&self) -> &'static str {
        match self {
            Self::Death => "faults-death",
            Self::Overshoot => "faults-overshoot",
            Self::Dropped => "faults-dropped",
            Self::Close => "faults-close",
            Self::Flood => "faults-flood",
            Self::Traceback => "faults-traceback",
            Self::Isolation => "faults-isolation",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Death => "a dead interpreter is reported",
            Self::Overshoot => "a time limit is overshot",
            Self::Dropped => "a dropped session is gone",
            Self::Close => "a session closes whatever its code did",
            Self::Flood => "host memory while a session floods it",
            Self::Traceback => "what the traceback of a deep recursion adds",
            Self::Isolation => "what isolation adds to a start",
        }
    }

    fn workload(&self) -> &'static str {
        match self {
            Self::Death => "a cell calls `os._exit`; until the caller knows",
            Self::Overshoot => "a cell that catches interrupts, over its limit; the time after the limit",
            Self::Dropped => "a cell and its session are dropped; until no process is left",
            Self::Close => "shutdown after threads, exit handlers and ignored signals",
            Self::Flood => "output without end until a limit of 0.5 s; what memory grew by at its highest",
            Self::Traceback => "an error 300 000 calls deep, uncaught; less the same, caught",
            Self::Isolation => "start and first cell of an isolated process, less those of an open one",
        }
    }

    fn unit(&self) -> Unit {
        if *self == Self::Flood { Unit::Bytes } else { Unit::Seconds }
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        let is_here = match self {
            Self::Traceback => ["wasm", "subprocess", "pyo3"].contains(&system),
            _ => ["wasm", "subprocess", "docker"].contains(&system),
        };
        is_here.then_some(Goal::Value(match self {
            Self::Death | Self::Dropped => 1.0,
            // Half a second, and the grace after which the backend kills.
            Self::Overshoot => 0.5 + 1.5,
            Self::Close => 5.0,
            Self::Traceback => 0.05,
            Self::Isolation => 0.005,
            Self::Flood => 2.0 * OUTPUT_CHARS as f64 + 32e6,
        }))
    }

    fn samples(&self) -> usize {
        if *self == Self::Isolation { 40 } else { 10 }
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let is_of_processes = matches!(self, Self::Dropped | Self::Isolation);
        let ends = *self != Self::Traceback;
        if (ends && factory.name() == "pyo3") || (is_of_processes && factory.name() != "subprocess") {
            return Ok(None);
        }
        let open = Subprocess::new().isolation(IsolationMode::Off);
        let mut trial = Fault { of: *self, factory: factory.clone(), open };
        trial.sample().await?;
        made(trial)
    }
}

struct Fault {
    of: Faults,
    factory: Arc<dyn InterpreterFactory>,
    /// The same without isolation.
    open: Subprocess,
}

/// How long a session takes from nothing to the end of its first cell.
async fn start(factory: &dyn InterpreterFactory) -> Result<f64, String> {
    let started = Instant::now();
    let mut session = factory.create().await.map_err(words)?;
    let seen = execute(&mut *session, "6 * 7").await?;
    let taken = seconds(started);
    check("a value", seen.value.map(|value| value.to_string()), Some("42".to_owned()))?;
    session.shutdown().await.map_err(words)?;
    Ok(taken)
}

/// How long a cell takes that recurses until that is an error, in a session of its own.
async fn deep(factory: &dyn InterpreterFactory, call: &str) -> Result<f64, String> {
    let mut session = ready(factory).await?;
    let cell = Cell::new(format!("{DEEP}{call}")).max_output_chars(OUTPUT_CHARS);
    let started = Instant::now();
    let seen = session.execute(cell, &NoHostFunctions).await.map_err(words)?;
    let taken = seconds(started);
    let error = seen.error.map(|error| error.type_name);
    check("an error", error.as_deref(), (call == FAILS).then_some("RecursionError"))?;
    session.shutdown().await.map_err(words)?;
    Ok(taken)
}

async fn execute(session: &mut dyn CodeInterpreter, code: &str) -> Result<Observation, String> {
    let cell = Cell::new(code).timeout(LIMIT).max_output_chars(OUTPUT_CHARS);
    session.execute(cell, &NoHostFunctions).await.map_err(words)
}

#[async_trait]
impl Trial for Fault {
    async fn sample(&mut self) -> Result<f64, String> {
        if self.of == Faults::Isolation {
            let (isolated, open) = (start(&*self.factory).await?, start(&self.open).await?);
            return Ok((isolated - open).max(0.0));
        }
        if self.of == Faults::Traceback {
            let (uncaught, caught) =
                (deep(&*self.factory, FAILS).await?, deep(&*self.factory, CATCHES).await?);
            return Ok((uncaught - caught).max(0.0));
        }
        // Peers are children, too.
        let before = if self.of == Faults::Dropped { children()? } else { 0 };
        let mut session = ready(&*self.factory).await?;
        let started = Instant::now();
        match self.of {
            Faults::Death => {
                let seen = execute(&mut *session, "import os\nos._exit(3)").await?;
                let taken = seconds(started);
                check("told", seen.session_ended.or(seen.restored).is_some(), true)?;
                Ok(taken)
            }
            Faults::Overshoot => {
                let seen = execute(&mut *session, STUBBORN).await?;
                let taken = seconds(started) - LIMIT.as_secs_f64();
                check("ended by its limit", seen.interruption.is_some(), true)?;
                Ok(taken)
            }
            Faults::Dropped => {
                let cell = Cell::new("while True: pass");
                let running = session.execute(cell, &NoHostFunctions);
                let ended = tokio::time::timeout(Duration::from_millis(20), running).await;
                check("still running", ended.is_err(), true)?;
                let started = Instant::now();
                drop(session);
                while children()? > before {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(seconds(started))
            }
            Faults::Close => {
                let seen = execute(&mut *session, LEAVES_MUCH).await?;
                check("an error", seen.error.map(|error| error.to_string()), None)?;
                let started = Instant::now();
                session.shutdown().await.map_err(words)?;
                Ok(seconds(started))
            }
            Faults::Flood => {
                memory::forget_peak()?;
                let before = memory::resident()?;
                let seen = execute(&mut *session, FLOOD).await?;
                let grown = memory::peak()?.saturating_sub(before);
                check("a flood", seen.stdout.total_chars > 1_000_000, true)?;
                Ok(grown as f64)
            }
            Faults::Traceback | Faults::Isolation => Err("it has no session to begin with".to_owned()),
        }
    }
}

/// How many children this process has.
fn children() -> Result<usize, String> {
    cpu::children_of("self")
        .map(|children| children.len())
        .map_err(|error| format!("children are read from /proc, which is only on Linux: {error}"))
}

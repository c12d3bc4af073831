//! Sessions that run Python: the contract every backend keeps, and what passes through it.

mod capabilities;
mod cell;
mod ext;
mod host;
mod observation;
mod pool;
mod render;
mod scope;
mod session;

pub use self::{
    capabilities::{Access, Capabilities, Guarantee, Isolation},
    cell::{Cell, Determinism},
    ext::{CodeInterpreterExt, InterpreterFactoryExt},
    host::{HostCall, HostError, HostFunctions, NoHostFunctions},
    observation::{
        Captured, ChangedVariable, Interruption, Observation, PythonError, Stage, Submission, Submitted, Via,
    },
    pool::{Pool, PoolConfig},
    render::render_observation,
    scope::{FunctionSpec, ModuleSource, OutputSpec, ParameterKind, ParameterSpec, Scope},
    session::Session,
};

pub(crate) use self::render::{LABELS, told_apart};

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::off_the_runtime,
};

/// A live Python session with persistent globals.
///
/// It is object-safe and small on purpose; [`CodeInterpreterExt`] and [`Session`] add convenience. A type
/// that wraps another interpreter passes on every method, [`fork`](Self::fork) and
/// [`snapshot`](Self::snapshot) too.
///
/// # For callers
/// Wrap the interpreter in a [`Session`]: it enforces the life cycle, the names and the capabilities once for
/// every backend. Ask an [`InterpreterFactory`] for a fresh one per run.
///
/// # For implementers
/// Implement the four methods without a body, then run `abyme_conformance::interpreter_suite!` over your
/// type: it has a case for every clause below. Backends that run the driver of `abyme-driver` get most
/// clauses from it. Do not re-check what [`Session`] checks (names, life cycle after `shutdown`,
/// capabilities).
///
/// # Contract
/// - **C1** `start` is idempotent and optional; `execute` starts lazily. After `shutdown`, or after the
///   session died, every call answers [`ErrorKind::SessionEnded`] with the reason; nothing restarts silently.
///   `shutdown` twice is fine. Drop releases everything.
/// - **C2** Globals persist across cells, in one namespace for globals and locals that belongs to a real
///   `__main__` module: dataclasses, pickle, `typing.get_type_hints` and `inspect.getsource` work, and
///   functions see later rebinding.
/// - **C3** Everything done before an exception stays: assignments and printed output.
/// - **C4** A Python exception (`SyntaxError`, `SystemExit`, `KeyboardInterrupt`, any `BaseException`) is
///   part of the [`Observation`], not an `Err`. `Err` means the session or the host failed, and its kind says
///   which and whether the session is dead. A session that dies *in* a cell (`os._exit`, a crash, a kill from
///   outside) still answers that cell with an observation, so that what it printed and submitted until then
///   is not lost: [`Observation::session_ended`] says why it died, and every later call answers
///   `SessionEnded`. A backend that declares [`Capabilities::restores`] puts the session back to its state
///   before the cell instead, and says why in [`Observation::restored`].
/// - **C5** stdout, stderr and the last expression's `repr` all arrive; the traceback has the cell's own line
///   numbers and source lines.
/// - **C6** Variables: any [`Value`](crate::Value), including NaN, infinities, big integers, text of any size
///   and bytes. Names are validated. The model's in-place edits persist.
/// - **C7** Termination: `SUBMIT` (positional by output order, keywords, or one dict of all outputs),
///   `FINAL(value)`, `FINAL_VAR("name")`, and the `answer` dict (`value` or `content`, with `ready`). The
///   first one in a cell wins. It is recorded on the host when called, so no `except:`, `finally`, thread or
///   redefinition in the cell can swallow it; the next host call stops a cell that goes on. Values outside
///   JSON are converted by stated rules (tuple and set to list, datetime to ISO text, dataclass, namedtuple
///   and pydantic model to dict, a type to the text of its annotation, all others to their `str`), field by
///   field.
/// - **C8** Host functions look like plain blocking Python functions with real signatures and docstrings;
///   positional, keyword and default arguments work; they can be called from several threads at the same time
///   ([`Capabilities::concurrent_calls`]); a failure raises in Python with the original type and message;
///   values may have any size; `None` stays `None`. They can also be awaited.
/// - **C9** The names the session provides are restored after every cell, and a cell that bound one to
///   something else is told so on stderr. `answer` is the exception: what a cell or the host binds to it
///   stays, unless it is a dict with the key `ready`.
/// - **C10** Time limit: interrupt first (`KeyboardInterrupt`, state kept), then kill;
///   [`Observation::interruption`] says which; a killed session is over or restored, as in C4. CPU loops,
///   sleeps, regular expressions and `except:` loops all end within the limit plus a grace of 2 s. The clock
///   stands still during host calls that [stop it](HostFunctions::stops_clock); [`Cell::total_timeout`]
///   counts on.
/// - **C11** Output beyond the cap is counted, not stored: printing 1 GB neither grows the host nor ends the
///   session.
/// - **C12** Nothing a cell prints, writes to any descriptor, or monkeypatches is taken for a protocol
///   message by accident. Deliberate forgery gains nothing beyond what the cell may do anyway (call tools,
///   submit), and garbage ends the session.
/// - **C13** A dropped `execute` future leaves the session either usable or ended, never out of step.
/// - **C14** Isolation is declared in [`Capabilities`], and what is declared is true.
/// - **C15** Two sessions share nothing. Interpreters are values; no globals, no statics.
/// - **C16** [`fork`](Self::fork) and [`snapshot`](Self::snapshot) are there where [`Capabilities`] declare
///   them, and answer [`ErrorKind::Unsupported`] where not. A fork knows all that the original knows:
///   variables, functions, imports, files, the scope of the last cell, an `answer` that is not ready. From
///   then on the two share nothing (C15) and draw different random numbers unless they are deterministic
///   (C17), and each ends by itself. What [`InterpreterFactory::restore`] and
///   [`restore_from`](InterpreterFactory::restore_from) make of a snapshot is such a copy, any number of
///   times, in this process or another. Both happen between cells, start a session that was not started,
///   change nothing of the original, and answer `SessionEnded` after its end. Bytes that are damaged, or come
///   from another backend, version or build, are refused with [`ErrorKind::InvalidInput`] and what does not
///   match; nothing is ever half restored.
/// - **C17** Where [`Capabilities::deterministic`] is declared, sessions that were given the same
///   [`Determinism`] find the same clocks, random bytes, times of files and order of sets in the same cells
///   with the same answers. A sleep takes as long as it does, and the clocks go on by that. A copy, and a
///   session that was put back, goes on from what it was made of.
///
/// # Life cycle
/// ```text
/// new ── start ──> idle ── execute ──> running ──> idle ── shutdown ──> ended
///  └──────────────── execute ───────────┘   └── killed, crashed, garbage ──┘
/// ```
#[async_trait]
pub trait CodeInterpreter: Send + fmt::Debug {
    /// What this session can do and what it keeps the code from doing. Constant over the session's life.
    fn capabilities(&self) -> &Capabilities;

    /// Starts the session, so that the first cell does not wait for it (C1).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the backend cannot run here, saying what is missing;
    /// [`ErrorKind::SessionEnded`] after the session's end.
    async fn start(&mut self) -> Result<()>;

    /// Runs one cell, serving its calls through `host`, and reports what it produced.
    ///
    /// Dropping the future cancels the cell and every host call in flight (C13).
    ///
    /// # Errors
    /// Those of [`start`](Self::start); [`ErrorKind::SessionEnded`] if the session was dead before this cell;
    /// [`ErrorKind::Protocol`] if it sent garbage and was ended for it. A session that dies in this cell,
    /// also killed by the time limit ([`Interruption::Killed`], C10), is not an error but an observation
    /// (C4).
    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation>;

    /// Ends the session and releases what it held. Fine to call twice (C1).
    ///
    /// # Errors
    /// Only if something was left behind that the caller should know about.
    async fn shutdown(&mut self) -> Result<()>;

    /// A second session with the same variables, files and state. Both go on independently (C16).
    ///
    /// Backends that declare [`Capabilities::fork`] implement this; others keep the default.
    ///
    /// # Errors
    /// Those of [`start`](Self::start); [`ErrorKind::Unsupported`] where a session cannot be copied.
    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        let capabilities = self.capabilities();
        Err(capabilities.refuse("forked", "fork", capabilities.fork))
    }

    /// The whole session as bytes, for [`InterpreterFactory::restore`] (C16). Each backend has its own
    /// format, which names the backend, its version and build, and lets damage be detected.
    ///
    /// Backends that declare [`Capabilities::snapshot`] implement this; others keep the default.
    ///
    /// # Errors
    /// Those of [`start`](Self::start); [`ErrorKind::Unsupported`] where a session cannot be saved.
    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        let capabilities = self.capabilities();
        Err(capabilities.refuse("saved to bytes", "snapshot", capabilities.snapshot))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: CodeInterpreter + ?Sized> CodeInterpreter for Box<T> {
    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        (**self).start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        (**self).execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        (**self).shutdown().await
    }

    async fn fork(&mut self) -> Result<Box<dyn CodeInterpreter>> {
        (**self).fork().await
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        (**self).snapshot().await
    }
}

/// Makes sessions: the value a user passes to pick a backend.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no backend that can make sessions",
    note = "pass a backend such as `Wasm::new()` or `Subprocess::new()`: a run opens sessions of its own",
    note = "a backend of your own implements `InterpreterFactory`, as a value, in a `Box` or in an `Arc`"
)]
pub trait InterpreterFactory: Send + Sync + fmt::Debug {
    /// The backend's short name, as `--interpreter` takes it: `"subprocess"`, `"wasm"`.
    fn name(&self) -> &str;

    /// What the sessions of this factory can do.
    fn capabilities(&self) -> &Capabilities;

    /// A session of its own; whether it is started already is up to the factory.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Config`] if no session can be made here.
    async fn create(&self) -> Result<Box<dyn CodeInterpreter>>;

    /// A session of its own that goes on where [`CodeInterpreter::snapshot`] was taken (C16). The same bytes
    /// may be restored any number of times.
    ///
    /// Backends that declare [`Capabilities::snapshot`] implement this; others keep the default.
    ///
    /// # Errors
    /// Those of [`create`](Self::create); [`ErrorKind::InvalidInput`] if the bytes are damaged or come from
    /// another backend, version or build; [`ErrorKind::Unsupported`] where sessions cannot be restored.
    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        let _ = snapshot;
        let capabilities = self.capabilities();
        Err(capabilities.refuse("restored from bytes", "snapshot", capabilities.snapshot))
    }

    /// [`restore`](Self::restore) from bytes that are read to their end as they are needed, on a thread that
    /// may block. A large session need not be in memory twice then.
    ///
    /// By default all of them are read before the session is restored.
    ///
    /// # Errors
    /// Those of [`restore`](Self::restore); [`ErrorKind::Io`] if the bytes cannot be read.
    async fn restore_from(&self, mut snapshot: Box<dyn Read + Send>) -> Result<Box<dyn CodeInterpreter>> {
        let read = off_the_runtime(move || {
            let mut bytes = Vec::new();
            snapshot.read_to_end(&mut bytes).map(|_| bytes)
        });
        let shutting_down = || Err(io::Error::other("the program is shutting down"));
        let bytes = read.await.unwrap_or_else(shutting_down).map_err(|error| {
            let message = format!("the session cannot be restored: {error}");
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        self.restore(&bytes).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: InterpreterFactory + ?Sized> InterpreterFactory for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        (**self).create().await
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        (**self).restore(snapshot).await
    }

    async fn restore_from(&self, snapshot: Box<dyn Read + Send>) -> Result<Box<dyn CodeInterpreter>> {
        (**self).restore_from(snapshot).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: InterpreterFactory + ?Sized> InterpreterFactory for Box<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        (**self).create().await
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<Box<dyn CodeInterpreter>> {
        (**self).restore(snapshot).await
    }

    async fn restore_from(&self, snapshot: Box<dyn Read + Send>) -> Result<Box<dyn CodeInterpreter>> {
        (**self).restore_from(snapshot).await
    }
}

//! One piece of Python to run, with what it needs.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Scope;
use crate::value::Value;

/// One piece of Python to run in a session.
///
/// ```
/// use abyme_core::Cell;
/// use std::time::Duration;
///
/// let cell = Cell::new("print(len(docs))").variable("docs", "a long text").timeout(Duration::from_secs(5));
/// assert_eq!(cell.code, "print(len(docs))");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cell {
    /// The source. May be empty, to only put variables in or read them.
    pub code: String,
    /// Variables to set before the code runs, in order.
    pub variables: Vec<(String, Value)>,
    /// Variables to read after the code ran, into [`Observation::variables`](super::Observation::variables).
    pub reads: Vec<String>,
    /// The names the session offers to the code: host functions, outputs, the user's Python tools. The same
    /// `Arc` from cell to cell costs nothing.
    pub scope: Arc<Scope>,
    /// How long the cell may take, host calls included, but for those that [stop its
    /// clock](super::HostFunctions::stops_clock). Default 120 s; `None` is no limit.
    pub timeout: Option<Duration>,
    /// How long the cell may take in all, also while its clock stands still. Default none.
    pub total_timeout: Option<Duration>,
    /// Most characters kept of stdout, of stderr and of the value, each: the first and the last half. Default
    /// 10 000.
    pub max_output_chars: usize,
    /// What the session learns of the world from this cell on, where its backend declares
    /// [`Capabilities::deterministic`](super::Capabilities::deterministic); others ignore it. Default none.
    pub determinism: Option<Determinism>,
}

/// What makes the clock and the random bytes of a session the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Determinism {
    /// What the random bytes of the system come of: `os.urandom`, and with it `secrets` and `uuid4`.
    pub seed: u64,
    /// The time of day that the session begins with, in milliseconds since 1970. From there on its clocks go
    /// on by a little each time they are read, and by as long as it sleeps. A session whose clocks are like
    /// that already keeps them.
    pub unix_ms: u64,
}

impl Cell {
    /// Default of [`timeout`](Self::timeout).
    pub const TIMEOUT: Duration = Duration::from_secs(120);
    /// Default of [`max_output_chars`](Self::max_output_chars).
    pub const MAX_OUTPUT_CHARS: usize = 10_000;

    /// A cell that runs `code`, with the defaults.
    pub fn new(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            variables: Vec::new(),
            reads: Vec::new(),
            scope: Arc::default(),
            timeout: Some(Self::TIMEOUT),
            total_timeout: None,
            max_output_chars: Self::MAX_OUTPUT_CHARS,
            determinism: None,
        }
    }

    /// Sets a variable before the code runs.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Sets several variables before the code runs.
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, Value)>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Reads a variable after the code ran.
    pub fn read(mut self, name: impl Into<String>) -> Self {
        self.reads.push(name.into());
        self
    }

    /// Sets the names the session offers.
    pub fn scope(mut self, scope: Arc<Scope>) -> Self {
        self.scope = scope;
        self
    }

    /// Sets how long the cell may take.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }

    /// Sets how long the cell may take in all, also while its clock stands still.
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.total_timeout = limit.into();
        self
    }

    /// Sets what the session learns of the world from this cell on, where its backend can.
    pub fn determinism(mut self, determinism: impl Into<Option<Determinism>>) -> Self {
        self.determinism = determinism.into();
        self
    }

    /// Sets how much output is kept.
    pub fn max_output_chars(mut self, chars: usize) -> Self {
        self.max_output_chars = chars;
        self
    }
}

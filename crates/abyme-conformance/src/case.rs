//! The type of a case, and the macro that defines cases.

use std::{fmt, sync::Arc, time::Duration};

use abyme_core::{Access, Capabilities, Isolation};

use crate::{
    harness::AnyHarness,
    job::{CaseFuture, Job, is_name_of},
    session::SessionUnderTest,
};

/// One case: a small program with an expectation, for one clause of the contract.
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) clause: u8,
    pub(crate) doc: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) alone: Option<&'static str>,
    pub(crate) limit: Duration,
    pub(crate) run: for<'a> fn(&'a mut SessionUnderTest) -> CaseFuture<'a>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Case {
    /// The default of [`limit`](Self::limit).
    pub(crate) const LIMIT: Duration = Duration::from_secs(30);

    /// The theme and the case's own name: `c07_submission::the_first_one_wins`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of the clause in the docs of [`CodeInterpreter`](abyme_core::CodeInterpreter).
    pub fn clause(&self) -> u8 {
        self.clause
    }

    /// What the case expects, in a sentence or two.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// What a backend must declare for the case to apply.
    pub fn needs(&self) -> &'static [Need] {
        self.needs
    }

    /// The reason why the case runs alone: it measures the process, or fills the memory. `None` if it does
    /// not.
    pub fn alone(&self) -> Option<&'static str> {
        self.alone
    }

    /// How long the case may take before it counts as hung.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether `name` means this case: the full name, or what follows `::`.
    pub fn is_called(&self, name: &str) -> bool {
        is_name_of(name, self.name)
    }

    /// The first need of the case that `capabilities` do not meet.
    pub fn lacking(&self, capabilities: &Capabilities) -> Option<Need> {
        self.needs.iter().copied().find(|need| !need.is_met_by(capabilities))
    }

    /// The case over the sessions of `harness`.
    pub(crate) fn job(&'static self, harness: Arc<dyn AnyHarness>) -> Job {
        Job {
            name: self.name,
            doc: self.doc(),
            of: harness.name().to_owned(),
            lacks: self.lacking(harness.capabilities()).map(|need| need.to_string()),
            is_alone: self.alone.is_some(),
            limit: self.limit,
            run: Box::new(move || {
                let harness = harness.clone();
                Box::pin(async move {
                    let mut session = SessionUnderTest::open(harness).await;
                    (self.run)(&mut session).await;
                })
            }),
        }
    }
}

/// A capability or an isolation that a case is about. The case does not apply without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// `concurrent_calls`: threads run, or take turns, with their host calls in flight together.
    ConcurrentCalls,
    /// `crash_isolated`: the session can be killed, and the host survives it.
    CrashIsolated,
    /// `deterministic`: a session can be made to see the same world each time.
    Deterministic,
    /// `fork`: a live session can be copied.
    Fork,
    /// `interrupt`: a cell can be stopped with its state kept.
    Interrupt,
    /// `memory_limit_bytes` is set.
    MemoryLimit,
    /// `native_packages`.
    NativePackages,
    /// `processes` is not denied.
    Processes,
    /// `restores`: a session that crashed comes back.
    Restores,
    /// The session runs in another process or sandbox than the host.
    Separate,
    /// `snapshot`: a session can be saved to bytes and restored.
    Snapshot,
    /// `threads`.
    Threads,
}

impl Need {
    /// Whether a backend with these capabilities meets the need.
    pub fn is_met_by(self, capabilities: &Capabilities) -> bool {
        match self {
            Self::ConcurrentCalls => capabilities.concurrent_calls,
            Self::CrashIsolated => capabilities.crash_isolated,
            Self::Deterministic => capabilities.deterministic,
            Self::Fork => capabilities.fork,
            Self::Interrupt => capabilities.interrupt,
            Self::MemoryLimit => capabilities.memory_limit_bytes.is_some(),
            Self::NativePackages => capabilities.native_packages,
            Self::Processes => capabilities.processes != Access::Denied,
            Self::Restores => capabilities.restores,
            Self::Separate => capabilities.isolation != Isolation::None,
            Self::Snapshot => capabilities.snapshot,
            Self::Threads => capabilities.threads,
        }
    }
}

/// The words that complete "lacks ...".
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConcurrentCalls => "concurrent calls",
            Self::CrashIsolated => "crash isolation",
            Self::Deterministic => "determinism",
            Self::Fork => "fork",
            Self::Interrupt => "interrupts",
            Self::MemoryLimit => "a memory limit",
            Self::NativePackages => "native packages",
            Self::Processes => "processes",
            Self::Restores => "restored sessions",
            Self::Separate => "isolation",
            Self::Snapshot => "snapshots",
            Self::Threads => "threads",
        })
    }
}

/// Defines the cases of one theme, and the table `CASES` of them. So each name is written only once.
///
/// After the doc comment, a case may state `#[needs(Threads, ...)]`, `#[alone = "why"]` (nothing else runs
/// meanwhile), and `#[limit(seconds)]`, in this order.
macro_rules! cases {
    (
        theme $theme:ident, clause $clause:literal;
        $(
            $(#[doc = $doc:literal])+
            $(#[needs($($need:ident),+)])?
            $(#[alone = $alone:literal])?
            $(#[limit($limit:literal)])?
            async fn $name:ident($session:ident) $body:block
        )*
    ) => {
        /// The cases of this theme.
        pub(super) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: concat!(stringify!($theme), "::", stringify!($name)),
            clause: $clause,
            doc: concat!($($doc, "\n"),+),
            needs: &[$($($crate::case::Need::$need),+)?],
            alone: $crate::case::alone!($($alone)?),
            limit: $crate::case::limit!($($limit)?),
            run: |session| Box::pin($name(session)),
        }),*];

        $(
            $(#[doc = $doc])+
            async fn $name($session: &mut $crate::session::SessionUnderTest) $body
        )*
    };
}

macro_rules! alone {
    () => {
        None
    };
    ($why:literal) => {
        Some($why)
    };
}

macro_rules! limit {
    () => {
        $crate::case::Case::LIMIT
    };
    ($seconds:literal) => {
        ::std::time::Duration::from_secs($seconds)
    };
}

pub(crate) use {alone, cases, limit};

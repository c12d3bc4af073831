//! The clock of a run: the time since its start, without the time between its end and its going on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The clock of a tree of runs. It stands still until [`go_on`](Self::go_on), where a record comes first.
#[derive(Debug)]
pub(crate) struct TreeClock(Mutex<Ticking>);

#[derive(Debug)]
struct Ticking {
    /// The time when it went on.
    base: Duration,
    since: Option<Instant>,
}

impl TreeClock {
    /// A clock that starts now.
    pub(super) fn started() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Ticking { base: Duration::ZERO, since: Some(Instant::now()) })))
    }

    /// A clock that stands at this time.
    pub(super) fn standing(at: f64) -> Arc<Self> {
        let base = Duration::try_from_secs_f64(at).unwrap_or_default();
        Arc::new(Self(Mutex::new(Ticking { base, since: None })))
    }

    /// Lets it tick, if it stands; not before `at`.
    pub(super) fn go_on(&self, at: Duration) {
        let mut ticking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ticking.since.is_none() {
            *ticking = Ticking { base: at.max(ticking.base), since: Some(Instant::now()) };
        }
    }

    pub(super) fn now(&self) -> Duration {
        let ticking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ticking.base + ticking.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

/// The clock of one run of a tree.
#[derive(Clone, Debug)]
pub(crate) struct RunClock {
    tree: Arc<TreeClock>,
    /// The time of its last event, or of the last one that its record answered.
    last: Arc<Mutex<Duration>>,
}

impl RunClock {
    pub(super) fn new(tree: Arc<TreeClock>, last: Duration) -> Self {
        Self { tree, last: Arc::new(Mutex::new(last)) }
    }

    /// A clock that starts now.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn started() -> Self {
        Self::new(TreeClock::started(), Duration::ZERO)
    }

    /// The time since the start of the run that all others come from.
    pub(crate) fn now(&self) -> Duration {
        self.tree.now()
    }

    /// The time of the run's last event. What the loop decides and says by this is the same when its record
    /// answers.
    pub(crate) fn last(&self) -> Duration {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn advance(&self, at: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = at.max(*last);
    }
}

//! Which pages of a session's memory were written to: the operating system knows.
//!
//! A session's memory is a private mapping of the snapshot. The first write to a page makes a copy of it that belongs to
//! the session, and Linux can tell which pages those are. Since version 6.7 it can also tell which of them were written
//! to since it was last asked ([`linux`]), so that a checkpoint costs what the last cell wrote, however much a session
//! holds. Elsewhere all pages are looked at.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc};

#[cfg(not(target_os = "linux"))]
use elsewhere as linux;

use crate::checkpoint::PAGE;

/// From where on a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// All that may differ from the snapshot.
    Snapshot,
    /// All that may have changed since the last question, whichever it was.
    LastTime,
}

/// Asks the system about memory; shared by all sessions of a factory.
#[derive(Debug)]
pub(crate) struct Watcher(Option<linux::Tracking>);

impl Watcher {
    /// Finds out what the system can do.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(linux::Tracking::new()))
    }

    /// One that takes the system for an old one.
    #[cfg(test)]
    fn without_tracking() -> Arc<Self> {
        Arc::new(Self(None))
    }
}

/// Pages that a session may have looked at before its writes are tracked. Tracking makes the first write to a page after
/// each question slower, and reading new pages too; a session of a few cells is better off without.
const LOOKS: usize = 2048;

/// What is known about the memory of one instance. It must be dropped before that memory is used for another.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Arc<Watcher>,
    /// Pages that were found so far, and had to be looked at.
    looked: usize,
    /// The addresses in which the system tracks writes.
    tracked: Option<Range<usize>>,
}

impl Watch {
    /// Knows nothing yet.
    pub(crate) fn new(watcher: Arc<Watcher>) -> Self {
        Self { watcher, looked: 0, tracked: None }
    }

    /// The numbers of the pages that were written to, in order; or more of them, where the system does not know better.
    pub(crate) fn written(&mut self, memory: &[u8], since: Since) -> Vec<u32> {
        let found = self.by_tracking(memory, since).or_else(|| linux::present(memory));
        found.unwrap_or_else(|| (0..count(memory)).collect())
    }

    fn by_tracking(&mut self, memory: &[u8], since: Since) -> Option<Vec<u32>> {
        let tracking = self.watcher.0.as_ref()?;
        let first = memory.as_ptr().addr();
        let range = first..first + count(memory) as usize * PAGE;
        if self.tracked.is_none() {
            let found = tracking.present(&range).ok()?;
            self.looked += found.len();
            if self.looked <= LOOKS {
                return Some(found);
            }
        }
        if self.tracked.as_ref() != Some(&range) {
            // Also when it has grown: what was tracked before stays so.
            tracking.begin(&range).ok()?;
            self.tracked = Some(range.clone());
        }
        tracking.written(&range, since).ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let (Some(tracking), Some(range)) = (&self.watcher.0, &self.tracked) {
            tracking.end(range);
        }
    }
}

/// Makes pages of a fresh memory ready that are going to be written to: a fault for each would take longer.
pub(crate) fn populate(memory: &mut [u8], pages: &[Range<u32>]) {
    for pages in pages {
        if let Some(part) = memory.get_mut(pages.start as usize * PAGE..pages.end as usize * PAGE) {
            linux::populate(part);
        }
    }
}

fn count(memory: &[u8]) -> u32 {
    u32::try_from(memory.len() / PAGE).unwrap_or(u32::MAX)
}

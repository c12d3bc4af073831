//! Which pages of a session's memory were written to: the operating system knows.
//!
//! A session's memory is a private mapping of the snapshot. The first write to a page makes a copy of it that belongs to
//! the session, and Linux can tell which pages those are. All of them have to be looked at, to see what changed.
//!
//! A session that holds much would pay for that at every checkpoint. Since version 6.7 Linux can also track which pages are
//! written to ([`linux`]). But the first write to a tracked page takes as long as looking at several, and every cell writes
//! to the same hundred pages. So writes are tracked to those pages that cells leave alone, such as inputs. (Where writes can be
//! tracked, pages are also read in one by one, no more in groups: one more reason to begin late.)

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc};

#[cfg(not(target_os = "linux"))]
use elsewhere as linux;

use crate::memory::page::{PAGE, count, ranges};

/// From where on a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// All that may differ from the snapshot.
    BaseImage,
    /// All that may have changed since the last question, whichever it was.
    LastScan,
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

/// A page that was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComparedPage {
    pub(crate) page: u32,
    /// Whether something else was in it the last time.
    pub(crate) changed: bool,
}

/// Pages that a session may have looked at before tracking begins, which takes as long as some checkpoints.
const PAGES_BEFORE_TRACKING: usize = 2048;
/// New pages that are looked at for a while before writes to them are tracked. More at once are an input, or what a cell
/// made of one: they are looked at once more.
const MAX_NEW_PAGES: usize = 256;
/// How many times in a row a page is found unchanged before writes to it are tracked.
const QUIET_SCANS: u8 = 8;
/// Tracking some pages more than once takes less than asking for each range.
const MAX_GAP: u32 = 30;

/// What is known about the memory of one instance. It must be dropped before that memory is used for another.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Arc<Watcher>,
    /// Pages that were looked at before tracking began.
    looked: usize,
    /// The addresses in which writes can be tracked.
    registered: Option<Range<usize>>,
    /// Addresses in it where they are not yet.
    untracked: Option<Range<usize>>,
    /// Pages in which they are not any more, in order, each with how often it has still to be found unchanged.
    open: Vec<(u32, u8)>,
}

impl Watch {
    /// Knows nothing yet.
    pub(crate) fn new(watcher: Arc<Watcher>) -> Self {
        Self { watcher, looked: 0, registered: None, untracked: None, open: Vec::new() }
    }

    /// The numbers of the pages that may have been written to, in order.
    pub(crate) fn written(&mut self, memory: &[u8], since: Since) -> Vec<u32> {
        let found = self.by_tracking(memory, since).or_else(|| linux::present(memory));
        found.unwrap_or_else(|| (0..count(memory)).collect())
    }

    /// What came of looking at the pages that [`written`](Self::written) answered. Nothing may have written in between.
    pub(crate) fn compared(&mut self, pages: &[ComparedPage]) {
        let Some(start) = self.registered.as_ref().map(|range| range.start) else { return };
        let place = |page: u32| start + page as usize * PAGE;
        let (quiet, untracked) = (self.quiet(pages, place), self.untracked.take());
        let quiet = self.joined(ranges(quiet));
        let quiet = quiet.into_iter().map(|pages| place(pages.start)..place(pages.end));
        if untracked.into_iter().chain(quiet).any(|range| !self.track(&range)) {
            self.stop();
        }
    }

    /// Ranges over gaps in which no page is open. Writes to what lies in these are tracked already.
    fn joined(&self, ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
        let is_open = |gap: Range<u32>| {
            let next = self.open.partition_point(|(page, _)| *page < gap.start);
            self.open.get(next).is_some_and(|(page, _)| gap.contains(page))
        };
        let mut joined: Vec<Range<u32>> = Vec::new();
        for pages in ranges {
            match joined.last_mut() {
                Some(last) if pages.start - last.end <= MAX_GAP && !is_open(last.end..pages.start) => {
                    last.end = pages.end;
                }
                _ => joined.push(pages),
            }
        }
        joined
    }

    /// The pages among those that were looked at to which writes are to be tracked from here on.
    fn quiet(&mut self, pages: &[ComparedPage], place: impl Fn(u32) -> usize) -> Vec<u32> {
        let new = |page| self.untracked.as_ref().is_some_and(|untracked| untracked.contains(&place(page)));
        let before = std::mem::take(&mut self.open);
        let mut before = before.into_iter().peekable();
        let mut left = |page: u32| {
            while before.next_if(|(other, _)| *other < page).is_some() {}
            before.next_if(|(other, _)| *other == page).map(|(_, left)| left)
        };
        let pages = pages
            .iter()
            .filter(|compared| !new(compared.page))
            .map(|compared| (compared, left(compared.page)));
        let pages: Vec<_> = pages.collect();
        let few = pages.iter().filter(|(_, left)| left.is_none()).count() <= MAX_NEW_PAGES;
        let mut quiet = Vec::new();
        for (ComparedPage { page, changed }, left) in pages {
            let left = match left {
                None if few => QUIET_SCANS,
                None => 1,
                Some(_) if *changed => QUIET_SCANS,
                Some(left) => left - 1,
            };
            match left {
                0 => quiet.push(*page),
                _ => self.open.push((*page, left)),
            }
        }
        quiet
    }

    fn by_tracking(&mut self, memory: &[u8], since: Since) -> Option<Vec<u32>> {
        let range = addresses(memory);
        let moved = self.registered.as_ref().is_some_and(|registered| registered.start != range.start);
        if moved || since == Since::BaseImage {
            self.stop();
        }
        let tracking = self.watcher.0.as_ref()?;
        let Some(registered) = self.registered.clone() else {
            let found = tracking.present(&range).ok()?;
            self.looked += found.len();
            // Who asks for all of it has no use for what changed.
            if since == Since::LastScan
                && self.looked > PAGES_BEFORE_TRACKING
                && tracking.begin(&range).is_ok()
            {
                (self.registered, self.untracked) = (Some(range.clone()), Some(range));
            }
            return Some(found);
        };
        if registered != range {
            // It has grown. What was tracked before stays so.
            tracking.begin(&range).ok()?;
            let untracked = self.untracked.take().unwrap_or(registered.end..registered.end);
            (self.registered, self.untracked) = (Some(range.clone()), Some(untracked.start..range.end));
        }
        let untracked = self.untracked.clone().unwrap_or(range.end..range.end);
        let mut found = tracking.written(&(range.start..untracked.start)).ok()?;
        let first = u32::try_from((untracked.start - range.start) / PAGE).ok()?;
        found.extend(tracking.present(&untracked).ok()?.into_iter().map(|page| first + page));
        Some(found)
    }

    fn track(&self, range: &Range<usize>) -> bool {
        self.watcher.0.as_ref().is_some_and(|tracking| tracking.track(range).is_ok())
    }

    /// Back to the beginning: all pages are to be looked at.
    pub(crate) fn stop(&mut self) {
        if let (Some(tracking), Some(range)) = (&self.watcher.0, self.registered.take()) {
            tracking.end(&range);
        }
        (self.looked, self.untracked) = (0, None);
        self.open.clear();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes pages of a fresh memory ready that are going to be written to: a fault for each would take longer.
pub(crate) fn prefault(memory: &mut [u8], pages: &[Range<u32>]) {
    for pages in pages {
        if let Some(part) = memory.get_mut(pages.start as usize * PAGE..pages.end as usize * PAGE) {
            linux::prefault(part);
        }
    }
}

/// Where memory is, in whole pages.
fn addresses(memory: &[u8]) -> Range<usize> {
    let first = memory.as_ptr().addr();
    first..first + count(memory) as usize * PAGE
}

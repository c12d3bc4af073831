//! Finds the pages of a session's memory that were written to, by asking the operating system.
//!
//! A session's memory is a private mapping of the base image. The first write to a page makes a copy of it
//! that belongs to the session, and Linux can tell which pages those are. All of them have to be compared, to
//! find what changed.
//!
//! A session with much data would pay for that at every checkpoint. Since version 6.7 Linux can also track
//! which pages are written to ([`linux`]). But the first write to a tracked page takes as long as comparing
//! several, and every cell writes to the same hundred pages. So writes are tracked only to pages that cells
//! leave alone, such as inputs. (Where writes can be tracked, the system also reads pages in one by one
//! instead of in groups: one more reason to begin late.)

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

/// The time since which writes are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Report all pages that may differ from the base image.
    BaseImage,
    /// Report all pages that may have changed since the last report of any kind.
    LastScan,
}

/// The system's means to report writes, shared by all sessions of a factory.
#[derive(Debug)]
pub(crate) struct Watcher(Option<linux::Tracking>);

impl Watcher {
    /// Finds out what the system can do.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(linux::Tracking::new()))
    }

    /// A watcher as on a system without tracking.
    #[cfg(test)]
    fn without_tracking() -> Arc<Self> {
        Arc::new(Self(None))
    }
}

/// The result of comparing a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComparedPage {
    pub(crate) page: u32,
    /// Whether its content changed since the last time.
    pub(crate) changed: bool,
}

/// How many pages are compared in a session before tracking begins. Beginning takes as long as some
/// checkpoints.
const PAGES_BEFORE_TRACKING: usize = 2048;
/// Up to this many new pages are compared for a while before writes to them are tracked. More new pages at
/// once are an input, or what a cell made of one: they are compared once more.
const MAX_NEW_PAGES: usize = 256;
/// How many times in a row a page must be unchanged before writes to it are tracked.
const QUIET_SCANS: u8 = 8;
/// Gaps of up to this many pages between ranges are tracked too: that is faster than one system call for each
/// range.
const MAX_GAP: u32 = 30;

/// The state of watching the memory of one instance. It must be dropped before that memory is used for
/// another.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Arc<Watcher>,
    /// How many pages were compared before tracking began.
    looked: usize,
    /// The addresses that are registered for tracking.
    registered: Option<Range<usize>>,
    /// The part of `registered` in which no writes are tracked yet.
    untracked: Option<Range<usize>>,
    /// Pages in which writes are not tracked any more, in order, each with how often it still has to be
    /// unchanged.
    open: Vec<(u32, u8)>,
}

impl Watch {
    /// The state of an instance that did not run yet.
    pub(crate) fn new(watcher: Arc<Watcher>) -> Self {
        Self { watcher, looked: 0, registered: None, untracked: None, open: Vec::new() }
    }

    /// The numbers of the pages that may have been written to, in order.
    pub(crate) fn written(&mut self, memory: &[u8], since: Since) -> Vec<u32> {
        let found = self.by_tracking(memory, since).or_else(|| linux::present(memory));
        found.unwrap_or_else(|| (0..count(memory)).collect())
    }

    /// Takes the results of comparing the pages that [`written`](Self::written) returned. No page may have
    /// been written to in between.
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

    /// Joins ranges over gaps in which no page is open. Writes to the pages in these gaps are tracked
    /// already.
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

    /// Returns the compared pages to which writes are tracked from here on.
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
            // A caller that wants all pages has no use for tracking.
            if since == Since::LastScan
                && self.looked > PAGES_BEFORE_TRACKING
                && tracking.begin(&range).is_ok()
            {
                (self.registered, self.untracked) = (Some(range.clone()), Some(range));
            }
            return Some(found);
        };
        if registered != range {
            // The memory has grown. Pages that were tracked before still are.
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

    /// Stops tracking: all pages have to be compared again.
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

/// Copies pages of a new memory that will be written to. A fault for each would take longer.
pub(crate) fn prefault(memory: &mut [u8], pages: &[Range<u32>]) {
    for pages in pages {
        if let Some(part) = memory.get_mut(pages.start as usize * PAGE..pages.end as usize * PAGE) {
            linux::prefault(part);
        }
    }
}

/// The addresses of a memory, in whole pages.
fn addresses(memory: &[u8]) -> Range<usize> {
    let first = memory.as_ptr().addr();
    first..first + count(memory) as usize * PAGE
}

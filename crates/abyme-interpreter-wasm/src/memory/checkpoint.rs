//! The state of a session between two cells, as its difference from the base image.
//!
//! A session's memory begins as the base image, so a checkpoint is the pages that changed since, and the
//! session's files. A checkpoint that follows another differs only in pages that were written to between
//! them. A new instance with a checkpoint put into it is the session again: the same one after a crash, a
//! copy as a fork, or one in another process.
//!
//! A long text that the session was given fills pages that are parts of it, byte for byte, if it is ASCII.
//! The host has that text, so such a page is kept as a part of it and not as a copy. Whether it still is that
//! part is seen by comparing, as with all pages.
//!
//! Copies of many pages are made in one piece, which instances map ([`frozen`]).

use std::{
    cmp::Reverse,
    collections::HashMap,
    io,
    ops::{Deref, Range},
    sync::Arc,
};

use abyme_core::Result;
use bytes::Bytes;
use tokio::task::yield_now;

use crate::{
    guest::{calls::HostCalls, state::PlacedTexts},
    memory::{
        frozen::{self, FrozenPage, FrozenPages},
        page::{self, BATCH, PAGE},
        watch::{ComparedPage, Since},
    },
    runtime::Runtime,
    slots::Slot,
    vm::Vm,
};
use abyme_wasi::WasiCheckpoint;

#[cfg(test)]
mod tests;

/// Up to this many new pages are inserted one by one; more are merged.
const INSERTED: usize = 2;
/// What memory behind the base image begins as.
const ZEROS: [u8; PAGE] = [0; PAGE];

/// Shorter runs of frozen pages are copied into an instance: to map them takes as long.
const MIN_MAPPED: usize = (1 << 20) / PAGE;
/// As many runs are mapped into an instance at most: the system limits how many a process has.
const MAX_MAPPED: usize = 8;

/// A page of memory.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// A copy.
    Own(Arc<[u8]>),
    /// A copy among many.
    Frozen(FrozenPage),
    /// A part of a text that the session was given. The host has it anyway.
    Given(Bytes),
}

impl Deref for Page {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(page) => page,
            Self::Frozen(page) => page,
            Self::Given(page) => page,
        }
    }
}

impl Page {
    fn own(content: &[u8]) -> Self {
        Self::Own(Arc::from(content))
    }

    /// Copies the content, into the memory that is there if no other checkpoint has it.
    fn set(&mut self, content: &[u8]) {
        if let Self::Own(page) = self
            && let Some(page) = Arc::get_mut(page)
        {
            page.copy_from_slice(content);
            return;
        }
        *self = Self::own(content);
    }

    fn is_own(&self) -> bool {
        !matches!(self, Self::Given(_))
    }

    /// The number of the file that it is frozen in, and how many pages that has.
    fn file(&self) -> Option<(usize, usize)> {
        match self {
            Self::Frozen(page) => Some(page.file()),
            _ => None,
        }
    }

    /// Copies of pages. Other tasks have their turn in between.
    pub(crate) async fn copies(pages: &[&[u8]]) -> Vec<Self> {
        if let Some(frozen) = frozen::freeze(pages).await {
            return frozen.into_iter().map(Self::Frozen).collect();
        }
        let mut copies = Vec::with_capacity(pages.len());
        for pages in pages.chunks(BATCH) {
            copies.extend(pages.iter().map(|page| Self::own(page)));
            yield_now().await;
        }
        copies
    }
}

/// Copies of pages that come one after the other.
pub(crate) enum PageCopies {
    Own(Vec<Page>),
    Frozen(FrozenPages),
}

impl PageCopies {
    /// Copies of so many pages.
    pub(crate) fn of(count: usize) -> Self {
        FrozenPages::of(count).map_or_else(|| Self::Own(Vec::new()), Self::Frozen)
    }

    /// # Errors
    /// That the system has no room for them.
    pub(crate) fn add(&mut self, pages: &[&[u8]]) -> io::Result<()> {
        match self {
            Self::Own(copies) => copies.extend(pages.iter().map(|page| Page::own(page))),
            Self::Frozen(frozen) => frozen.add(pages)?,
        }
        Ok(())
    }

    /// # Errors
    /// That the system does not show them.
    pub(crate) fn finish(self) -> io::Result<Vec<Page>> {
        Ok(match self {
            Self::Own(copies) => copies,
            Self::Frozen(frozen) => frozen.finish()?.map(Page::Frozen).collect(),
        })
    }
}

/// The state of a session between two cells.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// The size of the memory.
    pub(crate) len: usize,
    /// The changed pages, in the order of their numbers.
    pub(crate) pages: Arc<Vec<(u32, Page)>>,
    /// How many of them are copies.
    pub(crate) own: usize,
    pub(crate) wasi: WasiCheckpoint,
}

impl Checkpoint {
    /// Takes the state of `vm`, whose last checkpoint was `before`: where the system tracks writes, only
    /// pages that were written to since are compared. Without `before` all are. `None` if the copies have
    /// more than `limit` bytes.
    ///
    /// Other tasks have their turn in between. If the future is dropped, `before` is lost and `vm` is as it
    /// was.
    pub(crate) async fn take(
        vm: &mut Vm,
        base: &[u8],
        before: Option<Checkpoint>,
        limit: u64,
    ) -> Option<Self> {
        let since = if before.is_some() { Since::LastScan } else { Since::BaseImage };
        let written = vm.written_pages(since);
        let (memory, placed) = (vm.memory(), vm.placed_texts());
        let (pages, mut own) = before.map(|before| (before.pages, before.own)).unwrap_or_default();
        let mut pages = Arc::unwrap_or_clone(pages);
        let mut compared = Vec::with_capacity(written.len());
        let (mut fresh, mut gone, mut place, mut thawed) = (Vec::new(), Vec::new(), 0, false);
        for (count, number) in written.into_iter().enumerate() {
            if count % BATCH == BATCH - 1 {
                yield_now().await;
            }
            let at = number as usize * PAGE;
            let Some(now) = memory.get(at..at + PAGE) else { continue };
            place += pages[place..].partition_point(|(other, _)| *other < number);
            let known = pages.get_mut(place).filter(|(other, _)| *other == number);
            let was_frozen = known.as_ref().is_some_and(|(_, known)| known.file().is_some());
            let changed = match known {
                Some((_, known)) if **known == *now => false,
                None if is_base(base, at, now) => false,
                Some((_, known)) if is_base(base, at, now) => {
                    own -= usize::from(known.is_own());
                    gone.push(number);
                    true
                }
                Some((_, known)) => {
                    own -= usize::from(known.is_own());
                    match given(placed, at, now) {
                        Some(page) => *known = page,
                        None => known.set(now),
                    }
                    own += usize::from(known.is_own());
                    true
                }
                None => {
                    let given = given(placed, at, now);
                    own += usize::from(given.is_none());
                    fresh.push((number, given));
                    true
                }
            };
            thawed |= changed && was_frozen;
            compared.push(ComparedPage { page: number, changed });
            if !fits(own, limit) {
                return None;
            }
        }
        if !gone.is_empty() {
            pages.retain(|(number, _)| gone.binary_search(number).is_err());
        }
        if thawed {
            thaw_rests(&mut pages);
        }
        let copied = fresh.iter().filter(|(_, given)| given.is_none());
        let copied: Vec<_> = copied.map(|(number, _)| &memory[*number as usize * PAGE..][..PAGE]).collect();
        let mut copies = Page::copies(&copied).await.into_iter();
        let fresh = fresh.into_iter();
        let mut fresh: Vec<_> =
            fresh.filter_map(|(number, given)| Some((number, given.or_else(|| copies.next())?))).collect();
        if pages.is_empty() {
            pages = std::mem::take(&mut fresh);
        } else if fresh.len() > INSERTED {
            pages.append(&mut fresh);
            pages.sort_by_key(|(number, _)| *number); // two sorted runs: one pass
        }
        for (number, page) in fresh {
            let place = pages.partition_point(|(other, _)| *other < number);
            pages.insert(place, (number, page));
        }
        let pages = Arc::new(pages);
        let checkpoint = Self { len: memory.len(), pages, own, wasi: vm.wasi().checkpoint() };
        vm.compared(compared);
        vm.forget_placed_texts();
        Some(checkpoint)
    }

    /// The state of an instance that did not run yet.
    pub(crate) fn of_fresh(vm: &Vm) -> Self {
        Self { len: vm.memory().len(), pages: Arc::default(), own: 0, wasi: vm.wasi().checkpoint() }
    }

    /// A changed page.
    #[cfg(test)]
    fn page(&self, number: u32) -> Option<&[u8]> {
        let at = self.pages.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.pages[at].1)
    }

    /// Whether its copies have no more than `limit` bytes.
    pub(crate) fn fits(&self, limit: u64) -> bool {
        fits(self.own, limit)
    }

    /// Makes an instance in this state. Other tasks have their turn in between.
    pub(crate) async fn restore(&self, runtime: &Runtime, calls: HostCalls, slot: Slot) -> Result<Box<Vm>> {
        let mut vm = runtime.instance(calls, slot).await?;
        vm.memory_mut(self.len)?;
        let mut mapped = self.runs(page::count(runtime.base()));
        mapped.retain(|run| match &self.pages[run.start] {
            (first, Page::Frozen(page)) => vm.map(*first..*first + run.len() as u32, page),
            _ => false,
        });
        let memory = vm.memory_mut(self.len)?;
        let mut copied = 0;
        let ends = mapped.iter().map(|run| run.start).chain([self.pages.len()]);
        let starts = [0].into_iter().chain(mapped.iter().map(|run| run.end));
        for (number, page) in starts.zip(ends).flat_map(|(start, end)| &self.pages[start..end]) {
            copied += 1;
            if copied % BATCH == 0 {
                yield_now().await;
            }
            let at = *number as usize * PAGE;
            if let Some(place) = memory.get_mut(at..at + PAGE) {
                place.copy_from_slice(page);
            }
        }
        vm.wasi_mut().restore(&self.wasi);
        Ok(vm)
    }

    /// The longest runs of frozen pages that can be mapped in one piece, in order: indices of `pages`. Those
    /// below `first` are the base image's, which instances have there by a mapping of its own.
    fn runs(&self, first: u32) -> Vec<Range<usize>> {
        let start = self.pages.partition_point(|(number, _)| *number < first);
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut before: Option<(u32, &FrozenPage)> = None;
        for (index, (number, page)) in self.pages.iter().enumerate().skip(start) {
            let Page::Frozen(page) = page else { continue };
            let is_next = |(other, last): (u32, &FrozenPage)| other + 1 == *number && page.follows(last);
            match runs.last_mut() {
                Some(run) if before.is_some_and(is_next) => run.end = index + 1,
                _ => runs.push(index..index + 1),
            }
            before = Some((*number, page));
        }
        runs.retain(|run| run.len() >= MIN_MAPPED);
        runs.sort_by_key(|run| Reverse(run.len()));
        runs.truncate(MAX_MAPPED);
        runs.sort_by_key(|run| run.start);
        runs
    }
}

/// Copies what is left of files of which less than half is left, so that no memory is held for nothing.
fn thaw_rests(pages: &mut [(u32, Page)]) {
    let mut left: HashMap<usize, (usize, usize)> = HashMap::new();
    for (file, of) in pages.iter().filter_map(|(_, page)| page.file()) {
        left.entry(file).or_insert((0, of)).0 += 1;
    }
    let is_rest = |file: usize| left.get(&file).is_some_and(|(left, of)| left * 2 < *of);
    for (_, page) in pages {
        if page.file().is_some_and(|(file, _)| is_rest(file)) {
            *page = Page::own(page);
        }
    }
}

fn fits(pages: usize, limit: u64) -> bool {
    (pages * PAGE) as u64 <= limit
}

/// The page as a part of a text that was placed where it is, if it still is that text.
fn given(placed: &PlacedTexts, at: usize, now: &[u8]) -> Option<Page> {
    placed.part(at, now.len()).filter(|part| part == now).map(Page::Given)
}

/// Whether a page is as in the base image; behind the image's end, memory begins as zeros.
fn is_base(base: &[u8], at: usize, page: &[u8]) -> bool {
    match base.get(at..at + PAGE) {
        Some(original) => original == page,
        None => page == ZEROS,
    }
}

//! Copies of many pages, in files in memory that nobody can change any more.
//!
//! An instance that is put into a state with such pages maps them in place of copying them: it shares them
//! with all others until it writes to them, and the system reads them in as they are touched. So a copy of a
//! session takes no time for what it does not touch, and no memory.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(test)]
mod tests;

use std::{io, ops::Deref, panic::resume_unwind, sync::Arc, thread};

#[cfg(not(target_os = "linux"))]
use elsewhere as linux;
use tokio::task::yield_now;

use crate::memory::page::{BATCH, PAGE};

/// Fewer pages are not worth a file: a process may have a thousand of them open.
const MIN_PAGES: usize = (4 << 20) / PAGE;

/// How many pages each thread writes before other tasks have their turn: some 6 ms. Each round starts a
/// thread, and shorter ones take longer in all.
const ROUND: usize = 4 * BATCH;

/// A page in a file.
#[derive(Clone, Debug)]
pub(crate) struct FrozenPage {
    file: Arc<linux::FrozenFile>,
    number: u32,
}

impl Deref for FrozenPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let at = self.number as usize * PAGE;
        &self.file[at..at + PAGE]
    }
}

impl FrozenPage {
    /// Whether it comes right after another page.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && other.number.checked_add(1) == Some(self.number)
    }

    /// What tells its file from others, and how many pages the file has.
    pub(crate) fn file(&self) -> (usize, usize) {
        (Arc::as_ptr(&self.file).addr(), self.file.len() / PAGE)
    }

    /// Has `place` hold this page and those after it, whose number its size says.
    ///
    /// # Errors
    /// That the system does not map them. `place` is as it was then.
    pub(crate) fn map(&self, place: &mut [u8]) -> io::Result<()> {
        self.file.map(self.number as usize * PAGE, place)
    }
}

/// A file of pages that come one after the other.
pub(crate) struct FrozenPages(linux::Writer);

impl FrozenPages {
    /// A file for so many pages. `None` if they are few, or where the system has no such files.
    pub(crate) fn of(count: usize) -> Option<Self> {
        if count < MIN_PAGES {
            return None;
        }
        let writer = linux::Writer::new();
        writer.inspect_err(not_frozen).ok().map(Self)
    }

    /// # Errors
    /// That the system has no room for them.
    pub(crate) fn add(&mut self, pages: &[&[u8]]) -> io::Result<()> {
        self.0.append(pages)
    }

    /// # Errors
    /// That the system does not map the file.
    pub(crate) fn finish(self) -> io::Result<impl Iterator<Item = FrozenPage>> {
        self.0.finish().map(pages_of)
    }
}

/// Copies pages into a file, or into two by two threads where they are many. `None` if they are few, or where
/// the system has no such files. Other tasks have their turn in between.
pub(crate) async fn freeze(pages: &[&[u8]]) -> Option<Vec<FrozenPage>> {
    if pages.len() < MIN_PAGES {
        return None;
    }
    let first = if pages.len() < 2 * MIN_PAGES { pages.len() } else { pages.len().div_ceil(2) };
    match written(pages.split_at(first)).await {
        Ok(files) => Some(files.into_iter().flatten().flat_map(pages_of).collect()),
        Err(error) => {
            not_frozen(&error);
            None
        }
    }
}

/// Writes files of these pages. The second has no more than the first, and may have none.
async fn written((one, other): (&[&[u8]], &[&[u8]])) -> io::Result<[Option<linux::FrozenFile>; 2]> {
    let mut first = linux::Writer::new()?;
    let mut second = if other.is_empty() { None } else { Some(linux::Writer::new()?) };
    let mut others = other.chunks(ROUND);
    for pages in one.chunks(ROUND) {
        // Most of the work is the system's, for each page, and each file has a lock of its own.
        thread::scope(|scope| {
            let beside = second.as_mut().zip(others.next()).map(|(second, pages)| {
                thread::Builder::new().spawn_scoped(scope, move || second.append(pages))
            });
            let beside = beside.transpose()?;
            first.append(pages)?;
            beside.map_or(Ok(()), |beside| beside.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        yield_now().await;
    }
    Ok([Some(first.finish()?), second.map(linux::Writer::finish).transpose()?])
}

fn not_frozen(error: &io::Error) {
    tracing::debug!(%error, "pages are copied one by one, not into a file");
}

fn pages_of(file: linux::FrozenFile) -> impl Iterator<Item = FrozenPage> {
    let file = Arc::new(file);
    let count = u32::try_from(file.len() / PAGE).unwrap_or(u32::MAX);
    (0..count).map(move |number| FrozenPage { file: file.clone(), number })
}

/// Has a place that pages were mapped into hold zeros, and no file.
///
/// # Errors
/// That the system refuses. `place` is as it was then.
pub(crate) fn unmap(place: &mut [u8]) -> io::Result<()> {
    linux::unmap(place)
}

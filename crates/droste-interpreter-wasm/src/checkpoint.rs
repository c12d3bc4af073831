//! The state of a session between two cells: what differs from the snapshot.
//!
//! A session's memory begins as the snapshot, so a checkpoint is the pages that were changed since, and its files. One
//! that follows another is the same but for what was written to between them. Putting it into a fresh instance gives the
//! session back: the same one after a crash, a second one as a fork, or one in another process.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use droste_core::Result;

use crate::{
    mailbox::Mailbox,
    pages::Since,
    runtime::{Runtime, Slot},
    vm::Vm,
    wasi,
};

#[cfg(test)]
mod tests;

/// Bytes that are compared and copied at a time.
pub(crate) const PAGE: usize = 4096;

/// A page of memory.
pub(crate) type Page = [u8];

/// The state of a session between two cells.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// Size of the memory.
    pub(crate) len: usize,
    /// The changed pages, by number.
    pub(crate) pages: BTreeMap<u32, Arc<Page>>,
    pub(crate) wasi: wasi::Checkpoint,
}

impl Checkpoint {
    /// The state of `vm`, whose last checkpoint was `before`: only what was written to since is looked at. Without one,
    /// all is. `None` if it is more than `limit` bytes.
    pub(crate) fn take(vm: &mut Vm, pristine: &[u8], before: Option<Checkpoint>, limit: u64) -> Option<Self> {
        let since = if before.is_some() { Since::LastTime } else { Since::Snapshot };
        let written = vm.written_pages(since);
        let memory = vm.memory();
        let mut pages = before.map(|before| before.pages).unwrap_or_default();
        for number in written {
            let at = number as usize * PAGE;
            let Some(now) = memory.get(at..at + PAGE) else { continue };
            match pages.entry(number) {
                Entry::Occupied(known) if **known.get() == *now => {}
                Entry::Occupied(known) if is_pristine(pristine, at, now) => drop(known.remove()),
                Entry::Occupied(mut known) => match Arc::get_mut(known.get_mut()) {
                    Some(page) => page.copy_from_slice(now),
                    None => drop(known.insert(Arc::from(now))),
                },
                Entry::Vacant(_) if is_pristine(pristine, at, now) => {}
                Entry::Vacant(place) => drop(place.insert(Arc::from(now))),
            }
            if !fits(&pages, limit) {
                return None;
            }
        }
        Some(Self { len: memory.len(), pages, wasi: vm.wasi().checkpoint() })
    }

    /// The state of an instance that did not run yet.
    pub(crate) fn of_fresh(vm: &Vm) -> Self {
        Self { len: vm.memory().len(), pages: BTreeMap::new(), wasi: vm.wasi().checkpoint() }
    }

    /// Whether it holds no more than `limit` bytes.
    pub(crate) fn fits(&self, limit: u64) -> bool {
        fits(&self.pages, limit)
    }

    /// A fresh instance in this state.
    pub(crate) async fn restore(&self, runtime: &Runtime, mailbox: Mailbox, slot: Slot) -> Result<Box<Vm>> {
        let mut vm = runtime.instance(mailbox, slot).await?;
        let memory = vm.memory_mut(self.len)?;
        for (number, page) in &self.pages {
            let at = *number as usize * PAGE;
            if let Some(place) = memory.get_mut(at..at + PAGE) {
                place.copy_from_slice(page);
            }
        }
        vm.wasi_mut().restore(&self.wasi);
        Ok(vm)
    }
}

fn fits(pages: &BTreeMap<u32, Arc<Page>>, limit: u64) -> bool {
    (pages.len() * PAGE) as u64 <= limit
}

/// Whether a page is as the snapshot has it; behind its end, memory begins as zeros.
fn is_pristine(pristine: &[u8], at: usize, page: &[u8]) -> bool {
    match pristine.get(at..at + PAGE) {
        Some(original) => original == page,
        None => page.iter().all(|byte| *byte == 0),
    }
}

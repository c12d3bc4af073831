//! The state of a session between two cells: what differs from the snapshot.
//!
//! A session's memory begins as the snapshot, so a checkpoint is the pages that were changed since, and its files. One
//! that follows another shares the pages that stayed the same. Putting it into a fresh instance gives the session back:
//! the same one after a crash, a second one as a fork, or one in another process.

use std::sync::Arc;

use droste_core::Result;

use crate::{
    mailbox::Mailbox,
    pages,
    runtime::{Runtime, Slot},
    vm::Vm,
    wasi,
};

/// Bytes that are compared and copied at a time.
pub(crate) const PAGE: usize = 4096;

/// A page of memory.
pub(crate) type Page = Box<[u8]>;

/// The state of a session between two cells.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// Size of the memory.
    pub(crate) len: usize,
    /// The changed pages, by number, in order.
    pub(crate) pages: Vec<(u32, Arc<Page>)>,
    pub(crate) wasi: wasi::Checkpoint,
}

impl Checkpoint {
    /// The state of `vm`, sharing with the state before what has not changed. `None` if that is more than
    /// `limit` bytes.
    pub(crate) fn take(vm: &Vm, pristine: &[u8], before: Option<&Checkpoint>, limit: u64) -> Option<Self> {
        let memory = vm.memory();
        let most = usize::try_from(limit / PAGE as u64).unwrap_or(usize::MAX);
        let mut known = before.map_or(&[][..], |before| &before.pages);
        let mut changed = Vec::with_capacity(known.len() + 64);
        for number in pages::touched(memory) {
            let at = number as usize * PAGE;
            let Some(page) = memory.get(at..at + PAGE) else { continue };
            while known.first().is_some_and(|(other, _)| *other < number) {
                known = &known[1..];
            }
            match known.first() {
                Some((other, same)) if *other == number && ***same == *page => {
                    changed.push((number, same.clone()));
                }
                _ if is_pristine(pristine, at, page) => {}
                _ => changed.push((number, Arc::new(Box::from(page)))),
            }
            if changed.len() > most {
                return None;
            }
        }
        Some(Self { len: memory.len(), pages: changed, wasi: vm.wasi().checkpoint() })
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

/// Whether a page is as the snapshot has it; behind its end, memory begins as zeros.
fn is_pristine(pristine: &[u8], at: usize, page: &[u8]) -> bool {
    match pristine.get(at..at + PAGE) {
        Some(original) => original == page,
        None => page.iter().all(|byte| *byte == 0),
    }
}

//! The pages of memory that every session writes to, found out by running a cell.
//!
//! A session's memory is the snapshot's until it is written to: then the system copies the page, one at a time, in the
//! middle of the first cell. It is the same hundred pages in nearly every session, so they are copied beforehand, which
//! takes half the time.

use std::ops::Range;

use droste_core::{Cell, Result};
use droste_wire::repl::Collector;

use crate::{checkpoint::PAGE, mailbox::Mailbox, pages::Since, session::message, vm::Vm};

/// Some output, a name, and a value: what most cells have.
const CELL: &str = "x = [1]\nprint(x)\nx";

/// The pages that a first cell writes to. None of those that it adds: there a session may write or not.
///
/// `vm` is an instance that did not run yet, and `pristine` the memory of another.
pub(crate) async fn pages(vm: Vm, mailbox: &Mailbox, pristine: &[u8]) -> Result<Vec<Range<u32>>> {
    mailbox.lock().begin(Collector::new(100));
    let (mut vm, outcome) = Box::new(vm).run(message(&Cell::new(CELL), None, false)?).await;
    if outcome.is_err() {
        return Ok(Vec::new()); // sessions will say what is wrong
    }
    let written = vm.written_pages(Since::Snapshot);
    let memory = vm.memory();
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for page in written {
        let at = page as usize * PAGE..(page as usize + 1) * PAGE;
        if pristine.get(at.clone()).is_none_or(|before| memory.get(at) == Some(before)) {
            continue;
        }
        match ranges.last_mut() {
            Some(range) if range.end == page => range.end += 1,
            _ => ranges.push(page..page + 1),
        }
    }
    tracing::debug!(ranges = ranges.len(), pages = ranges.iter().map(Range::len).sum::<usize>(), "hot pages");
    Ok(ranges)
}

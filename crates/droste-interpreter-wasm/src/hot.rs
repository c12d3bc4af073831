//! The pages of memory that every session writes to, found out by running some cells.
//!
//! A session's memory is the snapshot's until it is written to: then the system copies the page, one at a time, in the
//! middle of a cell, and makes all processors forget the old one. It is the same hundred pages in nearly every session,
//! so they are copied beforehand, which takes half the time.

use std::ops::Range;

use droste_core::{Cell, Result};
use droste_wire::repl::Collector;

use crate::{checkpoint::PAGE, mailbox::Mailbox, pages::Since, session::message, vm::Vm};

/// What most sessions do: output, names, a value, text, a function, an answer.
const CELLS: [&str; 4] = [
    "x = [1]\nprint(x)\nx",
    "def words(text):\n    return [word.lower() for word in text.split()]\n\nlines = 'a b\\nc d\\n'.splitlines()\n\
     print(len(lines), lines[0])",
    "total = sum(len(words(line)) for line in lines)\nprint(f'{total} words')",
    "SUBMIT(total)",
];

/// Where more pages seem to be written to, the system does not tell which.
const MOST: usize = 1000;

/// The pages that these cells write to. None of those that they add: there a session may write or not.
///
/// `vm` is an instance that did not run yet, and `pristine` the memory of another.
pub(crate) async fn pages(vm: Vm, mailbox: &Mailbox, pristine: &[u8]) -> Result<Vec<Range<u32>>> {
    let mut vm = Box::new(vm);
    for code in CELLS {
        mailbox.lock().begin(Collector::new(1000));
        let outcome;
        (vm, outcome) = vm.run(message(&Cell::new(code), None, false)?).await;
        if outcome.is_err() {
            return Ok(Vec::new()); // sessions will say what is wrong
        }
    }
    let end = u32::try_from(pristine.len() / PAGE).unwrap_or(u32::MAX);
    let mut ranges: Vec<Range<u32>> = Vec::new();
    // Also those that are as they were: most have counts of references that went up and down.
    for page in vm.written_pages(Since::Snapshot).into_iter().filter(|page| *page < end) {
        match ranges.last_mut() {
            Some(range) if range.end == page => range.end += 1,
            _ => ranges.push(page..page + 1),
        }
    }
    let count: usize = ranges.iter().map(Range::len).sum();
    Ok(if count <= MOST { ranges } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WasmConfig, progress::Reporter, runtime::Runtime};

    #[tokio::test]
    async fn they_are_some_of_the_snapshots() {
        let runtime = Runtime::load(WasmConfig::new().max_sessions(1), Reporter::default()).await.unwrap();
        let (hot, all) = (runtime.hot(), runtime.pristine().len() / PAGE);
        if !std::path::Path::new("/proc/self/pagemap").exists() {
            assert!(hot.is_empty(), "nothing can be known here: {hot:?}");
            return;
        }
        assert!(hot.is_sorted_by(|one, next| one.end < next.start), "{hot:?}");
        assert!(hot.iter().all(|pages| !pages.is_empty() && (pages.end as usize) <= all), "{hot:?}");
        let count: usize = hot.iter().map(|pages| pages.len()).sum();
        assert!((10..=MOST).contains(&count), "{count} of {all}");
    }
}

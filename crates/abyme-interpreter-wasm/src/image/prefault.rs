//! Finds the pages of memory that every session writes to, by running some cells.
//!
//! A page of a session's memory is the base image's until it is written to: then the system copies it, in the
//! middle of a cell, and makes all processors forget the old page. These are nearly the same pages in every
//! session, so they are prefaulted: copied together when an instance is made, which takes half the time.

use std::{future::poll_fn, ops::Range, pin::pin, sync::Arc, task::Poll};

use abyme_core::{Cell, Result, Scope, Value, built_in_functions};
use abyme_driver::repl::Collector;

use crate::{
    guest::{calls::HostCalls, request::message},
    memory::{
        page::{PAGE, ranges},
        watch::Since,
    },
    vm::{CellFailure, Vm},
};

/// Cells that do what most sessions do: output, names, a value, text, a function, calls, an answer.
const CELLS: [&str; 5] = [
    "x = [1]\nprint(x)\nx",
    "def words(text):\n    return [word.lower() for word in text.split()]\n\nlines = context.splitlines()\n\
     print(len(context), len(lines), lines[0])",
    "total = sum(len(words(line)) for line in lines)\nprint(f'{total} words')",
    "seen = llm_query('what is it?')\nprint(seen, llm_query_batched([seen, seen]))",
    "SUBMIT(answer=total)",
];

/// If more pages seem to be written to, the system does not tell which pages are written to.
const MAX_PAGES: usize = 1000;

/// Returns the pages of the base image that these cells write to, without pages that they add to the memory.
///
/// `vm` is an instance that did not run yet, and `base` the memory of another.
pub(crate) async fn pages(vm: Vm, calls: &HostCalls, base: &[u8]) -> Result<Vec<Range<u32>>> {
    let mut vm = Box::new(vm);
    let scope = Arc::new(scope());
    let input = Cell::new("").variable("context", Value::from("a line of some text\n".repeat(100)));
    let cells = std::iter::once(input).chain(CELLS.map(Cell::new));
    for (at, cell) in cells.enumerate() {
        calls.lock().begin(Collector::new(1000));
        let outcome;
        (vm, outcome) = run(vm, calls, &cell, (at == 0).then_some(&*scope)).await?;
        let failed =
            |answer: &Value| answer.as_dict().and_then(|answer| answer.get("error")) != Some(&Value::None);
        if outcome.as_ref().map_or(true, failed) {
            return Ok(Vec::new()); // sessions will report what is wrong
        }
    }
    let end = u32::try_from(base.len() / PAGE).unwrap_or(u32::MAX);
    // Pages whose content is as before are included: most have counts of references that went up and down.
    let ranges = ranges(vm.written_pages(Since::BaseImage).into_iter().filter(|page| *page < end));
    let count: usize = ranges.iter().map(Range::len).sum();
    Ok(if count <= MAX_PAGES { ranges } else { Vec::new() })
}

/// What a run offers.
fn scope() -> Scope {
    built_in_functions().into_iter().fold(Scope::new(), Scope::function).output("answer", "int")
}

/// Runs a cell whose calls are answered at once.
async fn run(
    vm: Box<Vm>,
    calls: &HostCalls,
    cell: &Cell,
    scope: Option<&Scope>,
) -> Result<(Box<Vm>, Result<Value, CellFailure>)> {
    let mut cell = pin!(vm.run(message(cell, scope, &[], None)?));
    let ended = poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = cell.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let mut calls = calls.lock();
            let started = calls.take_started();
            if started.is_empty() {
                return Poll::Pending;
            }
            for (number, _) in started {
                calls.finish(number, Ok(Value::from("a reply")));
            }
        }
    });
    Ok(ended.await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::WasmConfig, progress::Reporter, runtime::Runtime};

    #[tokio::test]
    async fn they_are_some_of_the_snapshots() {
        let runtime =
            Runtime::load(WasmConfig { max_sessions: 1, ..WasmConfig::default() }, Reporter::default())
                .await
                .unwrap();
        let (prefaulted, all) = (runtime.prefault(), runtime.base().len() / PAGE);
        if !std::path::Path::new("/proc/self/pagemap").exists() {
            assert!(prefaulted.is_empty(), "nothing can be known here: {prefaulted:?}");
            return;
        }
        assert!(prefaulted.is_sorted_by(|one, next| one.end < next.start), "{prefaulted:?}");
        assert!(
            prefaulted.iter().all(|pages| !pages.is_empty() && (pages.end as usize) <= all),
            "{prefaulted:?}"
        );
        let count: usize = prefaulted.iter().map(|pages| pages.len()).sum();
        assert!((10..=MAX_PAGES).contains(&count), "{count} of {all}");
    }
}

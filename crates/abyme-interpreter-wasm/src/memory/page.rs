//! Pages, the units in which memory is compared and copied.

use std::ops::Range;

/// The size of a page in bytes.
pub(crate) const PAGE: usize = 4096;

/// How many pages are compared or copied before other tasks of the thread have their turn: some milliseconds
/// of work, as long as a guest runs without a pause.
pub(crate) const BATCH: usize = (4 << 20) / PAGE;

/// How many whole pages a memory has.
pub(crate) fn count(memory: &[u8]) -> u32 {
    u32::try_from(memory.len() / PAGE).unwrap_or(u32::MAX)
}

/// Joins pages, which are in order, into ranges.
pub(crate) fn ranges(pages: impl IntoIterator<Item = u32>) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for page in pages {
        match ranges.last_mut() {
            Some(range) if range.end == page => range.end += 1,
            _ => ranges.push(page..page + 1),
        }
    }
    ranges
}

//! Which pages of a session's memory were written to: the operating system knows.
//!
//! A session's memory is a private mapping of the snapshot. The first write to a page makes a copy of it that belongs to
//! the session, and Linux tells in `/proc/self/pagemap` which pages those are. Elsewhere all pages are looked at.

/// The numbers of the pages that may differ from the snapshot, in order. Pages have
/// [`PAGE`](crate::checkpoint::PAGE) bytes.
pub(crate) fn touched(memory: &[u8]) -> Vec<u32> {
    by_the_system(memory).unwrap_or_else(|| (0..count(memory)).collect())
}

fn count(memory: &[u8]) -> u32 {
    u32::try_from(memory.len() / crate::checkpoint::PAGE).unwrap_or(u32::MAX)
}

#[cfg(target_os = "linux")]
fn by_the_system(memory: &[u8]) -> Option<Vec<u32>> {
    use std::{fs::File, os::unix::fs::FileExt};

    use crate::checkpoint::PAGE;

    /// Bytes the system keeps for a page.
    const ENTRY: usize = 8;
    /// The page is in memory.
    const PRESENT: u64 = 1 << 63;
    /// The page is in swap: only pages that were written to go there.
    const SWAPPED: u64 = 1 << 62;
    /// The page belongs to a file, or to memory that processes share.
    const SHARED: u64 = 1 << 61;

    let first = memory.as_ptr().addr();
    if rustix::param::page_size() != PAGE || !first.is_multiple_of(PAGE) {
        return None;
    }
    let file = File::open("/proc/self/pagemap").ok()?;
    let mut found = Vec::new();
    let mut buffer = [0; 4096 * ENTRY];
    let (mut number, end) = (0, count(memory));
    while number < end {
        let batch = (end - number).min(4096) as usize;
        let entries = &mut buffer[..batch * ENTRY];
        file.read_exact_at(entries, ((first / PAGE + number as usize) * ENTRY) as u64).ok()?;
        for (offset, entry) in (0..).zip(entries.as_chunks::<ENTRY>().0) {
            let entry = u64::from_ne_bytes(*entry);
            if entry & SWAPPED != 0 || (entry & PRESENT != 0 && entry & SHARED == 0) {
                found.push(number + offset);
            }
        }
        number += batch as u32;
    }
    Some(found)
}

#[cfg(not(target_os = "linux"))]
fn by_the_system(_: &[u8]) -> Option<Vec<u32>> {
    None
}

//! What Linux reports about pages.
//!
//! *Tracking* (Linux 6.7) is write protection that costs a writer one short fault and sends no signal: the
//! memory is registered with a `userfaultfd` in its asynchronous mode, pages are protected, and
//! `PAGEMAP_SCAN` reports which pages lost their protection by a write, or never had it. Where a sandbox
//! forbids it, or the kernel is older, `/proc/self/pagemap` reports for each page whether it was ever written
//! to.
//!
//! # Safety
//! The calls of this file change nothing that a program can see in its memory, whatever addresses they are
//! given: they set and read bits of the page table. The descriptors do not leave the file. In asynchronous
//! mode the kernel itself lifts the protection of a page that is written to, in the middle of a system call
//! too, so no write ever fails or waits.

#![allow(unsafe_code, reason = "the argument is above")]

use std::{
    fs::File,
    io,
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use rustix::{
    ioctl::{Opcode, Updater, ioctl, opcode},
    mm::{Advice, UserfaultfdFlags, madvise, userfaultfd},
};

use crate::memory::page::{PAGE, count};

/// How many ranges of pages one call reports.
const REGIONS: usize = 256;

/// The only API version of `userfaultfd`.
const API: u64 = 0xaa;
/// Does not report faults inside of system calls. Without this flag only privileged processes get a
/// `userfaultfd`.
const USER_MODE_ONLY: u32 = 1;
/// The kernel itself lifts the protection of a page that is written to.
const ASYNCHRONOUS: u64 = 1 << 15;
const WRITE_PROTECT: u64 = 1 << 1;
const PROTECTED: u64 = 1;

const INIT: Opcode = opcode::read_write::<Init>(0xaa, 0x3f);
const REGISTER: Opcode = opcode::read_write::<Register>(0xaa, 0x00);
const UNREGISTER: Opcode = opcode::read::<Addresses>(0xaa, 0x01);
const PROTECT: Opcode = opcode::read_write::<Protect>(0xaa, 0x06);
const SCAN: Opcode = opcode::read_write::<Scan>(b'f', 16);

/// Fails where writes are not tracked, instead of reporting everything.
const MUST_BE_TRACKED: u64 = 2;

/// The page is not protected, or not any more.
const WRITTEN: u64 = 1 << 1;
/// The page is the file's: it was never written to.
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
/// The page is in swap: only pages that were written to go there.
const SWAPPED: u64 = 1 << 4;

/// `struct uffdio_api`
#[repr(C)]
struct Init {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_range`
#[repr(C)]
struct Addresses {
    start: u64,
    len: u64,
}

/// `struct uffdio_register`
#[repr(C)]
struct Register {
    range: Addresses,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_writeprotect`
#[repr(C)]
struct Protect {
    range: Addresses,
    mode: u64,
}

/// `struct pm_scan_arg`
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    /// Categories that a page must not have.
    inverted: u64,
    /// Of all these categories, the page has those that are not inverted.
    all_of: u64,
    /// The page has at least one of these categories.
    any_of: u64,
    /// The categories that are reported; regions that differ in these are not joined.
    reported: u64,
}

/// `struct page_region`
#[derive(Clone, Copy)]
#[repr(C)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Categories of pages to look for.
#[derive(Clone, Copy)]
struct PageQuery {
    not: u64,
    all_of: u64,
    any_of: u64,
    /// Pages that differ in these are reported as regions of their own.
    reported: u64,
}

/// A kernel that tracks writes.
#[derive(Debug)]
pub(super) struct Tracking {
    userfault: OwnedFd,
    pagemap: File,
    /// The process whose memory both descriptors belong to, also in a child after a fork.
    process: u32,
}

impl Tracking {
    /// `None` where the kernel is too old or refuses.
    pub(super) fn new() -> Option<Self> {
        if rustix::param::page_size() != PAGE {
            return None;
        }
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: see the top of the file.
        let userfault = unsafe { userfaultfd(flags) }.ok()?;
        let mut init = Init { api: API, features: ASYNCHRONOUS, ioctls: 0 };
        // SAFETY: see the top of the file; `INIT` takes an `Init`.
        unsafe { ioctl(&userfault, Updater::<INIT, _>::new(&mut init)) }.ok()?;
        let pagemap = File::open("/proc/self/pagemap").ok()?;
        Some(Self { userfault, pagemap, process: std::process::id() })
    }

    /// Registers a range, so that writes in it can be tracked.
    pub(super) fn begin(&self, range: &Range<usize>) -> io::Result<()> {
        self.check_process()?;
        let mut register = Register { range: addresses(range), mode: WRITE_PROTECT, ioctls: 0 };
        // SAFETY: see the top of the file; `REGISTER` takes a `Register`.
        let begun = unsafe { ioctl(&self.userfault, Updater::<REGISTER, _>::new(&mut register)) };
        if begun.is_err() {
            self.end(range); // a part of it may have been registered
        }
        Ok(begun?)
    }

    /// Unregisters a range. No page stays protected.
    pub(super) fn end(&self, range: &Range<usize>) {
        if self.check_process().is_ok() {
            // SAFETY: see the top of the file; `UNREGISTER` takes an `Addresses`.
            let ended =
                unsafe { ioctl(&self.userfault, Updater::<UNREGISTER, _>::new(&mut addresses(range))) };
            if let Err(error) = ended {
                tracing::warn!(%error, "the memory of a session is still tracked");
            }
        }
    }

    /// Tracks writes to pages, including pages that do not exist yet: these are not reported until they are
    /// written to.
    pub(super) fn track(&self, range: &Range<usize>) -> io::Result<()> {
        self.check_process()?;
        let mut protect = Protect { range: addresses(range), mode: PROTECTED };
        // SAFETY: see the top of the file; `PROTECT` takes a `Protect`.
        Ok(unsafe { ioctl(&self.userfault, Updater::<PROTECT, _>::new(&mut protect)) }?)
    }

    /// The pages that are not tracked, and those that were written to since they are. All of `range` must
    /// have been tracked once; otherwise the result includes pages that do not exist yet.
    pub(super) fn written(&self, range: &Range<usize>) -> io::Result<Vec<u32>> {
        // For exactly this query the kernel reads nothing but the page table.
        self.scan(range, MUST_BE_TRACKED, PageQuery { not: 0, all_of: WRITTEN, any_of: 0, reported: WRITTEN })
    }

    /// The pages that were ever written to, and some that were not. (A page that holds zeros may have been
    /// written to: when the system splits a huge page it gives back what is all zeros.)
    pub(super) fn present(&self, range: &Range<usize>) -> io::Result<Vec<u32>> {
        self.scan(range, 0, PageQuery { not: FILE, all_of: 0, any_of: PRESENT | SWAPPED, reported: 0 })
    }

    fn scan(&self, range: &Range<usize>, flags: u64, query: PageQuery) -> io::Result<Vec<u32>> {
        self.check_process()?;
        let mut found = Vec::new();
        let mut start = range.start as u64;
        let end = range.end as u64;
        while start < end {
            // The kernel fills in as many regions as it has; the one after them is empty.
            let mut regions = [Region { start: 0, end: 0, categories: 0 }; REGIONS];
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags,
                start,
                end,
                walk_end: 0,
                regions: regions.as_mut_ptr().expose_provenance() as u64,
                regions_len: REGIONS as u64,
                max_pages: 0,
                inverted: query.not,
                all_of: query.not | query.all_of,
                any_of: query.any_of,
                reported: query.reported,
            };
            // SAFETY: see the top of the file; `SCAN` takes a `Scan`, whose `regions` are an array of that
            // length.
            unsafe { ioctl(&self.pagemap, Updater::<SCAN, _>::new(&mut scan)) }?;
            for region in regions.iter().take_while(|region| region.end > 0) {
                let page = |address: u64| (address as usize - range.start) / PAGE;
                found.extend(page(region.start) as u32..page(region.end) as u32);
            }
            if scan.walk_end <= start {
                return Err(io::Error::other("a scan that makes no progress"));
            }
            start = scan.walk_end;
        }
        Ok(found)
    }

    fn check_process(&self) -> io::Result<()> {
        if self.process == std::process::id() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }
}

fn addresses(range: &Range<usize>) -> Addresses {
    Addresses { start: range.start as u64, len: range.len() as u64 }
}

/// Copies pages that will be written to, together instead of one by one at the first write.
pub(super) fn prefault(memory: &mut [u8]) {
    // SAFETY: see the top of the file; the range is that of a slice, so all of it may be written to.
    let populated = unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxPopulateWrite) };
    // The kernel cannot do it (before 5.14) or has no memory left. The first writes then copy the pages.
    if let Err(error) = populated {
        tracing::trace!(%error, "pages cannot be prefaulted");
    }
}

/// The pages that were written to, and so belong to this process alone.
pub(super) fn present(memory: &[u8]) -> Option<Vec<u32>> {
    /// The size of the system's entry for a page, in bytes.
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

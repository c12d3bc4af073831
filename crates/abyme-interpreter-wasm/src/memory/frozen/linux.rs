//! Frozen pages on Linux, in a sealed `memfd`.
//!
//! # Safety
//! **The file is read as a slice.** It is mapped for reading after it was sealed: from then on the kernel
//! refuses to write to it, to shrink it and to lift a seal, for this process and all others. So the bytes
//! never change, and none of them is gone while the mapping is there, which lives as long as the slice. It is
//! kept when the descriptor is not: neither leaves this file.
//!
//! **Pages are mapped over a place**, and zeros over it later. Both calls are given an exclusive slice, and
//! are checked to cover whole pages of it, so that nothing else is replaced. What they do is, for all that a
//! program can see, to write other bytes into that slice: the mapping is private, so that writes to it reach
//! no other, and it can be read and written as before. A call that fails changes nothing, because a mapping
//! is replaced as a whole.

#![allow(unsafe_code, reason = "the argument is above")]

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    ops::Deref,
    os::fd::OwnedFd,
    ptr::{NonNull, null_mut},
    slice,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};

use crate::memory::page::PAGE;

/// How many parts one call writes; the system takes 1024.
const PARTS: usize = 512;

/// A file that is being written.
pub(super) struct Writer(File);

impl Writer {
    pub(super) fn new() -> io::Result<Self> {
        if rustix::param::page_size() != PAGE {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = memfd_create("abyme-pages", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        Ok(Self(file.into()))
    }

    pub(super) fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for parts in parts.chunks(PARTS) {
            let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut left = &mut slices[..];
            while !left.is_empty() {
                match self.0.write_vectored(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut left, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<FrozenFile> {
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&self.0, seals)?;
        let len = usize::try_from(self.0.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new mapping where the system finds room; see the top of the file.
        let start = unsafe { mmap(null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &self.0, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(FrozenFile { file: self.0.into(), start, len })
    }
}

/// A file that nobody can change any more.
#[derive(Debug)]
pub(super) struct FrozenFile {
    file: OwnedFd,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: what is at `start` is never written to, and belongs to this value.
unsafe impl Send for FrozenFile {}
// SAFETY: as above.
unsafe impl Sync for FrozenFile {}

impl Deref for FrozenFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping has this size and never changes; see the top of the file.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for FrozenFile {
    fn drop(&mut self) {
        // SAFETY: the mapping is of this value alone, and no slice of it outlives the value.
        if let Err(error) = unsafe { munmap(self.start.as_ptr().cast(), self.len) } {
            tracing::warn!(%error, "the pages of a session stay in memory");
        }
    }
}

impl FrozenFile {
    /// Has `place` hold what the file has from `at` on.
    pub(super) fn map(&self, at: usize, place: &mut [u8]) -> io::Result<()> {
        let is_inside = at.checked_add(place.len()).is_some_and(|end| end <= self.len);
        if !is_inside || !at.is_multiple_of(PAGE) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        check(place)?;
        let (start, len) = (place.as_mut_ptr().cast(), place.len());
        // SAFETY: it covers `place` and nothing else; see the top of the file.
        unsafe { mmap(start, len, READ_WRITE, PRIVATE_HERE, &self.file, at as u64) }?;
        Ok(())
    }
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
const PRIVATE_HERE: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED).union(MapFlags::NORESERVE);

/// Has `place` hold zeros that belong to no file.
pub(super) fn unmap(place: &mut [u8]) -> io::Result<()> {
    check(place)?;
    // SAFETY: it covers `place` and nothing else; see the top of the file.
    unsafe { mmap_anonymous(place.as_mut_ptr().cast(), place.len(), READ_WRITE, PRIVATE_HERE) }?;
    Ok(())
}

/// Whether a place is whole pages.
fn check(place: &[u8]) -> io::Result<()> {
    let is_whole = place.as_ptr().addr().is_multiple_of(PAGE) && place.len().is_multiple_of(PAGE);
    if is_whole && !place.is_empty() { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn nobody_can_change_it() {
        let mut writer = Writer::new().unwrap();
        writer.append(&[&[1; PAGE], &[2; 2 * PAGE]]).unwrap();
        let frozen = writer.finish().unwrap();
        let file = File::from(frozen.file.try_clone().unwrap());
        assert!(file.write_all_at(&[3], 0).is_err());
        assert!(file.set_len(0).is_err() && file.set_len(4 * PAGE as u64).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).is_err());
        assert!(frozen[..PAGE].iter().all(|byte| *byte == 1) && frozen[PAGE..] == [2; 2 * PAGE]);
    }
}

//! The guest's memory. Every address from a guest is checked here.

use std::ops::Range;

use crate::fs::{Errno, MAX_PATH};

/// The most buffers of one scattered read or write.
const MAX_BUFFERS: u32 = 1024;

/// The bytes of a guest's memory, by the guest's addresses.
pub(super) struct GuestMemory<'a>(pub(super) &'a mut [u8]);

impl GuestMemory<'_> {
    pub(super) fn bytes(&self, address: u32, len: u32) -> Result<&[u8], Errno> {
        self.0.get(range(address, len)).ok_or(Errno::Fault)
    }

    pub(super) fn bytes_mut(&mut self, address: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.0.get_mut(range(address, len)).ok_or(Errno::Fault)
    }

    pub(super) fn u16(&self, address: u32) -> Result<u16, Errno> {
        self.array(address).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, address: u32) -> Result<u32, Errno> {
        self.array(address).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, address: u32) -> Result<u64, Errno> {
        self.array(address).map(u64::from_le_bytes)
    }

    pub(super) fn put(&mut self, address: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(address, len)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn put_u32(&mut self, address: u32, value: u32) -> Result<(), Errno> {
        self.put(address, &value.to_le_bytes())
    }

    pub(super) fn put_u64(&mut self, address: u32, value: u64) -> Result<(), Errno> {
        self.put(address, &value.to_le_bytes())
    }

    /// A path, which must be UTF-8. It is copied, because the call may write to the guest; one that is too
    /// long is not.
    pub(super) fn path(&self, address: u32, len: u32) -> Result<String, Errno> {
        let bytes = self.bytes(address, len)?;
        if bytes.len() > MAX_PATH {
            return Err(Errno::NameTooLong);
        }
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Errno::IllegalSequence)
    }

    /// The buffers of a scattered read or write. All are inside the memory, and the sum of their lengths fits
    /// a `u32`.
    pub(super) fn buffers(&self, address: u32, count: u32) -> Result<Vec<Range<usize>>, Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::Invalid);
        }
        let mut total = 0_u32;
        let pairs = self.bytes(address, count * 8)?.chunks_exact(8);
        let buffers = pairs.map(|pair| {
            let (at, len) = (word(&pair[..4]), word(&pair[4..]));
            total = total.checked_add(len).ok_or(Errno::Invalid)?;
            self.bytes(at, len)?;
            Ok(range(at, len))
        });
        buffers.collect()
    }

    fn array<const N: usize>(&self, address: u32) -> Result<[u8; N], Errno> {
        let bytes = self.bytes(address, N as u32)?;
        bytes.try_into().map_err(|_| Errno::Fault)
    }
}

/// The sum of two `u32` can exceed a `u32`, but on hosts of 64 bits not a `usize`. On others, `get` finds
/// nothing.
fn range(address: u32, len: u32) -> Range<usize> {
    address as usize..(address as usize).saturating_add(len as usize)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory(&mut bytes);
        memory.put_u64(8, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(memory.u64(8), Ok(0x0102_0304_0506_0708));
        assert_eq!(memory.u32(12), Ok(0x0102_0304));
        assert_eq!(memory.u16(14), Ok(0x0102));
        assert_eq!(memory.u64(9), Err(Errno::Fault));
        assert_eq!(memory.put_u32(13, 0), Err(Errno::Fault));
        assert_eq!(memory.bytes(u32::MAX, u32::MAX), Err(Errno::Fault));
        assert_eq!(memory.bytes(16, 0), Ok(&[][..]));
        assert_eq!(memory.bytes(17, 0), Err(Errno::Fault));
    }

    #[test]
    fn paths_are_checked() {
        let mut bytes = vec![b'a'; MAX_PATH + 1];
        bytes[3] = 0xff;
        let memory = GuestMemory(&mut bytes);
        assert_eq!(memory.path(0, 3), Ok("aaa".into()));
        assert_eq!(memory.path(0, 4), Err(Errno::IllegalSequence));
        assert_eq!(memory.path(0, MAX_PATH as u32 + 1), Err(Errno::NameTooLong));
        assert_eq!(memory.path(0, MAX_PATH as u32 + 2), Err(Errno::Fault));
    }

    #[test]
    fn buffers_are_checked() {
        let mut bytes = vec![0; 1 << 16];
        let mut memory = GuestMemory(&mut bytes);
        memory.put_u32(0, 100).unwrap();
        memory.put_u32(4, 5).unwrap();
        memory.put_u32(8, 200).unwrap();
        memory.put_u32(12, 0).unwrap();
        assert_eq!(memory.buffers(0, 2), Ok(vec![100..105, 200..200]));
        assert_eq!(memory.buffers(0, 0), Ok(vec![]));
        assert_eq!(memory.buffers(0, 1025), Err(Errno::Invalid));
        assert_eq!(memory.buffers((1 << 16) - 8, 2), Err(Errno::Fault));
        memory.put_u32(8, (1 << 16) - 1).unwrap();
        memory.put_u32(12, 2).unwrap();
        assert_eq!(memory.buffers(0, 2), Err(Errno::Fault));
        memory.put_u32(12, u32::MAX).unwrap();
        assert_eq!(memory.buffers(0, 2), Err(Errno::Invalid));
    }
}

//! Systems on which pages are copied one by one.

use std::{convert::Infallible, io, ops::Deref};

/// No value exists.
pub(super) struct Writer(Infallible);

impl Writer {
    pub(super) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn append(&mut self, _: &[&[u8]]) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn finish(self) -> io::Result<FrozenFile> {
        match self.0 {}
    }
}

/// No value exists.
#[derive(Debug)]
pub(super) struct FrozenFile(Infallible);

impl Deref for FrozenFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.0 {}
    }
}

impl FrozenFile {
    pub(super) fn map(&self, _: usize, _: &mut [u8]) -> io::Result<()> {
        match self.0 {}
    }
}

/// Nothing was ever mapped.
pub(super) fn unmap(_: &mut [u8]) -> io::Result<()> {
    Ok(())
}

//! The driver for sessions of one Python: its sources for the first session, whose Python compiles them, and
//! the code that this one hands back for those after it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::python::{self, BundleKind};

/// The most bytes of code that are kept; the driver has about 270 kB.
const MAX_BYTES: usize = 8 << 20;

/// The driver as the Python of one image compiled it. Clones share it.
///
/// To compile the driver takes about as long as to start Python. So the first session gets the sources, and
/// hands the code back in its first message, before any cell runs
/// ([`DriverSession::keeps_code`](crate::DriverSession::keeps_code)). Later sessions get that code. Where it
/// is of another Python, the driver asks for the sources, and the session starts as the first one did.
///
/// This side does not run the code. But what made it decides what the later sessions are. So only those may
/// share it that run the same image by the same configuration, and none in whose machine or container cells
/// of another one may have run before.
#[derive(Clone, Default)]
pub struct DriverCode {
    /// The bundle of what a driver handed back.
    compiled: Arc<OnceLock<Bytes>>,
}

impl DriverCode {
    /// What [`BOOT`](python::BOOT) reads in a new session: the code, or sources with the request for it.
    pub fn bundle(&self) -> Bytes {
        match self.compiled.get() {
            Some(bundle) => bundle.clone(),
            None => python::sources_bundle(BundleKind::SourcesForCode).into(),
        }
    }

    /// Keeps what a driver handed back. The first code stays.
    pub(crate) fn keep(&self, code: &[u8]) {
        if code.len() <= MAX_BYTES {
            let _ = self.compiled.set(python::bundle(BundleKind::Compiled, code).into());
        }
    }

    /// The most bytes of a driver's first message, which has the code.
    pub(crate) const MAX_MESSAGE_BYTES: u64 = 2 * MAX_BYTES as u64;
}

impl fmt::Debug for DriverCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverCode").field("compiled", &self.compiled.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_until_a_driver_handed_code_back() {
        let code = DriverCode::default();
        assert_eq!(code.bundle()[0], b'C');
        code.keep(&vec![0; MAX_BYTES + 1]);
        assert_eq!(code.bundle()[0], b'C', "what is too large to be code is not kept");
        code.clone().keep(b"code");
        code.keep(b"other");
        assert_eq!(code.bundle(), "M\0\0\0\0\0\0\0\x04code");
    }
}

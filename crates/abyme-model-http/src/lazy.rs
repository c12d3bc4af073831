//! What a client finds out at its first use, and keeps.

use std::sync::OnceLock;

use abyme_core::{Error, ErrorKind, Result};

/// A value that is made at the first use. What is wrong with it is said at every use.
#[derive(Debug)]
pub(crate) struct Lazy<T>(OnceLock<Result<T, (ErrorKind, String)>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Lazy<T> {
    /// The value, which `make` makes if it is not there.
    ///
    /// # Errors
    /// That of the first `make`: its kind and its message.
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        let made = self.0.get_or_init(|| make().map_err(|error| (error.kind(), error.message().to_owned())));
        made.as_ref().map_err(|(kind, message)| Error::new(*kind, message))
    }
}

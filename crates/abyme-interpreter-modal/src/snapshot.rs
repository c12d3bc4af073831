//! The bytes of a session that was saved: Modal's id of the snapshot, and what this side has to know.

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::SavedSession;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the bytes begin with: what they are, and the version of their form.
const MAGIC: &[u8] = b"abyme modal session 2\n";
/// The length of the hash after that.
const HASH_BYTES: usize = 32;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) snapshot_id: String,
    /// What its sandbox was made of, as a hash.
    pub(crate) settings: String,
    pub(crate) saved: SavedSession,
}

pub(crate) fn to_bytes(snapshot: &Snapshot) -> Result<Vec<u8>> {
    let invalid = |error: serde_json::Error| {
        Error::new(ErrorKind::Unavailable, format!("the session was not saved: {error}"))
    };
    let content = serde_json::to_vec(snapshot).map_err(invalid)?;
    Ok([MAGIC, &Sha256::digest(&content), &content].concat())
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Snapshot> {
    let invalid = |why: &str| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("these bytes are no saved session of this backend: {why}"),
        )
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| invalid("they begin otherwise"))?;
    let (hash, content) = rest.split_at_checked(HASH_BYTES).ok_or_else(|| invalid("their end is missing"))?;
    if *hash != *Sha256::digest(content) {
        return Err(invalid("they were changed, or their end is missing"));
    }
    serde_json::from_slice(content).map_err(|error| invalid(&error.to_string()))
}

//! The secret that host and agent share, and the proofs that both know it.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

/// The secret that host and agent share. It is in no `Debug` output and is never written with a
/// configuration.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for the environment of an agent that this program starts.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// A proof that only a holder of the secret can compute.
    pub(crate) fn proof(&self, who: &str, nonces: &str) -> String {
        self.mac(who, nonces).map(|mac| hex(&mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// Whether a proof is right. The time it takes does not depend on where the proof differs.
    pub(crate) fn proves(&self, proof: &str, who: &str, nonces: &str) -> bool {
        let both = self.mac(who, nonces).zip(unhex(proof));
        both.is_some_and(|(mac, proof)| mac.verify_slice(&proof).is_ok())
    }

    /// Always `Some`: HMAC takes keys of any length.
    fn mac(&self, who: &str, nonces: &str) -> Option<Hmac<Sha256>> {
        let keyed: Hmac<Sha256> = Mac::new_from_slice(self.0.as_bytes()).ok()?;
        Some(keyed.chain_update(who).chain_update(":").chain_update(nonces))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(...)" })
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

/// 32 random digits.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_an_hmac() {
        // python3 -c 'import hmac; print(hmac.new(b"key", b"host:a:b", "sha256").hexdigest())'
        let proof = "9d3d0c2e100ae3933c9570252576e5cf539a97709404974d806cfe3c41c90849";
        let secret = Secret::from("key");
        assert_eq!(secret.proof("host", "a:b"), proof);
        assert!(secret.proves(proof, "host", "a:b"));
        assert!(!secret.proves(proof, "agent", "a:b"));
        assert!(!secret.proves("no proof", "host", "a:b"));
        assert!(!Secret::from("other").proves(proof, "host", "a:b"));
    }

    #[test]
    fn it_is_in_no_debug_output() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "Secret(...)");
    }
}

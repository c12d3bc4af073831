//! The configuration of a [`Wasm`](crate::Wasm), whose setters say what each field means.

use std::{path::PathBuf, time::Duration};

use abyme_core::DecodeBudget;
use abyme_wasi::Mount;
use serde::{Deserialize, Serialize};

/// The configuration of a [`Wasm`](crate::Wasm).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WasmConfig {
    pub(crate) memory_limit_bytes: u64,
    pub(crate) disk_limit_bytes: u64,
    pub(crate) max_sessions: u32,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) queue_timeout: Duration,
    pub(crate) checkpoints: bool,
    pub(crate) checkpoint_limit_bytes: u64,
    pub(crate) max_message_bytes: u64,
    #[serde(with = "abyme_core::seconds")]
    pub(crate) interrupt_grace: Duration,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) cache: bool,
}

impl Default for WasmConfig {
    fn default() -> Self {
        Self {
            memory_limit_bytes: 512 << 20,
            disk_limit_bytes: 64 << 20,
            max_sessions: 1000,
            queue_timeout: Duration::from_secs(30),
            checkpoints: true,
            checkpoint_limit_bytes: 256 << 20,
            max_message_bytes: DecodeBudget::DEFAULT_MAX_BYTES,
            interrupt_grace: Duration::from_millis(1500),
            mounts: Vec::new(),
            cache_dir: None,
            cache: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = WasmConfig::default();
        assert_eq!(config.max_message_bytes, 256 << 20);
        assert_eq!((config.memory_limit_bytes, config.disk_limit_bytes), (512 << 20, 64 << 20));
        assert_eq!((config.max_sessions, config.queue_timeout), (1000, Duration::from_secs(30)));
        assert_eq!((config.checkpoints, config.interrupt_grace), (true, Duration::from_millis(1500)));
        assert_eq!(config.checkpoint_limit_bytes, 256 << 20);
        assert!(config.mounts.is_empty() && config.cache_dir.is_none() && config.cache);
    }
}

//! How sessions are set up.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// How sessions are set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WasmConfig {
    /// Memory of a session, in bytes, Python itself included (about 35 MB, of which most is shared between sessions).
    /// Default 512 MiB; at most 4 GiB, which is all a 32-bit Python can address. Code that asks for more gets a
    /// `MemoryError`.
    pub memory_limit_bytes: u64,
    /// What the files of a session may take together, in bytes of the host's memory. Default 64 MiB.
    pub disk_limit_bytes: u64,
    /// Sessions that may live at the same time in one factory. Default 1 000. Further ones wait, see
    /// [`queue_timeout`](Self::queue_timeout). Each reserves addresses (4 GiB and a stack), not memory.
    pub max_sessions: u32,
    /// How long a session waits for its turn when [`max_sessions`](Self::max_sessions) live. Default 30 s.
    #[serde(with = "abyme_core::seconds")]
    pub queue_timeout: Duration,
    /// Whether each cell begins with a checkpoint, so that a session whose cell crashed or had to be killed comes
    /// back as it was before that cell. Costs time in proportion to the memory that changed since the cell before, and
    /// a copy of what the session changed. Default true.
    pub checkpoints: bool,
    /// Most memory a checkpoint may hold, in bytes. A session that changed more, as by an input of that size, goes on
    /// without: a crash ends it then. A checkpoint of 100 MB takes 100 MB of the host's memory. Time it takes for what
    /// the last cell wrote, or for all it holds where the system does not track writes (Linux does since 6.7).
    /// Default 256 MiB.
    pub checkpoint_limit_bytes: u64,
    /// How long a cell may go on after its time limit, before it is killed: it is interrupted at once and half-way.
    /// Default 1.5 s, within the 2 s of contract clause C10.
    #[serde(with = "abyme_core::seconds")]
    pub grace: Duration,
    /// Files and directories of the host that sessions can read. Default none.
    pub mounts: Vec<Mount>,
    /// Where the prepared interpreter is kept, about 45 MB. Default: the environment variable `ABYME_CACHE_DIR`, else
    /// `abyme` in the platform's directory for caches (`~/.cache` on Linux).
    pub cache_dir: Option<PathBuf>,
    /// Whether the prepared interpreter is kept on disk at all. Without, each process prepares it anew, in some
    /// seconds. Default true.
    pub cache: bool,
}

/// A file or directory of the host that sessions can read, and never write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where sessions find it: an absolute path, such as `/data`.
    pub guest: String,
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
            grace: Duration::from_millis(1500),
            mounts: Vec::new(),
            cache_dir: None,
            cache: true,
        }
    }
}

impl WasmConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the memory of a session, in bytes.
    pub fn memory_limit_bytes(mut self, bytes: u64) -> Self {
        self.memory_limit_bytes = bytes;
        self
    }

    /// Sets what the files of a session may take together, in bytes.
    pub fn disk_limit_bytes(mut self, bytes: u64) -> Self {
        self.disk_limit_bytes = bytes;
        self
    }

    /// Sets how many sessions may live at the same time.
    pub fn max_sessions(mut self, sessions: u32) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets how long a session waits for its turn.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = limit;
        self
    }

    /// Sets whether each cell begins with a checkpoint.
    pub fn checkpoints(mut self, on: bool) -> Self {
        self.checkpoints = on;
        self
    }

    /// Sets the most memory a checkpoint may hold, in bytes.
    pub fn checkpoint_limit_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_limit_bytes = bytes;
        self
    }

    /// Sets how long a cell may go on after its time limit.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Lets sessions read a file or directory of the host at the path `guest`.
    ///
    /// Whatever the code in a session can read it can hand to a model or a tool: mount what may be read, no more.
    pub fn mount(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.mounts.push(Mount { host: host.into(), guest: guest.into() });
        self
    }

    /// Sets where the prepared interpreter is kept.
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(dir.into());
        self
    }

    /// Sets whether the prepared interpreter is kept on disk.
    pub fn cache(mut self, on: bool) -> Self {
        self.cache = on;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let config = WasmConfig::default();
        assert_eq!((config.memory_limit_bytes, config.disk_limit_bytes), (512 << 20, 64 << 20));
        assert_eq!((config.max_sessions, config.queue_timeout), (1000, Duration::from_secs(30)));
        assert_eq!((config.checkpoints, config.grace), (true, Duration::from_millis(1500)));
        assert_eq!(config.checkpoint_limit_bytes, 256 << 20);
        assert!(config.mounts.is_empty() && config.cache_dir.is_none() && config.cache);
    }

    #[test]
    fn it_survives_serde() {
        let config = WasmConfig::new().mount("/srv/docs", "/docs").queue_timeout(Duration::from_secs(1));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<WasmConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<WasmConfig>("{}").unwrap(), WasmConfig::default());
    }
}

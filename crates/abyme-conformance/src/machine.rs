//! What the host itself can see of a session, without its word: memory, descriptors, child processes, files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// The memory this process holds, in bytes, where the system tells (Linux).
pub(crate) fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * 4096)
}

/// How many descriptors this process has open, where the system tells.
pub(crate) fn open_descriptors() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// The processes below this one, dead ones that nobody waited for included, where the system tells.
pub(crate) fn descendants() -> Option<Vec<u32>> {
    let parents: Vec<(u32, u32)> =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| parent(&entry.path())).collect();
    let mut found = vec![std::process::id()];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(process, _)| *process));
        next += 1;
    }
    found.remove(0);
    Some(found)
}

fn parent(path: &Path) -> Option<(u32, u32)> {
    let process = path.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
    Some((process, parent))
}

/// A file of the host's, with content nobody else has. Gone with the value.
#[derive(Debug)]
pub(crate) struct Canary {
    directory: PathBuf,
    pub(crate) secret: String,
}

impl Canary {
    pub(crate) fn new() -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("abyme-conformance-{mark}"));
        fs::create_dir(&directory)?;
        let canary = Self { directory, secret: format!("canary-{mark}-{:?}", std::time::SystemTime::now()) };
        fs::write(canary.file(), &canary.secret)?;
        Ok(canary)
    }

    /// The file that holds the secret.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("secret.txt")
    }

    /// A file beside it that does not exist.
    pub(crate) fn absent(&self) -> PathBuf {
        self.directory.join("written.txt")
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

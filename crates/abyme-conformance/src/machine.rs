//! What the host can observe of a session from outside: memory, descriptors, child processes, files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tempfile::TempDir;

/// The memory of this process in bytes. `None` where the system does not tell (it does on Linux).
pub(crate) fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * 4096)
}

/// The most memory that this process takes from now on.
pub(crate) struct PeakMemory {
    before: u64,
}

impl PeakMemory {
    /// Begins anew. `None` where the system does not tell (it does on Linux).
    pub(crate) fn start() -> Option<Self> {
        fs::write("/proc/self/clear_refs", "5").ok()?;
        Some(Self { before: resident_bytes()? })
    }

    /// By how many bytes it was more than at the beginning.
    pub(crate) fn grown_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = peak.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some((kilobytes << 10).saturating_sub(self.before))
    }
}

/// The number of open descriptors of this process. `None` where the system does not tell.
pub(crate) fn open_descriptors() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// The processes below this one, with dead ones that are not yet waited for. `None` where the system does not
/// tell.
pub(crate) fn descendants() -> Option<Vec<u32>> {
    let parents: Vec<(u32, u32)> =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| parent(&entry.path())).collect();
    let mut processes = vec![std::process::id()];
    let mut next = 0;
    while let Some(&above) = processes.get(next) {
        processes.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(process, _)| *process));
        next += 1;
    }
    processes.remove(0);
    Some(processes)
}

fn parent(path: &Path) -> Option<(u32, u32)> {
    let process = path.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
    Some((process, parent))
}

/// A file of the host with unique content. Dropping the value removes it.
#[derive(Debug)]
pub(crate) struct Canary {
    directory: TempDir,
    pub(crate) secret: String,
}

impl Canary {
    pub(crate) fn new() -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("abyme-conformance-").tempdir()?;
        let name = directory.path().file_name().unwrap_or_default();
        let secret = format!("canary-{}-{:?}", name.display(), SystemTime::now());
        let canary = Self { directory, secret };
        fs::write(canary.file(), &canary.secret)?;
        Ok(canary)
    }

    /// The file that holds the secret.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("secret.txt")
    }

    /// A file beside it that does not exist.
    pub(crate) fn absent(&self) -> PathBuf {
        self.directory.path().join("written.txt")
    }
}

//! The working directories of sessions.
//!
//! Those of one factory are in a directory of its own, whose lock the process holds as long as it lives. So a
//! later process can tell what a killed one left, and removes it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::empty::empty;

/// How the names of the directories of factories begin.
const PREFIX: &str = "abyme-sessions-";
/// The file in such a directory that is locked.
const LOCK: &str = "lock";
/// A directory without a lock is not being made any more after this time.
const MAKING: Duration = Duration::from_secs(3600);

/// The working directories of a factory's sessions.
#[derive(Debug, Default)]
pub(crate) struct WorkDirs(Mutex<Option<Arc<LockedDir>>>);

#[derive(Debug)]
struct LockedDir {
    dir: PrivateDir,
    _lock: File,
}

/// The working directory of a session. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir {
    dir: PrivateDir,
    /// Removed after the last session.
    _above: Arc<LockedDir>,
}

impl WorkDirs {
    /// Makes a directory for a session below `parent`.
    pub(crate) fn make(&self, parent: &Path) -> io::Result<WorkDir> {
        let mut above = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let above = match &*above {
            // A program that cleans up may have removed it.
            Some(above) if above.dir.0.is_dir() => above.clone(),
            _ => {
                sweep_in_background(parent);
                above.insert(Arc::new(LockedDir::make(parent)?)).clone()
            }
        };
        Ok(WorkDir { dir: PrivateDir::make("session-", &above.dir.0)?, _above: above })
    }
}

impl WorkDir {
    pub(crate) fn path(&self) -> &Path {
        &self.dir.0
    }

    /// Removes the directory.
    pub(crate) fn close(self) -> io::Result<()> {
        remove(self.path())
    }
}

impl LockedDir {
    fn make(parent: &Path) -> io::Result<Self> {
        let dir = PrivateDir::make(PREFIX, parent)?;
        let making = dir.0.join("lock.new");
        let lock = File::create_new(&making)?;
        // On a file system without locks, nothing is ever removed by another process.
        let _ = lock.try_lock();
        fs::rename(making, dir.0.join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }
}

/// A directory for this user alone, removed when this is dropped. `TempDir` would remove it by recursion.
#[derive(Debug)]
struct PrivateDir(PathBuf);

impl PrivateDir {
    fn make(prefix: &str, parent: &Path) -> io::Result<Self> {
        let private = Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(parent)?;
        Ok(Self(dir.keep()))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = remove(&self.0);
    }
}

/// Removes a directory of which code made what it liked.
fn remove(dir: &Path) -> io::Result<()> {
    empty(dir)?;
    fs::remove_dir(dir)
}

/// Removes what killed processes of this user left. A thread does it, for it may be much.
fn sweep_in_background(parent: &Path) {
    let parent = parent.to_owned();
    let sweep = move || {
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
                && entry.metadata().is_ok_and(|status| {
                    status.is_dir() && status.uid() == rustix::process::geteuid().as_raw()
                });
            if is_ours && is_abandoned(&entry.path()) {
                tracing::info!(directory = %entry.path().display(), "removing what a killed process left");
                let _ = remove(&entry.path());
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("abyme-sweeper".to_owned()).spawn(sweep) {
        tracing::warn!(%error, "no thread to remove what killed processes left");
    }
}

/// Whether the process that made the directory has ended.
fn is_abandoned(dir: &Path) -> bool {
    match File::open(dir.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let modified = fs::metadata(dir).and_then(|status| status.modified());
            modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > MAKING))
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_private_and_removed_with_the_last() {
        let parent = tempfile::tempdir().unwrap();
        let dirs = WorkDirs::default();
        let (first, second) = (dirs.make(parent.path()).unwrap(), dirs.make(parent.path()).unwrap());
        assert_eq!(first.path().parent(), second.path().parent());
        for dir in [first.path(), first.path().parent().unwrap()] {
            assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700);
        }
        drop(dirs);
        first.close().unwrap();
        assert!(second.path().is_dir());
        drop(second);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_what_was_abandoned_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let dirs = WorkDirs::default();
        let live = dirs.make(parent.path()).unwrap();
        assert!(!is_abandoned(live.path().parent().unwrap()));
        let made = |name: &str, lock: bool, age: Duration| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            if lock {
                fs::write(dir.join(LOCK), "").unwrap();
            }
            File::open(&dir).unwrap().set_modified(std::time::SystemTime::now() - age).unwrap();
            dir
        };
        assert!(is_abandoned(&made("abyme-sessions-1", true, Duration::ZERO)));
        assert!(is_abandoned(&made("abyme-sessions-2", false, 2 * MAKING)));
        assert!(!is_abandoned(&made("abyme-sessions-3", false, Duration::ZERO)));
    }

    #[test]
    fn a_directory_that_was_cleaned_away_is_made_anew() {
        let parent = tempfile::tempdir().unwrap();
        let dirs = WorkDirs::default();
        let first = dirs.make(parent.path()).unwrap();
        fs::remove_dir_all(first.path().parent().unwrap()).unwrap();
        assert!(dirs.make(parent.path()).unwrap().path().is_dir());
    }
}

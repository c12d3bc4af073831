//! Replies on disk: content-addressed files, which several processes may write at the same time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    model::message::Response,
};

/// About what the index holds for each reply.
const INDEX_BYTES: u64 = 512;
/// The part of the limit that a process writes before it looks at the whole directory.
const UNCHECKED: u64 = 16;

pub(super) struct Disk {
    directory: PathBuf,
    max_bytes: u64,
    max_age: Option<Duration>,
    /// What was written since the directory was looked at.
    unchecked: AtomicU64,
}

/// A reply in a file. The key makes no two files the same, so that each can be removed alone.
#[derive(Serialize, Deserialize)]
struct CacheFile<R> {
    key: String,
    /// In seconds since 1970.
    written: u64,
    response: R,
}

impl Disk {
    pub(super) fn open(directory: &Path, max_bytes: u64, max_age: Option<Duration>) -> Result<Self> {
        make(directory).map_err(|error| {
            let message = format!("the directory `{}` for replies cannot be made", directory.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        // The first reply that is written has the directory looked at.
        let unchecked = AtomicU64::new(max_bytes);
        Ok(Self { directory: directory.to_owned(), max_bytes, max_age, unchecked })
    }

    pub(super) async fn read(&self, key: &str) -> Option<Response> {
        let bytes = match cacache::read(&self.directory, key).await {
            Ok(bytes) => bytes,
            Err(cacache::Error::EntryNotFound(..)) => return None,
            Err(error) => {
                tracing::warn!(%error, "a kept reply cannot be read, so the model is asked");
                return None;
            }
        };
        let kept: CacheFile<Response> = serde_json::from_slice(&bytes).ok()?;
        let age = seconds_now().saturating_sub(kept.written);
        let is_fresh = self.max_age.is_none_or(|most| age <= most.as_secs());
        (kept.key == key && is_fresh).then_some(kept.response)
    }

    pub(super) async fn write(&self, key: &str, response: &Response) {
        let kept = CacheFile { key: key.to_owned(), written: seconds_now(), response };
        let Ok(bytes) = serde_json::to_vec(&kept) else { return };
        let size = bytes.len() as u64 + INDEX_BYTES;
        if size > self.max_bytes {
            return;
        }
        if let Err(error) = cacache::write(&self.directory, key, bytes).await {
            tracing::warn!(%error, "a reply cannot be kept");
            return;
        }
        if self.unchecked.fetch_add(size, Ordering::Relaxed) + size > self.max_bytes / UNCHECKED {
            self.unchecked.store(0, Ordering::Relaxed);
            let (directory, max_bytes) = (self.directory.clone(), self.max_bytes);
            let trimmed = tokio::task::spawn_blocking(move || trim(&directory, max_bytes)).await;
            if let Err(error) = trimmed {
                tracing::warn!(%error, "the kept replies could not be looked at");
            }
        }
    }
}

/// Makes a directory that only its owner can read: it holds what people asked.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Removes the oldest replies until nine tenths of the limit are left.
fn trim(directory: &Path, max_bytes: u64) {
    let mut kept: Vec<_> = cacache::list_sync(directory).filter_map(std::result::Result::ok).collect();
    let size = |size: usize| size as u64 + INDEX_BYTES;
    let mut total: u64 = kept.iter().map(|entry| size(entry.size)).sum();
    if total <= max_bytes {
        return;
    }
    kept.sort_by_key(|entry| entry.time);
    for entry in kept {
        if total <= max_bytes / 10 * 9 {
            break;
        }
        // Another process may have removed it.
        let fully = cacache::RemoveOpts::new().remove_fully(true);
        if fully.remove_sync(directory, &entry.key).is_err() {
            let _ = cacache::remove_sync(directory, &entry.key);
        }
        total = total.saturating_sub(size(entry.size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_directory_stays_within_its_size_and_keeps_what_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("new"), 64 << 10, None).unwrap();
        for at in 0..200 {
            disk.write(&format!("key {at}"), &Response::new("x".repeat(1_000))).await;
        }
        let total: u64 = files(folder.path());
        assert!((20 << 10..80 << 10).contains(&total), "{total}");
        assert_eq!(disk.read("key 199").await.unwrap().text.len(), 1_000);
        assert!(disk.read("key 0").await.is_none());
    }

    fn files(directory: &Path) -> u64 {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| match entry.metadata().unwrap() {
                entry_data if entry_data.is_dir() => files(&entry.path()),
                file => file.len(),
            })
            .sum()
    }

    #[tokio::test]
    async fn what_is_damaged_or_old_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20, Some(Duration::from_secs(5))).unwrap();
        disk.write("a", &"yes".into()).await;
        assert_eq!(disk.read("a").await.unwrap().text, "yes");
        cacache::write(folder.path(), "a", b"{}").await.unwrap();
        assert!(disk.read("a").await.is_none());
        let old =
            CacheFile { key: "a".to_owned(), written: seconds_now() - 60, response: Response::new("yes") };
        cacache::write(folder.path(), "a", serde_json::to_vec(&old).unwrap()).await.unwrap();
        assert!(disk.read("a").await.is_none());
    }
}

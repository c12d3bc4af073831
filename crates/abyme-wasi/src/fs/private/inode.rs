//! The files and directories of the private area.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use serde::{Deserialize, Serialize};

use super::content::Content;
use crate::fs::{
    path,
    stat::{Kind, Stat},
};

/// The number of an inode of the private area. A tree never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Ino(pub(in crate::fs) u64);

/// A file or directory of the private area.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Inode {
    /// The directory it is in. `None` for a root, and for what was removed while it was open.
    pub(super) parent: Option<Ino>,
    pub(super) times: Times,
    pub(super) body: InodeBody,
    /// How many open descriptors it has. The owner of the descriptors restores this count.
    #[serde(skip)]
    pub(super) open: u32,
}

/// The contents of an inode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum InodeBody {
    File(Content),
    Directory(Directory),
}

/// Nanoseconds since 1970. Reading a file does not change the time of access.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) accessed: u64,
    pub(super) modified: u64,
    pub(super) changed: u64,
}

/// The entries of a directory, by name and by age.
///
/// The inode number serves as the cookie of a listing: newer entries have higher numbers, and an entry keeps
/// its number. So a listing that continues after entries were removed neither skips nor repeats one.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    names: BTreeMap<Arc<str>, Ino>,
    ages: BTreeMap<Ino, Arc<str>>,
}

impl Inode {
    pub(super) fn new(parent: Option<Ino>, body: InodeBody, now: u64) -> Self {
        Self { parent, times: Times { accessed: now, modified: now, changed: now }, body, open: 0 }
    }

    /// Sets the times after a change of the contents.
    pub(super) fn touch(&mut self, now: u64) {
        self.times.modified = now;
        self.times.changed = now;
    }

    pub(super) fn kind(&self) -> Kind {
        match self.body {
            InodeBody::File(_) => Kind::File,
            InodeBody::Directory(_) => Kind::Directory,
        }
    }

    /// The bytes that count against the quota.
    pub(super) fn size(&self) -> u64 {
        match &self.body {
            InodeBody::File(content) => content.len(),
            InodeBody::Directory(_) => 0,
        }
    }

    pub(super) fn stat(&self, device: u64, ino: Ino, linked: bool) -> Stat {
        Stat {
            device,
            ino: ino.0,
            kind: self.kind(),
            links: u64::from(linked),
            size: self.size(),
            accessed: self.times.accessed,
            modified: self.times.modified,
            changed: self.times.changed,
        }
    }
}

impl Directory {
    pub(super) fn find(&self, name: &str) -> Option<Ino> {
        self.names.get(name).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds an entry, in place of one of the same name.
    pub(super) fn insert(&mut self, name: &str, ino: Ino) {
        self.remove(name);
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), ino);
        self.ages.insert(ino, name);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Ino> {
        let ino = self.names.remove(name)?;
        self.ages.remove(&ino);
        Some(ino)
    }

    /// The entries that are newer than `after`, oldest first.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = (Ino, &str)> {
        let younger = (Bound::Excluded(Ino(after)), Bound::Unbounded);
        self.ages.range(younger).map(|(ino, name)| (*ino, &**name))
    }

    /// Whether every entry has a valid name and an inode of its own.
    pub(super) fn is_sound(&self) -> bool {
        self.names.len() == self.ages.len() && self.names.keys().all(|name| path::is_name(name))
    }
}

impl Serialize for Directory {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Directory {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: BTreeMap<Arc<str>, Ino> = BTreeMap::deserialize(deserializer)?;
        let ages = names.iter().map(|(name, ino)| (*ino, name.clone())).collect();
        Ok(Self { names, ages })
    }
}

//! The inodes of the private area, from the two roots `/tmp` and `/work`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    content::Content,
    inode::{Directory, Ino, Inode, InodeBody, Times},
};
use crate::fs::{
    errno::Errno,
    stat::{Kind, NewTimes, Stat, now},
};

/// `/tmp`.
pub(in crate::fs) const TMP: Ino = Ino(3);
/// `/work`.
pub(in crate::fs) const WORK: Ino = Ino(4);
/// The first number of all other inodes. Lower ones are for the roots, and for `.` and `..` in listings.
const FIRST: u64 = 16;
/// How deep directories may be nested.
const MAX_DEPTH: usize = 128;
/// The device number of the private area.
const DEVICE: u64 = 2;

/// The private area. All its operations take inodes; `walk.rs` finds them by path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    inodes: BTreeMap<Ino, Inode>,
    next: u64,
    /// The sizes of all files together, with removed ones that are still open.
    #[serde(skip)]
    used: u64,
    /// The time of changes, in nanoseconds since 1970; the host's if there is none.
    #[serde(skip)]
    time: Option<u64>,
    /// How many changes were given the host's time.
    #[serde(skip)]
    changes_at_host_time: u64,
}

/// How much a guest may keep in its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all files together.
    pub max_bytes: u64,
    /// Files and directories together: even an empty one takes memory.
    pub max_inodes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_inodes: 100_000 }
    }
}

impl Tree {
    /// Creates the two roots, empty.
    pub(in crate::fs) fn new() -> Self {
        let root = || Inode::new(None, InodeBody::Directory(Directory::default()), now());
        Self {
            inodes: [(TMP, root()), (WORK, root())].into(),
            next: FIRST,
            used: 0,
            time: None,
            changes_at_host_time: 0,
        }
    }

    /// Sets the time that changes are given, in nanoseconds since 1970; the host's if `None`.
    pub(in crate::fs) fn set_time(&mut self, time: Option<u64>) {
        self.time = time;
    }

    /// Gives all that is there these times.
    pub(in crate::fs) fn set_all_times(&mut self, time: u64) {
        for inode in self.inodes.values_mut() {
            inode.times = Times { accessed: time, modified: time, changed: time };
        }
    }

    /// How many changes were given the host's time.
    pub(in crate::fs) fn changes_at_host_time(&self) -> u64 {
        self.changes_at_host_time
    }

    /// The time for a change.
    fn now(&mut self) -> u64 {
        self.time.unwrap_or_else(|| {
            self.changes_at_host_time += 1;
            now()
        })
    }

    /// How many bytes of the quota are used.
    #[cfg(test)]
    pub(in crate::fs) fn used(&self) -> u64 {
        self.used
    }

    pub(in crate::fs) fn stat(&self, ino: Ino) -> Result<Stat, Errno> {
        let inode = self.inode(ino)?;
        Ok(inode.stat(DEVICE, ino, is_root(ino) || inode.parent.is_some()))
    }

    pub(in crate::fs) fn set_times(&mut self, ino: Ino, times: NewTimes) -> Result<(), Errno> {
        let now = self.now();
        let inode = self.inode_mut(ino)?;
        inode.times.accessed = times.accessed.unwrap_or(inode.times.accessed);
        inode.times.modified = times.modified.unwrap_or(inode.times.modified);
        inode.times.changed = now;
        Ok(())
    }

    /// The entry `name` of a directory.
    pub(in crate::fs) fn find(&self, dir: Ino, name: &str) -> Result<Option<Ino>, Errno> {
        Ok(self.directory(dir)?.find(name))
    }

    /// The directory above an inode; `None` for a root and for a removed inode.
    pub(in crate::fs) fn parent(&self, ino: Ino) -> Result<Option<Ino>, Errno> {
        Ok(self.inode(ino)?.parent)
    }

    /// The entries of a directory that are newer than `after`.
    pub(in crate::fs) fn list(
        &self,
        dir: Ino,
        after: u64,
    ) -> Result<impl Iterator<Item = (Ino, &str, Kind)>, Errno> {
        let newer = self.directory(dir)?.after(after);
        Ok(newer.filter_map(|(ino, name)| Some((ino, name, self.inodes.get(&ino)?.kind()))))
    }

    pub(in crate::fs) fn create_file(&mut self, dir: Ino, name: &str, quota: Quota) -> Result<Ino, Errno> {
        self.create(dir, name, InodeBody::File(Content::default()), quota)
    }

    pub(in crate::fs) fn create_directory(
        &mut self,
        dir: Ino,
        name: &str,
        quota: Quota,
    ) -> Result<Ino, Errno> {
        if self.depth(dir) >= MAX_DEPTH {
            return Err(Errno::NameTooLong);
        }
        self.create(dir, name, InodeBody::Directory(Directory::default()), quota)
    }

    pub(in crate::fs) fn remove_file(&mut self, dir: Ino, name: &str) -> Result<(), Errno> {
        let ino = self.find(dir, name)?.ok_or(Errno::NotFound)?;
        if let InodeBody::Directory(_) = self.inode(ino)?.body {
            return Err(Errno::IsDirectory);
        }
        self.unlink(dir, name)
    }

    pub(in crate::fs) fn remove_directory(&mut self, dir: Ino, name: &str) -> Result<(), Errno> {
        let ino = self.find(dir, name)?.ok_or(Errno::NotFound)?;
        if !self.directory(ino)?.is_empty() {
            return Err(Errno::NotEmpty);
        }
        self.unlink(dir, name)
    }

    /// Renames an entry, and replaces the old entry of the new name. `as_directory`: a path ended in a slash.
    pub(in crate::fs) fn rename(
        &mut self,
        (from_dir, from): (Ino, &str),
        (to_dir, to): (Ino, &str),
        as_directory: bool,
    ) -> Result<(), Errno> {
        let ino = self.find(from_dir, from)?.ok_or(Errno::NotFound)?;
        let is_directory = matches!(self.inode(ino)?.body, InodeBody::Directory(_));
        let target = self.find(to_dir, to)?;
        self.check_linked(to_dir)?;
        if as_directory && !is_directory {
            return Err(Errno::NotDirectory);
        }
        if target == Some(ino) {
            return Ok(());
        }
        if is_directory {
            if self.ancestry(to_dir).any(|above| above == ino) {
                return Err(Errno::Invalid);
            }
            if self.depth(to_dir) + self.height(ino) > MAX_DEPTH {
                return Err(Errno::NameTooLong);
            }
        }
        if let Some(target) = target {
            if self.ancestry(from_dir).any(|above| above == target) {
                return Err(Errno::NotEmpty);
            }
            match (&self.inode(target)?.body, is_directory) {
                (InodeBody::Directory(_), false) => return Err(Errno::IsDirectory),
                (InodeBody::File(_), true) => return Err(Errno::NotDirectory),
                (InodeBody::Directory(inside), true) if !inside.is_empty() => return Err(Errno::NotEmpty),
                _ => self.unlink(to_dir, to)?,
            }
        }
        self.directory_mut(from_dir)?.remove(from);
        self.directory_mut(to_dir)?.insert(to, ino);
        let now = self.now();
        let moved = self.inode_mut(ino)?;
        moved.parent = Some(to_dir);
        moved.times.changed = now;
        Ok(())
    }

    pub(in crate::fs) fn read_at(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match &self.inode(ino)?.body {
            InodeBody::File(content) => Ok(content.read_at(offset, buffer)),
            InodeBody::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    /// Writes as much as the quota allows; [`Errno::NoSpace`] if that is not one byte.
    pub(in crate::fs) fn write_at(
        &mut self,
        ino: Ino,
        offset: u64,
        bytes: &[u8],
        quota: Quota,
    ) -> Result<usize, Errno> {
        let (content, room) = self.content_mut(ino, quota)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let last = content.len() + room;
        offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= i64::MAX as u64)
            .ok_or(Errno::FileTooBig)?;
        let count = last.saturating_sub(offset).min(bytes.len() as u64) as usize;
        if count == 0 {
            return Err(Errno::NoSpace);
        }
        let before = content.len();
        content.write_at(offset, &bytes[..count]);
        let grown = content.len() - before;
        self.used += grown;
        let now = self.now();
        self.inode_mut(ino)?.touch(now);
        Ok(count)
    }

    /// Truncates a file, or appends zeros, which count like other bytes.
    pub(in crate::fs) fn set_len(&mut self, ino: Ino, len: u64, quota: Quota) -> Result<(), Errno> {
        let (content, room) = self.content_mut(ino, quota)?;
        if len > i64::MAX as u64 {
            return Err(Errno::FileTooBig);
        }
        let before = content.len();
        if len > before + room {
            return Err(Errno::NoSpace);
        }
        content.set_len(len);
        self.used = self.used - before + len;
        let now = self.now();
        self.inode_mut(ino)?.touch(now);
        Ok(())
    }

    /// Counts one more descriptor of an inode, which then outlives its removal.
    pub(in crate::fs) fn retain(&mut self, ino: Ino) -> Result<(), Errno> {
        let inode = self.inode_mut(ino)?;
        inode.open = inode.open.saturating_add(1);
        Ok(())
    }

    /// Counts one descriptor less, and drops the inode if only this descriptor kept it.
    pub(in crate::fs) fn release(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.open = inode.open.saturating_sub(1);
        }
        self.collect(ino);
    }

    /// Whether any inode has open descriptors.
    pub(in crate::fs) fn has_descriptors(&self) -> bool {
        self.inodes.values().any(|inode| inode.open > 0)
    }

    /// Whether any inode is reachable by descriptors only.
    pub(in crate::fs) fn has_removed(&self) -> bool {
        self.inodes.iter().any(|(ino, inode)| inode.parent.is_none() && !is_root(*ino))
    }

    /// Forgets all descriptors. The caller then retains those that stay open, and calls
    /// [`collect_all`](Self::collect_all).
    pub(in crate::fs) fn forget_descriptors(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.open = 0;
        }
    }

    /// Drops all inodes that are removed and not open.
    pub(in crate::fs) fn collect_all(&mut self) {
        let removed: Vec<Ino> =
            self.inodes.iter().filter(|(_, inode)| inode.parent.is_none()).map(|(ino, _)| *ino).collect();
        for ino in removed {
            self.collect(ino);
        }
    }

    /// Checks a deserialised tree, which may hold anything, and computes the fields that are not serialised.
    /// The error says why the tree cannot be used.
    pub(in crate::fs) fn check(&mut self) -> Result<(), String> {
        if [TMP, WORK].iter().any(|root| self.directory(*root).is_err() || self.parent(*root) != Ok(None)) {
            return Err("a root directory is missing".into());
        }
        // Far below the highest number, so that later inodes and cookies cannot overflow.
        if self.next > u64::MAX / 2 {
            return Err("the next inode has a number it cannot have".into());
        }
        if self.inodes.keys().any(|ino| !is_root(*ino) && (ino.0 < FIRST || ino.0 >= self.next)) {
            return Err("an inode has a number it cannot have".into());
        }
        let mut reached = 0;
        let mut waiting: Vec<(Ino, usize)> = vec![(TMP, 0), (WORK, 0)];
        // Each inode names the one directory it is in, so no inode is reached twice, and no loop at all.
        while let Some((ino, depth)) = waiting.pop() {
            reached += 1;
            let InodeBody::Directory(entries) = &self.inode(ino).map_err(|_| "an entry has no inode")?.body
            else {
                continue;
            };
            if !entries.is_sound() || depth > MAX_DEPTH {
                return Err("a directory has entries it cannot have".into());
            }
            for (child, _) in entries.after(0) {
                if self.parent(child) != Ok(Some(ino)) {
                    return Err("an entry is in two directories or none".into());
                }
                waiting.push((child, depth + 1));
            }
        }
        let mut removed = 0;
        for (ino, inode) in &self.inodes {
            match &inode.body {
                InodeBody::File(content) if !content.is_sound() => return Err("a file is damaged".into()),
                InodeBody::Directory(entries)
                    if inode.parent.is_none() && !is_root(*ino) && !entries.is_empty() =>
                {
                    return Err("a removed directory has entries".into());
                }
                _ => removed += usize::from(inode.parent.is_none() && !is_root(*ino)),
            }
        }
        if reached + removed != self.inodes.len() {
            return Err("an inode is in no directory".into());
        }
        self.used = self.inodes.values().fold(0, |used, inode| used.saturating_add(inode.size()));
        Ok(())
    }

    fn create(&mut self, dir: Ino, name: &str, body: InodeBody, quota: Quota) -> Result<Ino, Errno> {
        if self.find(dir, name)?.is_some() {
            return Err(Errno::Exists);
        }
        self.check_linked(dir)?;
        if self.inodes.len() >= quota.max_inodes {
            return Err(Errno::NoSpace);
        }
        let ino = Ino(self.next);
        self.next += 1;
        self.directory_mut(dir)?.insert(name, ino);
        let now = self.now();
        self.inodes.insert(ino, Inode::new(Some(dir), body, now));
        Ok(ino)
    }

    fn unlink(&mut self, dir: Ino, name: &str) -> Result<(), Errno> {
        let ino = self.directory_mut(dir)?.remove(name).ok_or(Errno::NotFound)?;
        let now = self.now();
        let inode = self.inode_mut(ino)?;
        inode.parent = None;
        inode.times.changed = now;
        self.collect(ino);
        Ok(())
    }

    /// Drops an inode that neither an entry nor a descriptor leads to.
    fn collect(&mut self, ino: Ino) {
        let unused = |inode: &Inode| inode.parent.is_none() && inode.open == 0 && !is_root(ino);
        if self.inodes.get(&ino).is_some_and(unused)
            && let Some(removed) = self.inodes.remove(&ino)
        {
            self.used = self.used.saturating_sub(removed.size());
        }
    }

    /// Refuses to put an entry into a removed directory.
    fn check_linked(&self, dir: Ino) -> Result<(), Errno> {
        if is_root(dir) || self.inode(dir)?.parent.is_some() { Ok(()) } else { Err(Errno::NotFound) }
    }

    /// The inode itself and the directories above it. This ends, because no inode is ever put below itself.
    fn ancestry(&self, ino: Ino) -> impl Iterator<Item = Ino> {
        std::iter::successors(Some(ino), |ino| self.inodes.get(ino)?.parent)
    }

    fn depth(&self, dir: Ino) -> usize {
        self.ancestry(dir).count()
    }

    /// How many levels of directories a directory has, including itself.
    fn height(&self, ino: Ino) -> usize {
        let mut height = 0;
        let mut level = vec![ino];
        while !level.is_empty() {
            height += 1;
            level = level
                .iter()
                .filter_map(|ino| self.directory(*ino).ok())
                .flat_map(|directory| directory.after(0))
                .map(|(child, _)| child)
                .filter(|child| self.directory(*child).is_ok())
                .collect();
        }
        height
    }

    fn inode(&self, ino: Ino) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::NotFound)
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&ino).ok_or(Errno::NotFound)
    }

    fn directory(&self, ino: Ino) -> Result<&Directory, Errno> {
        match &self.inode(ino)?.body {
            InodeBody::Directory(directory) => Ok(directory),
            InodeBody::File(_) => Err(Errno::NotDirectory),
        }
    }

    /// The entries of a directory, to change them. Sets the directory's times.
    fn directory_mut(&mut self, ino: Ino) -> Result<&mut Directory, Errno> {
        let now = self.now();
        let inode = self.inode_mut(ino)?;
        inode.touch(now);
        match &mut inode.body {
            InodeBody::Directory(directory) => Ok(directory),
            InodeBody::File(_) => Err(Errno::NotDirectory),
        }
    }

    /// The bytes of a file, and how many bytes the quota has left.
    fn content_mut(&mut self, ino: Ino, quota: Quota) -> Result<(&mut Content, u64), Errno> {
        let room = quota.max_bytes.saturating_sub(self.used);
        match &mut self.inode_mut(ino)?.body {
            InodeBody::File(content) => Ok((content, room)),
            InodeBody::Directory(_) => Err(Errno::IsDirectory),
        }
    }
}

fn is_root(ino: Ino) -> bool {
    matches!(ino, TMP | WORK)
}

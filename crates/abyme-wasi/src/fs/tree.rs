//! The private area: `/tmp` and `/work`, in memory, within a quota.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Errno, Quota, Stat,
    content::Content,
    inode::{Body, Directory, Ino, Inode, now},
};

/// `/tmp`.
pub(super) const TMP: Ino = Ino(3);
/// `/work`.
pub(super) const WORK: Ino = Ino(4);
/// The first number for everything else. Lower ones stand for roots, and for `.` and `..` in listings.
const FIRST: u64 = 16;
/// How deep directories may be nested.
const MAX_DEPTH: usize = 128;
/// What `stat` says the private area lies on.
pub(super) const DEVICE: u64 = 2;

/// The private area. All its operations are on inodes; paths are walked elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    inodes: BTreeMap<Ino, Inode>,
    next: u64,
    /// The sizes of all files together, also of removed ones that are still open.
    #[serde(skip)]
    used: u64,
}

/// Which times to set, and to what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NewTimes {
    /// Nanoseconds since 1970; `None` leaves it.
    pub(crate) accessed: Option<u64>,
    /// Nanoseconds since 1970; `None` leaves it.
    pub(crate) modified: Option<u64>,
}

impl Tree {
    /// Two empty directories.
    pub(super) fn new() -> Self {
        let root = || Inode::new(None, Body::Directory(Directory::default()));
        Self { inodes: [(TMP, root()), (WORK, root())].into(), next: FIRST, used: 0 }
    }

    /// How many bytes of the quota are used.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn stat(&self, ino: Ino) -> Result<Stat, Errno> {
        let inode = self.inode(ino)?;
        Ok(inode.stat(DEVICE, ino, is_root(ino) || inode.parent.is_some()))
    }

    pub(super) fn set_times(&mut self, ino: Ino, times: NewTimes) -> Result<(), Errno> {
        let inode = self.inode_mut(ino)?;
        inode.times.accessed = times.accessed.unwrap_or(inode.times.accessed);
        inode.times.modified = times.modified.unwrap_or(inode.times.modified);
        inode.times.changed = now();
        Ok(())
    }

    /// The entry `name` of a directory.
    pub(super) fn find(&self, dir: Ino, name: &str) -> Result<Option<Ino>, Errno> {
        Ok(self.directory(dir)?.find(name))
    }

    /// The directory above; `None` above a root, and above what was removed.
    pub(super) fn parent(&self, ino: Ino) -> Result<Option<Ino>, Errno> {
        Ok(self.inode(ino)?.parent)
    }

    /// The entries of a directory that are younger than `after`.
    pub(super) fn list(
        &self,
        dir: Ino,
        after: u64,
    ) -> Result<impl Iterator<Item = (Ino, &str, &Inode)>, Errno> {
        let younger = self.directory(dir)?.after(after);
        Ok(younger.filter_map(|(ino, name)| Some((ino, name, self.inodes.get(&ino)?))))
    }

    pub(super) fn create_file(&mut self, dir: Ino, name: &str, quota: Quota) -> Result<Ino, Errno> {
        self.create(dir, name, Body::File(Content::default()), quota)
    }

    pub(super) fn create_directory(&mut self, dir: Ino, name: &str, quota: Quota) -> Result<Ino, Errno> {
        if self.depth(dir) >= MAX_DEPTH {
            return Err(Errno::NameTooLong);
        }
        self.create(dir, name, Body::Directory(Directory::default()), quota)
    }

    pub(super) fn remove_file(&mut self, dir: Ino, name: &str) -> Result<(), Errno> {
        let ino = self.find(dir, name)?.ok_or(Errno::NotFound)?;
        if let Body::Directory(_) = self.inode(ino)?.body {
            return Err(Errno::IsDirectory);
        }
        self.unlink(dir, name)
    }

    pub(super) fn remove_directory(&mut self, dir: Ino, name: &str) -> Result<(), Errno> {
        let ino = self.find(dir, name)?.ok_or(Errno::NotFound)?;
        if !self.directory(ino)?.is_empty() {
            return Err(Errno::NotEmpty);
        }
        self.unlink(dir, name)
    }

    /// Renames an entry, over whatever may be replaced there. `as_directory`: the paths ended in a slash.
    pub(super) fn rename(
        &mut self,
        (from_dir, from): (Ino, &str),
        (to_dir, to): (Ino, &str),
        as_directory: bool,
    ) -> Result<(), Errno> {
        let ino = self.find(from_dir, from)?.ok_or(Errno::NotFound)?;
        let is_directory = matches!(self.inode(ino)?.body, Body::Directory(_));
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
                (Body::Directory(_), false) => return Err(Errno::IsDirectory),
                (Body::File(_), true) => return Err(Errno::NotDirectory),
                (Body::Directory(inside), true) if !inside.is_empty() => return Err(Errno::NotEmpty),
                _ => self.unlink(to_dir, to)?,
            }
        }
        self.directory_mut(from_dir)?.remove(from);
        self.directory_mut(to_dir)?.insert(to, ino);
        let moved = self.inode_mut(ino)?;
        moved.parent = Some(to_dir);
        moved.times.changed = now();
        Ok(())
    }

    pub(super) fn read_at(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match &self.inode(ino)?.body {
            Body::File(content) => Ok(content.read_at(offset, buffer)),
            Body::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    /// Writes as much as the quota allows; [`Errno::NoSpace`] if that is nothing.
    pub(super) fn write_at(
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
        self.inode_mut(ino)?.touch();
        Ok(count)
    }

    /// Cuts off or adds zeros, which count like other bytes.
    pub(super) fn set_len(&mut self, ino: Ino, len: u64, quota: Quota) -> Result<(), Errno> {
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
        self.inode_mut(ino)?.touch();
        Ok(())
    }

    /// Notes one more descriptor on an inode: it then outlives its removal.
    pub(super) fn retain(&mut self, ino: Ino) -> Result<(), Errno> {
        let inode = self.inode_mut(ino)?;
        inode.open = inode.open.saturating_add(1);
        Ok(())
    }

    /// Notes one descriptor less, and gives back what was only kept for it.
    pub(super) fn release(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.open = inode.open.saturating_sub(1);
        }
        self.collect(ino);
    }

    /// Whether any descriptor is noted.
    pub(super) fn has_descriptors(&self) -> bool {
        self.inodes.values().any(|inode| inode.open > 0)
    }

    /// Whether there is anything that only descriptors can reach.
    pub(super) fn has_removed(&self) -> bool {
        self.inodes.iter().any(|(ino, inode)| inode.parent.is_none() && !is_root(*ino))
    }

    /// Forgets all descriptors; those that are still wanted are to be retained again, then comes
    /// [`collect_all`](Self::collect_all).
    pub(super) fn forget_descriptors(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.open = 0;
        }
    }

    /// Gives back what was removed and is not open.
    pub(super) fn collect_all(&mut self) {
        let removed: Vec<Ino> =
            self.inodes.iter().filter(|(_, inode)| inode.parent.is_none()).map(|(ino, _)| *ino).collect();
        for ino in removed {
            self.collect(ino);
        }
    }

    /// Checks what was deserialised, which may be anything, and counts what is not serialised. What it answers is why
    /// it cannot be used.
    pub(super) fn check(&mut self) -> Result<(), String> {
        if [TMP, WORK].iter().any(|root| self.directory(*root).is_err() || self.parent(*root) != Ok(None)) {
            return Err("a root directory is missing".into());
        }
        // Far from where numbers end, so that counting on and adding to cookies cannot overflow.
        if self.next > u64::MAX / 2 {
            return Err("the next inode has a number it cannot have".into());
        }
        if self.inodes.keys().any(|ino| !is_root(*ino) && (ino.0 < FIRST || ino.0 >= self.next)) {
            return Err("an inode has a number it cannot have".into());
        }
        let mut reached = 0;
        let mut waiting: Vec<(Ino, usize)> = vec![(TMP, 0), (WORK, 0)];
        // Each inode names the one directory it is in, so nothing is reached twice, and a loop never.
        while let Some((ino, depth)) = waiting.pop() {
            reached += 1;
            let Body::Directory(entries) = &self.inode(ino).map_err(|_| "an entry has no inode")?.body else {
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
                Body::File(content) if !content.is_sound() => return Err("a file is damaged".into()),
                Body::Directory(entries)
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

    fn create(&mut self, dir: Ino, name: &str, body: Body, quota: Quota) -> Result<Ino, Errno> {
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
        self.inodes.insert(ino, Inode::new(Some(dir), body));
        Ok(ino)
    }

    fn unlink(&mut self, dir: Ino, name: &str) -> Result<(), Errno> {
        let ino = self.directory_mut(dir)?.remove(name).ok_or(Errno::NotFound)?;
        let inode = self.inode_mut(ino)?;
        inode.parent = None;
        inode.times.changed = now();
        self.collect(ino);
        Ok(())
    }

    /// Drops an inode that nothing leads to any more.
    fn collect(&mut self, ino: Ino) {
        let unused = |inode: &Inode| inode.parent.is_none() && inode.open == 0 && !is_root(ino);
        if self.inodes.get(&ino).is_some_and(unused)
            && let Some(gone) = self.inodes.remove(&ino)
        {
            self.used = self.used.saturating_sub(gone.size());
        }
    }

    /// Nothing can be put into a directory that was removed.
    fn check_linked(&self, dir: Ino) -> Result<(), Errno> {
        if is_root(dir) || self.inode(dir)?.parent.is_some() { Ok(()) } else { Err(Errno::NotFound) }
    }

    /// The inode itself and the directories above it. Ends, for no inode is ever put below itself.
    fn ancestry(&self, ino: Ino) -> impl Iterator<Item = Ino> {
        std::iter::successors(Some(ino), |ino| self.inodes.get(ino)?.parent)
    }

    fn depth(&self, dir: Ino) -> usize {
        self.ancestry(dir).count()
    }

    /// How many levels of directories a directory has, itself included.
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
            Body::Directory(directory) => Ok(directory),
            Body::File(_) => Err(Errno::NotDirectory),
        }
    }

    /// To change the entries, which is a change of the directory.
    fn directory_mut(&mut self, ino: Ino) -> Result<&mut Directory, Errno> {
        let inode = self.inode_mut(ino)?;
        inode.touch();
        match &mut inode.body {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) => Err(Errno::NotDirectory),
        }
    }

    /// The bytes of a file, and by how much they may grow.
    fn content_mut(&mut self, ino: Ino, quota: Quota) -> Result<(&mut Content, u64), Errno> {
        let room = quota.max_bytes.saturating_sub(self.used);
        match &mut self.inode_mut(ino)?.body {
            Body::File(content) => Ok((content, room)),
            Body::Directory(_) => Err(Errno::IsDirectory),
        }
    }
}

fn is_root(ino: Ino) -> bool {
    matches!(ino, TMP | WORK)
}

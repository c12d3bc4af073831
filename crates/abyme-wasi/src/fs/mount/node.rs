//! A file or directory in a mount, as one guest sees it.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use cap_std::{ambient_authority, fs::File};

use super::source::{OpenMount, Source};
use crate::fs::{
    errno::Errno,
    stat::{DirEntry, Kind, Stat, nanoseconds_since_1970},
};

/// The most bytes of one read: the host may have to wait for its disk.
const MAX_READ: usize = 1 << 20;
/// The device number of all mounts.
const DEVICE: u64 = 4;

/// A path in a mount. The first use shows whether a file exists there.
#[derive(Debug)]
pub(crate) struct MountNode {
    mount: Arc<OpenMount>,
    /// Relative to the mount; empty for its root.
    path: String,
    /// Opened by the first read. Copies of a descriptor share it, so each read seeks first.
    file: OnceLock<Mutex<File>>,
    /// The names of a listing that has begun, because the host's directory may change meanwhile.
    listing: Mutex<Option<Arc<Vec<ListingEntry>>>>,
}

#[derive(Debug)]
struct ListingEntry {
    name: String,
    kind: Kind,
}

impl MountNode {
    /// The mount itself.
    pub(in crate::fs) fn root(mount: Arc<OpenMount>) -> Self {
        Self::at(mount, String::new())
    }

    /// The same path, not opened yet.
    pub(in crate::fs) fn unopened(&self) -> Self {
        Self::at(self.mount.clone(), self.path.clone())
    }

    /// The path of the entry `name`, which may not exist.
    pub(in crate::fs) fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
        Self::at(self.mount.clone(), path)
    }

    /// The directory above; `None` above the mount. A link is followed first, as on any POSIX system.
    pub(in crate::fs) fn parent(&self) -> Result<Option<Self>, Errno> {
        let Source::Directory(dir) = &self.mount.source else { return Ok(None) };
        if self.path.is_empty() {
            return Ok(None);
        }
        let real = dir.canonicalize(&self.path)?;
        let above = real.parent().unwrap_or(Path::new(""));
        let names = above.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_str().ok_or(Errno::IllegalSequence)),
            _ => None,
        });
        let path = names.collect::<Result<Vec<_>, _>>()?.join("/");
        Ok(Some(Self::at(self.mount.clone(), path)))
    }

    /// Its absolute path in the guest.
    pub(in crate::fs) fn guest_path(&self) -> String {
        if self.path.is_empty() {
            self.mount.guest().to_owned()
        } else {
            format!("{}/{}", self.mount.guest(), self.path)
        }
    }

    /// The status of the file; with `follow`, the status of a link's target.
    pub(in crate::fs) fn stat(&self, follow: bool) -> Result<Stat, Errno> {
        match &self.mount.source {
            Source::File(_) if !self.path.is_empty() => Err(Errno::NotDirectory),
            Source::File(host) => {
                let metadata = fs::metadata(host)?;
                let times = [metadata.accessed(), metadata.modified()];
                Ok(self.describe(kind_of_std(metadata.file_type()), metadata.len(), times))
            }
            Source::Directory(dir) => {
                let metadata = match (self.path.as_str(), follow) {
                    ("", _) => dir.dir_metadata()?,
                    (path, true) => dir.metadata(path)?,
                    (path, false) => dir.symlink_metadata(path)?,
                };
                let times = [metadata.accessed(), metadata.modified()];
                let times = times.map(|time| time.map(cap_std::time::SystemTime::into_std));
                Ok(self.describe(kind_of(metadata.file_type()), metadata.len(), times))
            }
        }
    }

    /// The target of a link.
    pub(in crate::fs) fn read_link(&self) -> Result<String, Errno> {
        if self.stat(false)?.kind != Kind::Symlink {
            return Err(Errno::Invalid);
        }
        match &self.mount.source {
            // `cap-std` refuses an absolute target, which would tell of the host.
            Source::Directory(dir) => {
                dir.read_link(&self.path)?.into_os_string().into_string().map_err(|_| Errno::IllegalSequence)
            }
            Source::File(_) => Err(Errno::Invalid),
        }
    }

    /// Reads from the host. May return less than the buffer holds.
    pub(in crate::fs) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let count = buffer.len().min(MAX_READ);
        // Each read seeks first, so a file after a panic is as good as any.
        let mut file = self.open()?.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        loop {
            match file.read(&mut buffer[..count]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result?),
            }
        }
    }

    /// Opens the file, unless it is open.
    pub(in crate::fs) fn open(&self) -> Result<&Mutex<File>, Errno> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        // Opening a pipe would wait for its other end.
        match self.stat(true)?.kind {
            Kind::File => {}
            Kind::Directory => return Err(Errno::IsDirectory),
            _ => return Err(Errno::Access),
        }
        let file = match &self.mount.source {
            Source::Directory(dir) => dir.open(&self.path)?,
            Source::File(host) => File::open_ambient(host, ambient_authority())?,
        };
        Ok(self.file.get_or_init(|| Mutex::new(file)))
    }

    /// Lists the directory from `cookie` on, until `each` returns `false`. Reads the host's directory only
    /// when a listing starts.
    pub(in crate::fs) fn list(
        &self,
        cookie: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let listing = self.listing(cookie == 0)?;
        let start = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (index, listed) in listing.iter().enumerate().skip(start) {
            let ino = number(&self.child(&listed.name).guest_path());
            if !each(DirEntry { next: index as u64 + 1, ino, kind: listed.kind, name: &listed.name }) {
                break;
            }
        }
        Ok(())
    }

    fn at(mount: Arc<OpenMount>, path: String) -> Self {
        Self { mount, path, file: OnceLock::new(), listing: Mutex::new(None) }
    }

    fn listing(&self, from_start: bool) -> Result<Arc<Vec<ListingEntry>>, Errno> {
        let mut kept = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(listing), false) = (&*kept, from_start) {
            return Ok(listing.clone());
        }
        let Source::Directory(dir) = &self.mount.source else { return Err(Errno::NotDirectory) };
        let entries = if self.path.is_empty() { dir.entries()? } else { dir.read_dir(&self.path)? };
        let mut listing = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Guests cannot name what is not UTF-8.
            if let Ok(name) = entry.file_name().into_string() {
                listing.push(ListingEntry { name, kind: entry.file_type().map_or(Kind::Unknown, kind_of) });
            }
        }
        listing.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(kept.insert(Arc::new(listing)).clone())
    }

    fn describe(&self, kind: Kind, size: u64, [accessed, modified]: [io::Result<SystemTime>; 2]) -> Stat {
        let modified = modified.map_or(0, nanoseconds_since_1970);
        let accessed = accessed.map_or(modified, nanoseconds_since_1970);
        let size = if kind == Kind::File { size } else { 0 };
        Stat { accessed, ..Stat::constant(DEVICE, number(&self.guest_path()), kind, size, modified) }
    }
}

/// An inode number, which tells nothing of the host's.
fn number(guest_path: &str) -> u64 {
    // FNV-1a: the same in every process, so a restored guest sees the same numbers.
    guest_path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn kind_of(kind: cap_std::fs::FileType) -> Kind {
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File
    } else if kind.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Unknown
    }
}

fn kind_of_std(kind: fs::FileType) -> Kind {
    if kind.is_file() { Kind::File } else { Kind::Unknown }
}

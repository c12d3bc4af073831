//! A tar archive, shared by all guests, read in place.

use std::{collections::BTreeMap, fmt, io::Cursor, ops::Range, path::Component, sync::OnceLock};

use super::{
    errno::Errno,
    stat::{Kind, Stat},
};

/// The top directory. It exists even before the archive is loaded.
pub(super) const ROOT: usize = 0;
/// The device number of an archive.
const DEVICE: u64 = 3;

/// A read-only tree of files that is made when it is first looked into: most guests never need it.
pub struct Archive {
    path: String,
    load: Box<Load>,
    index: OnceLock<ArchiveIndex>,
}

/// Returns the archive: an uncompressed tar with relative paths. An error is a sentence for the log.
type Load = dyn Fn() -> Result<Vec<u8>, String> + Send + Sync;

struct ArchiveIndex {
    archive: Vec<u8>,
    nodes: Vec<ArchiveEntry>,
}

struct ArchiveEntry {
    parent: usize,
    name: Box<str>,
    /// Nanoseconds since 1970.
    modified: u64,
    body: EntryBody,
}

enum EntryBody {
    Directory(BTreeMap<Box<str>, usize>),
    File(Range<usize>),
}

impl Archive {
    /// Creates an archive that guests see at `path`, an absolute path below `/lib`. Its bytes come from
    /// `load`, which is called at most once.
    pub fn new(
        path: impl Into<String>,
        load: impl Fn() -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { path: path.into(), load: Box::new(load), index: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn find(&self, dir: usize, name: &str) -> Result<Option<usize>, Errno> {
        Ok(self.entries(dir)?.get(name).copied())
    }

    /// The directory above a node; `None` above the root.
    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        if node == ROOT { None } else { self.entry(node).ok().map(|entry| entry.parent) }
    }

    /// The absolute path of a node in the guest.
    pub(super) fn path_of(&self, mut node: usize) -> String {
        let mut names = Vec::new();
        while node != ROOT
            && let Ok(entry) = self.entry(node)
        {
            names.push(&*entry.name);
            node = entry.parent;
        }
        names.push(&self.path);
        names.reverse();
        names.join("/")
    }

    pub(super) fn stat(&self, node: usize) -> Result<Stat, Errno> {
        if node == ROOT {
            return Ok(Stat::constant(DEVICE, 1, Kind::Directory, 0, 0));
        }
        let entry = self.entry(node)?;
        Ok(Stat::constant(DEVICE, node as u64 + 1, entry.kind(), entry.size(), entry.modified))
    }

    /// The entries of a directory, by name.
    pub(super) fn list(&self, dir: usize) -> Result<impl Iterator<Item = (usize, &str, Kind)>, Errno> {
        let entries = self.entries(dir)?.iter();
        Ok(entries.filter_map(|(name, node)| Some((*node, &**name, self.entry(*node).ok()?.kind()))))
    }

    pub(super) fn read_at(&self, node: usize, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let EntryBody::File(range) = &self.entry(node)?.body else { return Err(Errno::IsDirectory) };
        let bytes = &self.index().archive[range.clone()];
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn entries(&self, dir: usize) -> Result<&BTreeMap<Box<str>, usize>, Errno> {
        match &self.entry(dir)?.body {
            EntryBody::Directory(entries) => Ok(entries),
            EntryBody::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn entry(&self, node: usize) -> Result<&ArchiveEntry, Errno> {
        self.index().nodes.get(node).ok_or(Errno::NotFound)
    }

    fn index(&self) -> &ArchiveIndex {
        self.index.get_or_init(|| {
            (self.load)().and_then(ArchiveIndex::new).unwrap_or_else(|reason| {
                tracing::error!(
                    reason,
                    path = self.path,
                    "an archive cannot be read; its directory stays empty"
                );
                ArchiveIndex::empty()
            })
        })
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("path", &self.path)
            .field("loaded", &self.index.get().is_some())
            .finish_non_exhaustive()
    }
}

impl ArchiveIndex {
    fn empty() -> Self {
        Self { archive: Vec::new(), nodes: vec![ArchiveEntry::directory(ROOT, "")] }
    }

    /// Finds the position of each file in the archive.
    fn new(archive: Vec<u8>) -> Result<Self, String> {
        let mut index = Self::empty();
        let mut reader = tar::Archive::new(Cursor::new(&archive));
        for entry in reader.entries_with_seek().map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let path = entry.path().map_err(|error| error.to_string())?.into_owned();
            let mut names = Vec::new();
            for component in path.components() {
                match component {
                    Component::Normal(name) => names.push(name.to_str().ok_or("a name is not UTF-8")?),
                    Component::CurDir => {}
                    _ => return Err(format!("the path `{}` leads out of the archive", path.display())),
                }
            }
            let header = entry.header();
            if header.entry_type().is_dir() {
                index.directory(&names)?;
            } else if header.entry_type().is_file()
                && let Some((name, above)) = names.split_last()
            {
                let start = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::try_from(entry.size()).unwrap_or(usize::MAX));
                if end > archive.len() {
                    return Err(format!("the archive ends within `{}`", path.display()));
                }
                let modified = header.mtime().unwrap_or(0).saturating_mul(1_000_000_000);
                let parent = index.directory(above)?;
                index.insert(parent, name, modified, EntryBody::File(start..end))?;
            }
        }
        index.archive = archive;
        Ok(index)
    }

    /// The directory at a path. It and the directories above it are made if they do not exist yet.
    fn directory(&mut self, path: &[&str]) -> Result<usize, String> {
        path.iter().try_fold(ROOT, |dir, name| match &self.nodes[dir].body {
            EntryBody::Directory(entries) => match entries.get(*name) {
                Some(node) => Ok(*node),
                None => self.insert(dir, name, 0, EntryBody::Directory(BTreeMap::new())),
            },
            EntryBody::File(_) => Err(format!("`{}` is a file and a directory", self.nodes[dir].name)),
        })
    }

    fn insert(&mut self, parent: usize, name: &str, modified: u64, body: EntryBody) -> Result<usize, String> {
        let node = self.nodes.len();
        let EntryBody::Directory(entries) = &mut self.nodes[parent].body else {
            return Err(format!("`{name}` is in a file"));
        };
        entries.insert(name.into(), node);
        self.nodes.push(ArchiveEntry { parent, name: name.into(), modified, body });
        Ok(node)
    }
}

impl ArchiveEntry {
    fn directory(parent: usize, name: &str) -> Self {
        Self { parent, name: name.into(), modified: 0, body: EntryBody::Directory(BTreeMap::new()) }
    }

    fn kind(&self) -> Kind {
        match self.body {
            EntryBody::Directory(_) => Kind::Directory,
            EntryBody::File(_) => Kind::File,
        }
    }

    fn size(&self) -> u64 {
        match &self.body {
            EntryBody::Directory(_) => 0,
            EntryBody::File(range) => range.len() as u64,
        }
    }
}

#[cfg(test)]
pub(in crate::fs) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// An archive of these files.
    pub(in crate::fs) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mtime(5);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn walk(archive: &Archive, path: &[&str]) -> usize {
        path.iter().fold(ROOT, |dir, name| archive.find(dir, name).unwrap().unwrap())
    }

    #[test]
    fn finds_files_and_the_directories_above_them() {
        let bytes =
            archive(&[("./os.py", "import abc"), ("json/decoder.py", "x = 1\n"), ("json/__init__.py", "")]);
        let archive = Archive::new("/lib/a", move || Ok(bytes.clone()));
        let names: Vec<_> =
            archive.list(ROOT).unwrap().map(|(_, name, kind)| (name.to_owned(), kind)).collect();
        assert_eq!(names, [("json".to_owned(), Kind::Directory), ("os.py".to_owned(), Kind::File)]);
        let decoder = walk(&archive, &["json", "decoder.py"]);
        let stat = archive.stat(decoder).unwrap();
        assert_eq!((stat.kind, stat.size, stat.modified), (Kind::File, 6, 5_000_000_000));
        assert_eq!(archive.parent(decoder), Some(walk(&archive, &["json"])));
        let mut buffer = [0; 10];
        assert_eq!(archive.read_at(decoder, 0, &mut buffer), Ok(6));
        assert_eq!(&buffer[..6], b"x = 1\n");
        assert_eq!(archive.read_at(decoder, 4, &mut buffer[..1]), Ok(1));
        assert_eq!(archive.read_at(decoder, 6, &mut buffer), Ok(0));
        assert_eq!(archive.read_at(decoder, u64::MAX, &mut buffer), Ok(0));
        assert_eq!(archive.read_at(ROOT, 0, &mut buffer), Err(Errno::IsDirectory));
        assert_eq!(archive.find(decoder, "x"), Err(Errno::NotDirectory));
        assert_eq!(archive.find(ROOT, "none.py"), Ok(None));
    }

    #[test]
    fn is_loaded_once_and_only_when_needed() {
        let loads = Arc::new(AtomicUsize::new(0));
        let counter = loads.clone();
        let archive = Archive::new("/lib/a", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(archive(&[("os.py", "")]))
        });
        archive.stat(ROOT).unwrap();
        assert_eq!(archive.parent(ROOT), None);
        assert_eq!(loads.load(Ordering::Relaxed), 0);
        walk(&archive, &["os.py"]);
        walk(&archive, &["os.py"]);
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn one_that_cannot_be_read_is_empty() {
        let cut = archive(&[("os.py", &"x".repeat(2000))])[..1024].to_vec();
        for archive in [
            Archive::new("/lib/a", || Err("no".into())),
            Archive::new("/lib/a", || Ok(vec![7; 2000])),
            Archive::new("/lib/a", move || Ok(cut.clone())),
            Archive::new("/lib/a", || Ok(archive(&[("a", "file"), ("a/b", "in a file")]))),
        ] {
            assert_eq!(archive.list(ROOT).unwrap().count(), 0, "{archive:?}");
            assert_eq!(archive.stat(1), Err(Errno::NotFound));
        }
    }
}

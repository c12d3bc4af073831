//! The fixed part of the tree: the root, and what leads from there to everything else.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Kind, Node, Stat,
    archive::{Archive, ROOT},
    mount::{Mounted, OpenMount},
    tree::{TMP, WORK},
};

/// The root directory.
pub(super) const TOP: usize = 0;
/// What `stat` says the fixed part lies on.
const DEVICE: u64 = 1;

/// Directories that nobody can change. Shared by all copies of a file system.
#[derive(Debug)]
pub(super) struct Layout {
    dirs: Vec<FixedDir>,
    pub(super) archive: Arc<Archive>,
}

#[derive(Debug)]
struct FixedDir {
    parent: usize,
    name: String,
    entries: BTreeMap<String, Node>,
}

impl Layout {
    /// `mounts` are as [`OpenMount::open_all`] lets them pass: absolute, apart from each other and from the rest.
    pub(super) fn new(archive: Arc<Archive>, mounts: &[Arc<OpenMount>]) -> Self {
        let top = FixedDir { parent: TOP, name: String::new(), entries: BTreeMap::new() };
        let mut layout = Self { dirs: vec![top], archive: archive.clone() };
        layout.put("/tmp", Node::Private(TMP));
        layout.put("/work", Node::Private(WORK));
        layout.put("/dev/null", Node::Null);
        layout.put(archive.path(), Node::Archive(ROOT));
        for mount in mounts {
            layout.put(mount.guest(), Node::Mounted(Arc::new(Mounted::root(mount.clone()))));
        }
        layout
    }

    pub(super) fn find(&self, dir: usize, name: &str) -> Option<&Node> {
        self.dirs.get(dir)?.entries.get(name)
    }

    pub(super) fn parent(&self, dir: usize) -> usize {
        self.dirs.get(dir).map_or(TOP, |dir| dir.parent)
    }

    /// The directory that holds what is at an absolute path.
    pub(super) fn holder(&self, path: &str) -> usize {
        let mut dir = TOP;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match self.find(dir, name) {
                Some(Node::Fixed(inner)) => dir = *inner,
                _ => break,
            }
        }
        dir
    }

    pub(super) fn stat(&self, dir: usize) -> Stat {
        Stat::constant(DEVICE, dir as u64 + 1, Kind::Directory, 0, 0)
    }

    pub(super) fn list(&self, dir: usize) -> impl Iterator<Item = (&str, &Node)> {
        self.dirs.get(dir).into_iter().flat_map(|dir| &dir.entries).map(|(name, node)| (name.as_str(), node))
    }

    /// The absolute path of a directory.
    pub(super) fn path(&self, mut dir: usize) -> String {
        let mut path = String::new();
        while dir != TOP
            && let Some(fixed) = self.dirs.get(dir)
        {
            path.insert_str(0, &fixed.name);
            path.insert(0, '/');
            dir = fixed.parent;
        }
        if path.is_empty() { "/".into() } else { path }
    }

    fn put(&mut self, path: &str, node: Node) {
        let Some((above, name)) = path.rsplit_once('/') else { return };
        let mut dir = TOP;
        for step in above.split('/').filter(|step| !step.is_empty()) {
            dir = match self.find(dir, step) {
                Some(Node::Fixed(inner)) => *inner,
                // Something else is there already: no mount that was checked leads below it.
                Some(_) => return,
                None => {
                    let new = self.dirs.len();
                    self.dirs.push(FixedDir { parent: dir, name: step.into(), entries: BTreeMap::new() });
                    self.dirs[dir].entries.insert(step.into(), Node::Fixed(new));
                    new
                }
            };
        }
        self.dirs[dir].entries.insert(name.into(), node);
    }
}

/// What `stat` says of `/dev/null`.
pub(super) fn null() -> Stat {
    Stat::constant(DEVICE, 0, Kind::CharacterDevice, 0, 0)
}

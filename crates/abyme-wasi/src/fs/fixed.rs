//! The fixed part of the tree: the root, and the directories between it and the other parts.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    archive::{self, Archive},
    mount::{MountNode, OpenMount},
    node::Node,
    private::{TMP, WORK},
    stat::{Kind, Stat},
};

/// The root directory.
pub(super) const ROOT: usize = 0;
/// The device number of the fixed part.
const DEVICE: u64 = 1;

/// Directories that never change. All clones of a file system share them.
#[derive(Debug)]
pub(super) struct FixedTree {
    dirs: Vec<FixedDir>,
    pub(super) archive: Arc<Archive>,
}

#[derive(Debug)]
struct FixedDir {
    parent: usize,
    name: String,
    entries: BTreeMap<String, Node>,
}

impl FixedTree {
    /// Creates the directories for an archive and for mounts, whose paths [`OpenMount::open_all`] has
    /// checked.
    pub(super) fn new(archive: Arc<Archive>, mounts: &[Arc<OpenMount>]) -> Self {
        let root = FixedDir { parent: ROOT, name: String::new(), entries: BTreeMap::new() };
        let mut tree = Self { dirs: vec![root], archive: archive.clone() };
        tree.put("/tmp", Node::Private(TMP));
        tree.put("/work", Node::Private(WORK));
        tree.put("/dev/null", Node::Null);
        tree.put(archive.path(), Node::Archive(archive::ROOT));
        for mount in mounts {
            tree.put(mount.guest(), Node::Mounted(Arc::new(MountNode::root(mount.clone()))));
        }
        tree
    }

    pub(super) fn find(&self, dir: usize, name: &str) -> Option<&Node> {
        self.dirs.get(dir)?.entries.get(name)
    }

    pub(super) fn parent(&self, dir: usize) -> usize {
        self.dirs.get(dir).map_or(ROOT, |dir| dir.parent)
    }

    /// The directory that holds the node at an absolute path.
    pub(super) fn holder(&self, path: &str) -> usize {
        let mut dir = ROOT;
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

    /// The status of `/dev/null`.
    pub(super) fn stat_null(&self) -> Stat {
        Stat::constant(DEVICE, 0, Kind::CharacterDevice, 0, 0)
    }

    pub(super) fn list(&self, dir: usize) -> impl Iterator<Item = (&str, &Node)> {
        self.dirs.get(dir).into_iter().flat_map(|dir| &dir.entries).map(|(name, node)| (name.as_str(), node))
    }

    /// The absolute path of a directory.
    pub(super) fn path(&self, mut dir: usize) -> String {
        let mut path = String::new();
        while dir != ROOT
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
        let mut dir = ROOT;
        for step in above.split('/').filter(|step| !step.is_empty()) {
            dir = match self.find(dir, step) {
                Some(Node::Fixed(inner)) => *inner,
                // Another part of the tree begins here. No checked mount has a path below it.
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

//! Ways through the tree, across all of its parts: along a path, upwards, and through the entries of a
//! directory.

use std::sync::Arc;

use super::{
    errno::Errno,
    file_system::FileSystem,
    fixed,
    node::Node,
    path::{GuestPath, Step},
    stat::{DirEntry, Kind, Stat},
};

/// An entry that exists or is to be made: its directory, and the last step of its path.
#[derive(Debug)]
pub(super) struct Location<'a> {
    pub(super) dir: Node,
    /// `None` if the path is the root.
    pub(super) last: Option<Step<'a>>,
    /// Whether the path ends in a slash.
    pub(super) directory: bool,
}

impl FileSystem {
    /// The node at `path`, which starts at `at` unless it is absolute. `follow` matters only for a link in a
    /// mount.
    pub(super) fn resolve(
        &self,
        at: &Node,
        path: &GuestPath<'_>,
        follow: bool,
    ) -> Result<(Node, Stat), Errno> {
        let node = self.walk(at, path)?;
        let stat = self.stat_node(&node, follow || path.directory)?;
        if path.directory && stat.kind != Kind::Directory {
            return Err(Errno::NotDirectory);
        }
        Ok((node, stat))
    }

    /// The location that `path` names. Its directory exists.
    pub(super) fn locate<'a>(&self, at: &Node, path: &'a str) -> Result<Location<'a>, Errno> {
        let mut path = GuestPath::parse(path)?;
        let directory = path.directory;
        let last = path.split_last();
        let dir = self.walk(at, &path)?;
        self.check_directory(&dir)?;
        Ok(Location { dir, last, directory })
    }

    /// Walks along a path. Does not look into a mount: there, the host walks the whole path at once.
    pub(super) fn walk(&self, at: &Node, path: &GuestPath<'_>) -> Result<Node, Errno> {
        let start = if path.absolute { self.root() } else { at.clone() };
        path.steps.iter().try_fold(start, |node, step| match step {
            Step::Here => self.check_directory(&node).map(|()| node),
            Step::Up => self.above(&node),
            Step::Down(name) => self.child(&node, name),
        })
    }

    /// The entry `name` of a directory.
    pub(super) fn child(&self, dir: &Node, name: &str) -> Result<Node, Errno> {
        let child = match dir {
            Node::Fixed(fixed) => self.fixed.find(*fixed, name).map(|node| match node {
                // Each descriptor has a file of its own.
                Node::Mounted(root) => Node::Mounted(Arc::new(root.unopened())),
                other => other.clone(),
            }),
            Node::Null => return Err(Errno::NotDirectory),
            Node::Private(ino) => self.private.find(*ino, name)?.map(Node::Private),
            Node::Archive(node) => self.fixed.archive.find(*node, name)?.map(Node::Archive),
            Node::Mounted(mounted) => Some(Node::Mounted(Arc::new(mounted.child(name)))),
        };
        child.ok_or(Errno::NotFound)
    }

    pub(super) fn check_directory(&self, node: &Node) -> Result<(), Errno> {
        match self.stat_node(node, true)?.kind {
            Kind::Directory => Ok(()),
            _ => Err(Errno::NotDirectory),
        }
    }

    /// Lists a directory, `.` and `..` first, from `cookie` on (0, or the `next` of an entry), until `each`
    /// returns `false`. If entries come or go meanwhile, every other entry is still listed exactly once.
    pub(crate) fn list(
        &self,
        dir: &Node,
        cookie: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let stat = self.stat(dir)?;
        if stat.kind != Kind::Directory {
            return Err(Errno::NotDirectory);
        }
        let dot = DirEntry { next: 1, ino: stat.ino, kind: Kind::Directory, name: "." };
        if cookie == 0 && !each(dot) {
            return Ok(());
        }
        if cookie <= 1 {
            let ino = self.above(dir).and_then(|above| self.stat(&above)).map_or(stat.ino, |above| above.ino);
            if !each(DirEntry { next: 2, ino, kind: Kind::Directory, name: ".." }) {
                return Ok(());
            }
        }
        self.list_entries(dir, cookie.saturating_sub(2), each)
    }

    /// Lists what follows `.` and `..`. `after` counts from there.
    fn list_entries(
        &self,
        dir: &Node,
        after: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let start = usize::try_from(after).unwrap_or(usize::MAX);
        match dir {
            Node::Private(ino) => {
                for (child, name, kind) in self.private.list(*ino, after)? {
                    if !each(DirEntry { next: child.0 + 2, ino: child.0, kind, name }) {
                        break;
                    }
                }
            }
            Node::Archive(node) => {
                for (index, (child, name, kind)) in self.fixed.archive.list(*node)?.enumerate().skip(start) {
                    if !each(DirEntry { next: index as u64 + 3, ino: child as u64 + 1, kind, name }) {
                        break;
                    }
                }
            }
            Node::Fixed(fixed) => {
                for (index, (name, node)) in self.fixed.list(*fixed).enumerate().skip(start) {
                    let (ino, kind) =
                        self.stat(node).map_or((0, Kind::Unknown), |stat| (stat.ino, stat.kind));
                    if !each(DirEntry { next: index as u64 + 3, ino, kind, name }) {
                        break;
                    }
                }
            }
            Node::Mounted(mounted) => {
                mounted.list(after, &mut |entry| each(DirEntry { next: entry.next + 2, ..entry }))?;
            }
            Node::Null => return Err(Errno::NotDirectory),
        }
        Ok(())
    }

    /// The directory above a directory. The root is above itself.
    fn above(&self, dir: &Node) -> Result<Node, Errno> {
        self.check_directory(dir)?;
        Ok(match dir {
            Node::Fixed(fixed) => Node::Fixed(self.fixed.parent(*fixed)),
            Node::Private(ino) => self.private.parent(*ino)?.map_or(Node::Fixed(fixed::ROOT), Node::Private),
            Node::Archive(node) => match self.fixed.archive.parent(*node) {
                Some(above) => Node::Archive(above),
                None => Node::Fixed(self.fixed.holder(self.fixed.archive.path())),
            },
            Node::Mounted(mounted) => match mounted.parent()? {
                Some(above) => Node::Mounted(Arc::new(above)),
                None => Node::Fixed(self.fixed.holder(&mounted.guest_path())),
            },
            Node::Null => return Err(Errno::NotDirectory),
        })
    }
}

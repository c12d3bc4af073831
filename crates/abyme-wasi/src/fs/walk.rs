//! From a path to what is there, across all parts of the tree.

use std::sync::Arc;

use super::{
    Errno, FileSystem, Kind, Node, Stat,
    archive::ROOT,
    layout::{self, TOP},
    path::{GuestPath, Step},
};

/// Where an entry is, or is to be: the directory, and the last step of the path.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) dir: Node,
    /// `None` if the path is the root.
    pub(super) last: Option<Step<'a>>,
    /// Whether the path ends in a slash.
    pub(super) directory: bool,
}

impl FileSystem {
    /// What is at `path`, which starts at `at` unless it is absolute. `follow` matters for a link in a mount only.
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

    /// The directory that `path` is an entry of; it is there.
    pub(super) fn place<'a>(&self, at: &Node, path: &'a str) -> Result<Place<'a>, Errno> {
        let mut path = GuestPath::parse(path)?;
        let directory = path.directory;
        let last = path.split_last();
        let dir = self.walk(at, &path)?;
        self.check_directory(&dir)?;
        Ok(Place { dir, last, directory })
    }

    /// Goes along a path. Within a mount nothing is looked at yet: there, the host walks the whole path at once.
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
        let found = match dir {
            Node::Fixed(fixed) => self.layout.find(*fixed, name).map(|node| match node {
                // Each descriptor reads for itself.
                Node::Mounted(root) => Node::Mounted(Arc::new(root.fresh())),
                other => other.clone(),
            }),
            Node::Null => return Err(Errno::NotDirectory),
            Node::Private(ino) => self.tree.find(*ino, name)?.map(Node::Private),
            Node::Archive(node) => self.layout.archive.find(*node, name)?.map(Node::Archive),
            Node::Mounted(mounted) => Some(Node::Mounted(Arc::new(mounted.child(name)))),
        };
        found.ok_or(Errno::NotFound)
    }

    /// The directory above a directory. Above the root is the root.
    pub(super) fn above(&self, dir: &Node) -> Result<Node, Errno> {
        self.check_directory(dir)?;
        Ok(match dir {
            Node::Fixed(fixed) => Node::Fixed(self.layout.parent(*fixed)),
            Node::Private(ino) => self.tree.parent(*ino)?.map_or(Node::Fixed(TOP), Node::Private),
            Node::Archive(node) => match self.layout.archive.parent(*node) {
                Some(above) => Node::Archive(above),
                None => Node::Fixed(self.layout.holder(self.layout.archive.path())),
            },
            Node::Mounted(mounted) => match mounted.parent()? {
                Some(above) => Node::Mounted(Arc::new(above)),
                None => Node::Fixed(self.layout.holder(&mounted.guest_path())),
            },
            Node::Null => return Err(Errno::NotDirectory),
        })
    }

    pub(super) fn check_directory(&self, node: &Node) -> Result<(), Errno> {
        match self.stat_node(node, true)?.kind {
            Kind::Directory => Ok(()),
            _ => Err(Errno::NotDirectory),
        }
    }

    pub(super) fn stat_node(&self, node: &Node, follow: bool) -> Result<Stat, Errno> {
        match node {
            Node::Fixed(dir) => Ok(self.layout.stat(*dir)),
            Node::Null => Ok(layout::null()),
            Node::Private(ino) => self.tree.stat(*ino),
            Node::Archive(node) => self.layout.archive.stat(*node),
            Node::Mounted(mounted) => mounted.stat(follow),
        }
    }

    pub(super) fn archive_path(&self, mut node: usize) -> String {
        let mut names = Vec::new();
        while node != ROOT
            && let Some(above) = self.layout.archive.parent(node)
        {
            names.push(self.layout.archive.name(node));
            node = above;
        }
        names.push(self.layout.archive.path());
        names.reverse();
        names.join("/")
    }
}

//! Opening what a path leads to.

use super::{
    Errno, FileSystem, Kind, Node, Stat,
    path::{GuestPath, Step},
};

/// How something is to be opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenOptions {
    /// To write to it.
    pub(crate) write: bool,
    /// A file that is not there is made.
    pub(crate) create: bool,
    /// With `create`: only a new one will do.
    pub(crate) exclusive: bool,
    /// What is in it goes.
    pub(crate) truncate: bool,
    /// Only a directory will do.
    pub(crate) directory: bool,
    /// A link at the end of the path is followed.
    pub(crate) follow: bool,
}

impl FileSystem {
    /// Opens what is at `path`, from `at` on. Every node that comes from here is to be [closed](Self::close).
    pub(crate) fn open(
        &mut self,
        at: &Node,
        path: &str,
        options: OpenOptions,
    ) -> Result<(Node, Kind), Errno> {
        if options.create && options.directory {
            return Err(Errno::Invalid);
        }
        let path = GuestPath::parse(path)?;
        if options.create && path.directory && matches!(path.steps.last(), Some(Step::Down(_))) {
            return Err(self.refuse_slash(at, path));
        }
        match self.resolve(at, &path, options.follow) {
            Ok((node, stat)) => self.open_existing(node, stat, options),
            Err(Errno::NotFound) if options.create => self.open_new(at, path),
            Err(error) => Err(error),
        }
    }

    fn open_existing(&mut self, node: Node, stat: Stat, options: OpenOptions) -> Result<(Node, Kind), Errno> {
        let changes = options.write || options.truncate;
        if options.create && options.exclusive {
            return Err(Errno::Exists);
        }
        match stat.kind {
            Kind::Directory if changes || options.create => return Err(Errno::IsDirectory),
            Kind::Directory => {}
            _ if options.directory => return Err(Errno::NotDirectory),
            Kind::Symlink => return Err(Errno::Loop),
            Kind::Unknown => return Err(Errno::Access),
            Kind::File | Kind::CharacterDevice => {}
        }
        match &node {
            Node::Private(ino) => {
                if options.truncate {
                    self.set_len(&node, 0)?;
                }
                self.tree_mut().retain(*ino)?;
            }
            Node::Archive(_) | Node::Mounted(_) if changes => return Err(Errno::ReadOnly),
            Node::Mounted(mounted) if stat.kind == Kind::File => {
                mounted.open()?;
            }
            _ => {}
        }
        Ok((node, stat.kind))
    }

    fn open_new(&mut self, at: &Node, mut path: GuestPath<'_>) -> Result<(Node, Kind), Errno> {
        let Some(Step::Down(name)) = path.split_last() else { return Err(Errno::NotFound) };
        let dir = self.walk(at, &path)?;
        self.check_directory(&dir)?;
        let Node::Private(dir) = dir else { return Err(Errno::ReadOnly) };
        let quota = self.quota;
        let tree = self.tree_mut();
        let ino = tree.create_file(dir, name, quota)?;
        tree.retain(ino)?;
        Ok((Node::Private(ino), Kind::File))
    }

    /// A path that ends in a slash cannot name a file to be made, even if there is one.
    fn refuse_slash(&self, at: &Node, mut path: GuestPath<'_>) -> Errno {
        path.split_last();
        match self.walk(at, &path).and_then(|dir| self.check_directory(&dir)) {
            Ok(()) => Errno::IsDirectory,
            Err(error) => error,
        }
    }
}

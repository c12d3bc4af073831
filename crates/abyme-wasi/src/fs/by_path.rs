//! What is done with files and directories by their path: open, make, remove, rename, look.

use super::{
    errno::Errno,
    file_system::FileSystem,
    node::Node,
    path::{GuestPath, Step},
    stat::{Kind, NewTimes, Stat},
    walk::Location,
};

/// How a node is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenOptions {
    /// Opens it for writing.
    pub(crate) write: bool,
    /// Makes the file if it does not exist.
    pub(crate) create: bool,
    /// With `create`: fails if the file exists.
    pub(crate) exclusive: bool,
    /// Drops the file's bytes.
    pub(crate) truncate: bool,
    /// Fails for anything but a directory.
    pub(crate) directory: bool,
    /// Follows a link at the end of the path.
    pub(crate) follow: bool,
}

impl FileSystem {
    /// Opens the node at `path`, which starts at `at`. The caller has to [close](Self::close) the node.
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

    /// The status of the node at a path.
    pub(crate) fn stat_path(&self, at: &Node, path: &str, follow: bool) -> Result<Stat, Errno> {
        self.resolve(at, &GuestPath::parse(path)?, follow).map(|(_, stat)| stat)
    }

    /// Sets the times of the node at a path.
    pub(crate) fn set_times_path(
        &mut self,
        at: &Node,
        path: &str,
        follow: bool,
        times: NewTimes,
    ) -> Result<(), Errno> {
        let (node, _) = self.resolve(at, &GuestPath::parse(path)?, follow)?;
        self.set_times(&node, times)
    }

    /// Makes a directory.
    pub(crate) fn create_directory(&mut self, at: &Node, path: &str) -> Result<(), Errno> {
        let location = self.locate(at, path)?;
        let Some(Step::Down(name)) = location.last else { return Err(Errno::Exists) };
        if self.has(&location.dir, name)? {
            return Err(Errno::Exists);
        }
        let Node::Private(dir) = location.dir else { return Err(Errno::ReadOnly) };
        let quota = self.quota;
        self.private_mut().create_directory(dir, name, quota).map(|_| ())
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&mut self, at: &Node, path: &str) -> Result<(), Errno> {
        let location = self.locate(at, path)?;
        let name = match location.last {
            Some(Step::Down(name)) => name,
            Some(Step::Here) => return Err(Errno::Invalid),
            Some(Step::Up) => return Err(Errno::NotEmpty),
            None => return Err(Errno::Busy),
        };
        match location.dir {
            Node::Private(dir) => self.private_mut().remove_directory(dir, name),
            dir => {
                let child = self.child(&dir, name)?;
                self.check_directory(&child)?;
                Err(if matches!(dir, Node::Fixed(_)) { Errno::Busy } else { Errno::ReadOnly })
            }
        }
    }

    /// Removes a file. Its open descriptors remain usable.
    pub(crate) fn remove_file(&mut self, at: &Node, path: &str) -> Result<(), Errno> {
        let location = self.locate(at, path)?;
        let Some(Step::Down(name)) = location.last else { return Err(Errno::IsDirectory) };
        let child = self.child(&location.dir, name)?;
        let kind = self.stat_node(&child, false)?.kind;
        match location.dir {
            _ if kind == Kind::Directory => Err(Errno::IsDirectory),
            _ if location.directory => Err(Errno::NotDirectory),
            Node::Private(dir) => self.private_mut().remove_file(dir, name),
            _ => Err(Errno::ReadOnly),
        }
    }

    /// Renames an entry. A file may replace a file, and a directory an empty directory.
    pub(crate) fn rename(&mut self, from: (&Node, &str), to: (&Node, &str)) -> Result<(), Errno> {
        let from = self.locate(from.0, from.1)?;
        let to = self.locate(to.0, to.1)?;
        let (Some(Step::Down(old)), Some(Step::Down(new))) = (from.last, to.last) else {
            return Err(Errno::Busy);
        };
        if let (Node::Private(from_dir), Node::Private(to_dir)) = (&from.dir, &to.dir) {
            let as_directory = from.directory || to.directory;
            return self.private_mut().rename((*from_dir, old), (*to_dir, new), as_directory);
        }
        if !self.has(&from.dir, old)? {
            return Err(Errno::NotFound);
        }
        if self.stat(&from.dir)?.device != self.stat(&to.dir)?.device {
            // Programs that move files copy instead when they get this error.
            return Err(Errno::CrossDevice);
        }
        Err(Errno::ReadOnly)
    }

    /// Hard links do not exist here. Where a file system has none, Linux answers [`Errno::NotPermitted`] too,
    /// so programs are prepared for it.
    pub(crate) fn link(&self, from: (&Node, &str), to: (&Node, &str)) -> Result<(), Errno> {
        self.stat_path(from.0, from.1, false)?;
        self.refuse_entry(&self.locate(to.0, to.1)?)
    }

    /// Symbolic links exist only in mounts, where nothing can be made.
    pub(crate) fn symlink(&self, at: &Node, path: &str) -> Result<(), Errno> {
        self.refuse_entry(&self.locate(at, path)?)
    }

    /// The target of a link; [`Errno::Invalid`] for anything else.
    pub(crate) fn read_link(&self, at: &Node, path: &str) -> Result<String, Errno> {
        match self.resolve(at, &GuestPath::parse(path)?, false)? {
            (Node::Mounted(mounted), _) => mounted.read_link(),
            _ => Err(Errno::Invalid),
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
                self.private_mut().retain(*ino)?;
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
        let tree = self.private_mut();
        let ino = tree.create_file(dir, name, quota)?;
        tree.retain(ino)?;
        Ok((Node::Private(ino), Kind::File))
    }

    /// The error of creating a file by a path that ends in a slash, whether or not the file exists.
    fn refuse_slash(&self, at: &Node, mut path: GuestPath<'_>) -> Errno {
        path.split_last();
        match self.walk(at, &path).and_then(|dir| self.check_directory(&dir)) {
            Ok(()) => Errno::IsDirectory,
            Err(error) => error,
        }
    }

    fn refuse_entry(&self, location: &Location<'_>) -> Result<(), Errno> {
        let Some(Step::Down(name)) = location.last else { return Err(Errno::Exists) };
        if self.has(&location.dir, name)? {
            return Err(Errno::Exists);
        }
        Err(if matches!(location.dir, Node::Private(_)) { Errno::NotPermitted } else { Errno::ReadOnly })
    }

    /// Whether a directory has an entry of this name. A dangling link counts.
    fn has(&self, dir: &Node, name: &str) -> Result<bool, Errno> {
        match self.child(dir, name).and_then(|child| self.stat_node(&child, false)) {
            Ok(_) => Ok(true),
            Err(Errno::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

//! What is done to entries of directories, by path.

use super::{Errno, FileSystem, Kind, NewTimes, Node, Stat, path::GuestPath, path::Step, walk::Place};

impl FileSystem {
    /// What is at a path.
    pub(crate) fn stat_path(&self, at: &Node, path: &str, follow: bool) -> Result<Stat, Errno> {
        self.resolve(at, &GuestPath::parse(path)?, follow).map(|(_, stat)| stat)
    }

    /// Sets the times of what is at a path.
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
        let place = self.place(at, path)?;
        let Some(Step::Down(name)) = place.last else { return Err(Errno::Exists) };
        if self.has(&place.dir, name)? {
            return Err(Errno::Exists);
        }
        let Node::Private(dir) = place.dir else { return Err(Errno::ReadOnly) };
        let quota = self.quota;
        self.tree_mut().create_directory(dir, name, quota).map(|_| ())
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&mut self, at: &Node, path: &str) -> Result<(), Errno> {
        let place = self.place(at, path)?;
        let name = match place.last {
            Some(Step::Down(name)) => name,
            Some(Step::Here) => return Err(Errno::Invalid),
            Some(Step::Up) => return Err(Errno::NotEmpty),
            None => return Err(Errno::Busy),
        };
        match place.dir {
            Node::Private(dir) => self.tree_mut().remove_directory(dir, name),
            dir => {
                let child = self.child(&dir, name)?;
                self.check_directory(&child)?;
                Err(if matches!(dir, Node::Fixed(_)) { Errno::Busy } else { Errno::ReadOnly })
            }
        }
    }

    /// Removes a file. Descriptors that are open on it go on working.
    pub(crate) fn remove_file(&mut self, at: &Node, path: &str) -> Result<(), Errno> {
        let place = self.place(at, path)?;
        let Some(Step::Down(name)) = place.last else { return Err(Errno::IsDirectory) };
        let child = self.child(&place.dir, name)?;
        let kind = self.stat_node(&child, false)?.kind;
        match place.dir {
            _ if kind == Kind::Directory => Err(Errno::IsDirectory),
            _ if place.directory => Err(Errno::NotDirectory),
            Node::Private(dir) => self.tree_mut().remove_file(dir, name),
            _ => Err(Errno::ReadOnly),
        }
    }

    /// Renames an entry, over a file, or over an empty directory if it is one itself.
    pub(crate) fn rename(&mut self, from: (&Node, &str), to: (&Node, &str)) -> Result<(), Errno> {
        let from = self.place(from.0, from.1)?;
        let to = self.place(to.0, to.1)?;
        let (Some(Step::Down(old)), Some(Step::Down(new))) = (from.last, to.last) else {
            return Err(Errno::Busy);
        };
        if let (Node::Private(from_dir), Node::Private(to_dir)) = (&from.dir, &to.dir) {
            let as_directory = from.directory || to.directory;
            return self.tree_mut().rename((*from_dir, old), (*to_dir, new), as_directory);
        }
        if !self.has(&from.dir, old)? {
            return Err(Errno::NotFound);
        }
        if self.stat(&from.dir)?.device != self.stat(&to.dir)?.device {
            // With this, `shutil.move` copies instead.
            return Err(Errno::CrossDevice);
        }
        Err(Errno::ReadOnly)
    }

    /// Hard links do not exist here. [`Errno::NotPermitted`] is what Linux says where they cannot, and what Python's
    /// library is prepared for.
    pub(crate) fn link(&self, from: (&Node, &str), to: (&Node, &str)) -> Result<(), Errno> {
        self.stat_path(from.0, from.1, false)?;
        self.refuse_entry(&self.place(to.0, to.1)?)
    }

    /// Symbolic links exist in mounts only, where nothing can be made.
    pub(crate) fn symlink(&self, at: &Node, path: &str) -> Result<(), Errno> {
        self.refuse_entry(&self.place(at, path)?)
    }

    /// Where a link leads: [`Errno::Invalid`] for what is none.
    pub(crate) fn read_link(&self, at: &Node, path: &str) -> Result<String, Errno> {
        match self.resolve(at, &GuestPath::parse(path)?, false)? {
            (Node::Mounted(mounted), _) => mounted.read_link(),
            _ => Err(Errno::Invalid),
        }
    }

    fn refuse_entry(&self, place: &Place<'_>) -> Result<(), Errno> {
        let Some(Step::Down(name)) = place.last else { return Err(Errno::Exists) };
        if self.has(&place.dir, name)? {
            return Err(Errno::Exists);
        }
        Err(if matches!(place.dir, Node::Private(_)) { Errno::NotPermitted } else { Errno::ReadOnly })
    }

    /// Whether a directory has an entry of this name, if only a link that leads nowhere.
    fn has(&self, dir: &Node, name: &str) -> Result<bool, Errno> {
        match self.child(dir, name).and_then(|child| self.stat_node(&child, false)) {
            Ok(_) => Ok(true),
            Err(Errno::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

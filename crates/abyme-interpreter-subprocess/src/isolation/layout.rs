//! What of the host's file system a session sees: which directories and files, and the links to them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// What the system's libraries need, and nothing of the user's. Directories of programs are not among it.
const SYSTEM: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/share/zoneinfo",
    // The links of Debian's alternatives, through which numpy finds its linear algebra.
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    // Where Nix and Guix keep everything.
    "/nix/store",
    "/gnu/store",
];
/// A path may lead through so many links, as in the kernel.
const MAX_LINKS: usize = 40;

/// What is at a path inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory on the way to others.
    Dir,
    /// A link as it is on the host.
    Link(PathBuf),
    /// A directory of the host, with all below it.
    HostDir,
    /// A file of the host.
    HostFile,
}

/// The paths inside, each after those above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Layout {
    /// A layout with the system's libraries, and `paths` as far as they are there. Of `own`, which a session
    /// has for itself, no directory is taken as a whole.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>, own: &[&str]) -> Self {
        let mut layout = Self::default();
        for path in SYSTEM.iter().map(Path::new).chain(paths) {
            layout.add(path);
        }
        layout.nodes.retain(|path, _| own.iter().all(|own| path != Path::new(own)));
        layout.without_what_is_below()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// The directories and files of the host that are in it.
    pub(crate) fn host_paths(&self) -> impl Iterator<Item = &Path> {
        self.nodes().filter(|(_, node)| matches!(node, Node::HostDir | Node::HostFile)).map(|(path, _)| path)
    }

    /// Adds a path, and the links on the way to it, if it is there.
    fn add(&mut self, path: &Path) {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.add_up_to_link(&path) {
                Ok(Some(target)) => path = target,
                _ => return,
            }
        }
    }

    /// Adds a path up to the first link on the way, and returns where that leads.
    fn add_up_to_link(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut at = PathBuf::from("/");
        let mut components = path.components();
        while let Some(component) = components.next() {
            match component {
                Component::Normal(name) => at.push(name),
                Component::ParentDir => {
                    at.pop();
                    continue;
                }
                _ => continue,
            }
            let kind = fs::symlink_metadata(&at)?.file_type();
            let rest = components.as_path();
            if kind.is_symlink() {
                let target = fs::read_link(&at)?;
                let next = at.parent().unwrap_or(Path::new("/")).join(&target).join(rest);
                self.nodes.insert(at, Node::Link(target));
                return Ok(Some(next));
            }
            let is_last = rest.as_os_str().is_empty();
            let node = match (kind.is_dir(), is_last) {
                (true, true) => Node::HostDir,
                (true, false) => Node::Dir,
                (false, true) => Node::HostFile,
                (false, false) => return Err(io::ErrorKind::NotADirectory.into()),
            };
            let entry = self.nodes.entry(at.clone()).or_insert(Node::Dir);
            if *entry == Node::Dir {
                *entry = node;
            }
        }
        Ok(None)
    }

    /// Drops what is there anyway, as a part of a directory above it.
    fn without_what_is_below(mut self) -> Self {
        let mut above: Option<PathBuf> = None;
        self.nodes.retain(|path, node| {
            if above.as_ref().is_some_and(|above| path.starts_with(above)) {
                return false;
            }
            if *node == Node::HostDir {
                above = Some(path.clone());
            }
            true
        });
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_kept_and_what_is_below_a_directory_is_not_repeated() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for dir in ["python/lib/site", "python/bin", "venv/bin", "elsewhere"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("python/bin/python3.13"), "").unwrap();
        symlink("python3.13", root.join("python/bin/python3")).unwrap();
        symlink(root.join("python/bin/python3"), root.join("venv/bin/python")).unwrap();
        symlink("../elsewhere", root.join("python/lib/more")).unwrap();
        let paths =
            ["python/lib/site", "python/lib", "venv/bin/python", "python/lib/more/x", "not/there", "venv"];
        let mut layout = Layout::default();
        for path in &paths[..5] {
            layout.add(&root.join(path));
        }
        let layout = layout.without_what_is_below();
        let node = |path: &str| layout.nodes.get(&root.join(path)).cloned();
        assert_eq!(node("python/lib"), Some(Node::HostDir));
        assert_eq!(node("python/lib/site"), None);
        assert_eq!(node("venv/bin"), Some(Node::Dir));
        assert_eq!(node("venv/bin/python"), Some(Node::Link(root.join("python/bin/python3"))));
        assert_eq!(node("python/bin/python3"), Some(Node::Link("python3.13".into())));
        assert_eq!(node("python/bin/python3.13"), Some(Node::HostFile));
        assert_eq!(node("not"), None);
        layout.nodes().for_each(|(path, _)| {
            assert!(
                path.parent() == Some(Path::new("/")) || layout.nodes.contains_key(path.parent().unwrap())
            )
        });
    }

    #[test]
    fn links_in_a_circle_lead_nowhere() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let mut layout = Layout::default();
        layout.add(&root.join("a"));
        assert_eq!(layout.host_paths().count(), 0);
    }
}

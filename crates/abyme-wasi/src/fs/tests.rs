//! Tests of the file system as a whole.

use std::sync::Arc;

use super::{archive::tests::archive, private::Ino, *};

mod checkpoints;
mod mounts;
mod private;
mod real;

/// Shorter to call than the real thing.
struct Fs(FileSystem);

const READ: OpenOptions = OpenOptions {
    write: false,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    follow: true,
};
const WRITE: OpenOptions = OpenOptions { write: true, ..READ };
const CREATE: OpenOptions = OpenOptions { create: true, ..WRITE };

impl Fs {
    fn new() -> Self {
        Self::with(Quota { max_bytes: 1 << 20, max_inodes: 50 }, &[])
    }

    fn with(quota: Quota, mounts: &[Mount]) -> Self {
        let bytes = archive(&[("os.py", "import abc\n"), ("json/decoder.py", "")]);
        let archive = Archive::new("/lib/python3.13", move || Ok(bytes.clone()));
        Self(FileSystem::new(quota, Arc::new(archive), mounts).unwrap())
    }

    fn open(&mut self, path: &str, options: OpenOptions) -> Result<Node, Errno> {
        let root = self.0.root();
        self.0.open(&root, path, options).map(|(node, _)| node)
    }

    fn put(&mut self, path: &str, text: &str) -> Result<(), Errno> {
        let node = self.open(path, OpenOptions { truncate: true, ..CREATE })?;
        let result = self.0.write_at(&node, 0, text.as_bytes());
        self.0.close(&node);
        result.map(|count| assert_eq!(count, text.len()))
    }

    fn get(&mut self, path: &str) -> Result<String, Errno> {
        let node = self.open(path, READ)?;
        let result = self.read(&node);
        self.0.close(&node);
        result
    }

    fn read(&self, node: &Node) -> Result<String, Errno> {
        let mut bytes = vec![0; self.0.stat(node)?.size as usize + 1];
        let count = self.0.read_at(node, 0, &mut bytes)?;
        bytes.truncate(count);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        let root = self.0.root();
        self.0.create_directory(&root, path)
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        let root = self.0.root();
        self.0.remove_directory(&root, path)
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let root = self.0.root();
        self.0.remove_file(&root, path)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let root = self.0.root();
        self.0.rename((&root, from), (&root, to))
    }

    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        self.0.stat_path(&self.0.root(), path, true)
    }

    fn kind(&self, path: &str) -> Result<Kind, Errno> {
        self.stat(path).map(|stat| stat.kind)
    }

    /// The names in a directory, sorted, without `.` and `..`.
    fn names(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        let node = self.open(path, READ)?;
        let mut names = Vec::new();
        let result = self.0.list(&node, 0, &mut |entry| {
            names.push(entry.name.to_owned());
            true
        });
        self.0.close(&node);
        result?;
        assert_eq!(names[..2], [".", ".."]);
        names.drain(..2);
        names.sort();
        Ok(names)
    }
}

#[test]
fn the_start_is_what_was_promised() {
    let mut fs = Fs::new();
    assert_eq!(fs.names("/").unwrap(), ["dev", "lib", "tmp", "work"]);
    assert_eq!(fs.names("/lib").unwrap(), ["python3.13"]);
    assert_eq!(fs.names("/lib/python3.13").unwrap(), ["json", "os.py"]);
    assert_eq!(fs.get("/lib/python3.13/os.py").unwrap(), "import abc\n");
    assert!(fs.names("/work").unwrap().is_empty());
    assert_eq!(fs.kind("/dev/null"), Ok(Kind::CharacterDevice));
    assert_eq!(fs.put("/dev/null", "gone"), Ok(()));
    assert_eq!(fs.get("/dev/null").unwrap(), "");
}

#[test]
fn only_the_private_area_can_be_written() {
    let mut fs = Fs::new();
    for path in ["/x", "/lib/x", "/lib/python3.13/x", "/dev/x"] {
        assert_eq!(fs.put(path, "x"), Err(Errno::ReadOnly), "{path}");
        assert_eq!(fs.mkdir(path), Err(Errno::ReadOnly), "{path}");
        assert_eq!(fs.unlink(path), Err(Errno::NotFound), "{path}");
        assert_eq!(fs.rmdir(path), Err(Errno::NotFound), "{path}");
    }
    assert_eq!(fs.put("/lib/python3.13/os.py", "x"), Err(Errno::ReadOnly));
    assert_eq!(
        fs.open("/lib/python3.13/os.py", OpenOptions { truncate: true, ..READ }).unwrap_err(),
        Errno::ReadOnly
    );
    assert_eq!(fs.unlink("/lib/python3.13/os.py"), Err(Errno::ReadOnly));
    assert_eq!(fs.rmdir("/lib/python3.13/json"), Err(Errno::ReadOnly));
    assert_eq!(fs.put("/missing/x", "x"), Err(Errno::NotFound));
    assert_eq!(fs.put("/lib/python3.13/missing/x", "x"), Err(Errno::NotFound));
    for path in ["/", "/tmp", "/work/", "/lib", "/lib/python3.13", "/lib/python3.13/json"] {
        assert_eq!(fs.mkdir(path), Err(Errno::Exists), "{path}");
        assert_eq!(fs.put(path, ""), Err(Errno::IsDirectory), "{path}");
        assert_eq!(fs.unlink(path), Err(Errno::IsDirectory), "{path}");
    }
    for path in ["/", "/tmp", "/work", "/lib", "/lib/python3.13"] {
        assert_eq!(fs.rmdir(path), Err(Errno::Busy), "{path}");
    }
    let root = fs.0.root();
    let times = NewTimes { accessed: Some(1), modified: Some(1) };
    assert_eq!(fs.0.set_times_path(&root, "/lib/python3.13/os.py", true, times), Err(Errno::ReadOnly));
}

#[test]
fn renaming_stays_within_the_private_area() {
    let mut fs = Fs::new();
    fs.put("/tmp/a", "1").unwrap();
    fs.rename("/tmp/a", "/work/a").unwrap();
    assert_eq!(fs.get("/work/a").unwrap(), "1");
    assert_eq!(fs.rename("/work/a", "/lib/python3.13/a"), Err(Errno::CrossDevice));
    assert_eq!(fs.rename("/lib/python3.13/os.py", "/work/os.py"), Err(Errno::CrossDevice));
    assert_eq!(fs.rename("/lib/python3.13/os.py", "/lib/python3.13/a"), Err(Errno::ReadOnly));
    assert_eq!(fs.rename("/tmp", "/other"), Err(Errno::ReadOnly));
    assert_eq!(fs.rename("/lib/none", "/work/a"), Err(Errno::NotFound));
    assert_eq!(fs.rename("/", "/work/a"), Err(Errno::Busy));
}

#[test]
fn paths_are_walked_as_everywhere() {
    let mut fs = Fs::new();
    fs.mkdir("/work/d").unwrap();
    fs.put("/work/d/f", "x").unwrap();
    for path in [
        "//work/./d//f",
        "/../../work/d/../d/f",
        "/lib/../work/d/f",
        "/lib/python3.13/json/../../../work/d/f",
    ] {
        assert_eq!(fs.get(path).unwrap(), "x", "{path}");
    }
    assert_eq!(fs.stat("/work/d/f/").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/work/d/f/.").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/work/d/f/..").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/work/d/f/x").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/work/none/../d").unwrap_err(), Errno::NotFound);
    assert_eq!(fs.stat("/dev/null/x").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("").unwrap_err(), Errno::NotFound);
    assert_eq!(fs.kind("/work/d/"), Ok(Kind::Directory));
    assert_eq!(fs.put(&format!("/work/{}", "n".repeat(256)), ""), Err(Errno::NameTooLong));
    let dir = fs.open("/work/d", OpenOptions { directory: true, ..READ }).unwrap();
    assert_eq!(fs.0.stat_path(&dir, "f", true).unwrap().size, 1);
    assert_eq!(fs.0.stat_path(&dir, "../d/f", true).unwrap().size, 1);
}

#[test]
fn links_are_refused() {
    let mut fs = Fs::new();
    fs.put("/work/a", "").unwrap();
    let root = fs.0.root();
    assert_eq!(fs.0.symlink(&root, "/work/b"), Err(Errno::NotPermitted));
    assert_eq!(fs.0.symlink(&root, "/work/a"), Err(Errno::Exists));
    assert_eq!(fs.0.symlink(&root, "/b"), Err(Errno::ReadOnly));
    assert_eq!(fs.0.link((&root, "/work/a"), (&root, "/work/b")), Err(Errno::NotPermitted));
    assert_eq!(fs.0.link((&root, "/work/c"), (&root, "/work/b")), Err(Errno::NotFound));
    assert_eq!(fs.0.read_link(&root, "/work/a"), Err(Errno::Invalid));
    assert_eq!(fs.0.read_link(&root, "/work/c"), Err(Errno::NotFound));
}

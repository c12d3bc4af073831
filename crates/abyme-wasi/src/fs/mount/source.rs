//! What is mounted, and where.
//!
//! A directory is opened once and read through `cap-std`, so neither `..` nor a symbolic link leads out of
//! it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use serde::{Deserialize, Serialize};

use crate::fs::path::{GuestPath, Step};

/// Directories of the other parts of the tree, in which nothing can be mounted.
const RESERVED: [&str; 4] = ["/dev", "/lib", "/tmp", "/work"];

/// A file or directory of the host that guests can read, and never write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where guests see it: an absolute path, such as `/data`.
    pub guest: String,
}

/// An opened mount. All guests share it.
#[derive(Debug)]
pub(in crate::fs) struct OpenMount {
    /// An absolute path without `.`, `..`, or a slash at its end.
    guest: String,
    pub(super) source: Source,
}

/// The host's side of a mount.
#[derive(Debug)]
pub(super) enum Source {
    Directory(Dir),
    File(PathBuf),
}

impl OpenMount {
    /// Opens mounts, once for all guests.
    ///
    /// # Errors
    /// A sentence that lists all that is wrong with them.
    pub(in crate::fs) fn open_all(points: &[Mount]) -> Result<Vec<Arc<Self>>, String> {
        check(points)?;
        let (mut mounts, mut wrong) = (Vec::new(), Vec::new());
        for point in points {
            match Source::open(&point.host) {
                Ok(source) => mounts.push(Arc::new(Self { guest: normalise(&point.guest), source })),
                Err(error) => wrong.push(format!(
                    "cannot mount `{}` at `{}`: {error}",
                    point.host.display(),
                    point.guest
                )),
            }
        }
        if wrong.is_empty() { Ok(mounts) } else { Err(wrong.join("; ")) }
    }

    pub(in crate::fs) fn guest(&self) -> &str {
        &self.guest
    }
}

impl Source {
    fn open(host: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(host)?;
        if metadata.is_dir() {
            return Ok(Self::Directory(Dir::open_ambient_dir(host, ambient_authority())?));
        }
        if !metadata.is_file() {
            return Err(io::Error::other("it is neither a file nor a directory"));
        }
        // Opened only to report an error early. Each guest that reads the file opens it again.
        std::fs::File::open(host)?;
        Ok(Self::File(std::path::absolute(host)?))
    }
}

/// Checks the paths in the guest. Does not look at the host.
///
/// # Errors
/// A sentence that lists all that is wrong.
fn check(points: &[Mount]) -> Result<(), String> {
    let (mut wrong, mut right) = (Vec::new(), Vec::<String>::new());
    for point in points {
        let guest = normalise(&point.guest);
        let nested = right.iter().find(|other| is_within(&guest, other) || is_within(other, &guest));
        let reason = refusal(&point.guest).or_else(|| {
            nested.map(|other| format!("it and the mount at `{other}` are one inside the other"))
        });
        match reason {
            Some(reason) => wrong.push(format!("cannot mount at `{}`: {reason}", point.guest)),
            None => right.push(guest),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// The reason why nothing can be mounted at `guest`.
fn refusal(guest: &str) -> Option<String> {
    if !guest.starts_with('/') {
        return Some("the path must start with `/`".into());
    }
    match GuestPath::parse(guest) {
        Ok(path) if path.steps.is_empty() => return Some("that is the root".into()),
        Ok(path) if path.steps.iter().all(|step| matches!(step, Step::Down(_))) => {}
        Ok(_) => return Some("the path must not contain `.` or `..`".into()),
        Err(_) => return Some("the path is too long or contains a NUL".into()),
    }
    let guest = normalise(guest);
    let reserved = RESERVED.iter().find(|reserved| is_within(&guest, reserved))?;
    Some(format!("`{reserved}` belongs to the interpreter"))
}

/// The path with one slash before each name and none at the end.
fn normalise(guest: &str) -> String {
    guest.split('/').filter(|name| !name.is_empty()).flat_map(|name| ["/", name]).collect()
}

/// Whether `path` is `dir` or below it. Both are normalised.
fn is_within(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(guests: &[&str]) -> Vec<Mount> {
        guests.iter().map(|guest| Mount { guest: (*guest).into(), host: "/nowhere".into() }).collect()
    }

    #[test]
    fn accepts_separate_paths() {
        assert_eq!(
            check(&points(&["/data", "/mnt/a/x.txt", "/mnt/b/", "//database", "/library", "/tmp2"])),
            Ok(())
        );
    }

    #[test]
    fn lists_all_that_is_wrong() {
        let message =
            check(&points(&["/", "data", "/lib/python3.13", "/ok", "/ok/inside", "/a/../b", "/work"]))
                .unwrap_err();
        assert_eq!(
            message.split("; ").collect::<Vec<_>>(),
            [
                "cannot mount at `/`: that is the root",
                "cannot mount at `data`: the path must start with `/`",
                "cannot mount at `/lib/python3.13`: `/lib` belongs to the interpreter",
                "cannot mount at `/ok/inside`: it and the mount at `/ok` are one inside the other",
                "cannot mount at `/a/../b`: the path must not contain `.` or `..`",
                "cannot mount at `/work`: `/work` belongs to the interpreter",
            ]
        );
        assert!(check(&points(&["/a/b", "/a"])).is_err());
        assert!(check(&points(&["/a", "/a/"])).is_err());
    }

    #[test]
    fn says_what_cannot_be_opened() {
        let message = OpenMount::open_all(&points(&["/a", "/b"])).unwrap_err();
        assert!(message.starts_with("cannot mount `/nowhere` at `/a`: "), "{message}");
        assert!(message.contains("; cannot mount `/nowhere` at `/b`: "), "{message}");
    }
}

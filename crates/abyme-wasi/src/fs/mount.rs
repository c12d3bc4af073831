//! Files and directories of the host that a guest may read, because somebody said so.
//!
//! A directory is opened once, and read through `cap-std`: neither `..` nor a symbolic link leads out of it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use serde::{Deserialize, Serialize};

pub(crate) use self::mounted::Mounted;

mod mounted;

/// Where nothing can be mounted: there would be two answers to what is there.
const TAKEN: [&str; 4] = ["/dev", "/lib", "/tmp", "/work"];

/// A file or directory of the host that guests can read, and never write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where guests see it: an absolute path, such as `/data`.
    pub guest: String,
}

/// A mount that was opened. Shared by all sessions.
#[derive(Debug)]
pub(crate) struct OpenMount {
    /// An absolute path without `.`, `..`, or a slash at its end.
    guest: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Directory(Dir),
    File(PathBuf),
}

impl OpenMount {
    /// Opens mounts, once for all sessions.
    ///
    /// # Errors
    /// A sentence that lists all that is wrong with them.
    pub(crate) fn open_all(points: &[Mount]) -> Result<Vec<Arc<Self>>, String> {
        check(points)?;
        let (mut mounts, mut wrong) = (Vec::new(), Vec::new());
        for point in points {
            match Source::open(&point.host) {
                Ok(source) => mounts.push(Arc::new(Self { guest: tidy(&point.guest), source })),
                Err(error) => wrong.push(format!(
                    "cannot mount `{}` at `{}`: {error}",
                    point.host.display(),
                    point.guest
                )),
            }
        }
        if wrong.is_empty() { Ok(mounts) } else { Err(wrong.join("; ")) }
    }

    pub(super) fn guest(&self) -> &str {
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
        // Opened now to find out whether it can be, and again by each guest that reads it.
        std::fs::File::open(host)?;
        Ok(Self::File(std::path::absolute(host)?))
    }
}

/// Checks where things are to be mounted, without a look at the host.
///
/// # Errors
/// A sentence that lists all that is wrong.
fn check(points: &[Mount]) -> Result<(), String> {
    let (mut wrong, mut right) = (Vec::new(), Vec::<String>::new());
    for point in points {
        let guest = tidy(&point.guest);
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

/// Why nothing can be mounted at `guest`.
fn refusal(guest: &str) -> Option<String> {
    if !guest.starts_with('/') {
        return Some("the path must start with `/`".into());
    }
    match super::path::GuestPath::parse(guest) {
        Ok(path) if path.steps.is_empty() => return Some("that is the root".into()),
        Ok(path) if path.steps.iter().all(|step| matches!(step, super::path::Step::Down(_))) => {}
        Ok(_) => return Some("the path must not contain `.` or `..`".into()),
        Err(_) => return Some("the path is too long or contains a NUL".into()),
    }
    let guest = tidy(guest);
    let taken = TAKEN.iter().find(|taken| is_within(&guest, taken))?;
    Some(format!("`{taken}` belongs to the interpreter"))
}

/// One slash between names, none at the end.
fn tidy(guest: &str) -> String {
    guest.split('/').filter(|name| !name.is_empty()).flat_map(|name| ["/", name]).collect()
}

/// Whether `path` is `dir` or below it; both tidy.
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
    fn accepts_separate_places() {
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

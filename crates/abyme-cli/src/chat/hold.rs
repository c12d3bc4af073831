//! The file of a conversation, held by one chat: another one would save over what this one saves.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{exit::Failure, files};

/// Holds the file of a conversation until it is dropped.
///
/// Each save puts a new file in the place of the one before, so what is locked is a file beside it. A process
/// that ends, however it does, holds nothing any more, and what it leaves is in the way of nothing.
#[derive(Debug)]
pub(super) struct Hold {
    beside: PathBuf,
    /// None where there are no locks, or the directory cannot be written, which saving says.
    file: Option<File>,
}

impl Hold {
    /// # Errors
    /// That another chat holds the file.
    pub(super) fn on(path: &Path) -> Result<Self, Failure> {
        let beside = beside(path);
        match locked(&beside) {
            Ok(file) => Ok(Self { beside, file: Some(file) }),
            Err(TryLockError::WouldBlock) => {
                let message = format!("the conversation {} is in use: a chat saves to it", path.display());
                Err(Failure::usage(message).hint("end that chat, or name another file"))
            }
            Err(TryLockError::Error(_)) => Ok(Self { beside, file: None }),
        }
    }

    /// Whether it is on this file.
    pub(super) fn is_on(&self, path: &Path) -> bool {
        self.beside == beside(path)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Where that fails, an empty file stays.
            fs::remove_file(&self.beside).ok();
        }
    }
}

/// What is locked for a file, by whatever name that is given.
fn beside(path: &Path) -> PathBuf {
    let real = files::real_path(path).unwrap_or_else(|| path.to_owned());
    let mut name = OsString::from(".");
    name.push(real.file_name().unwrap_or_default());
    name.push(".lock");
    real.with_file_name(name)
}

fn locked(path: &Path) -> Result<File, TryLockError> {
    let open = || File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
    loop {
        let file = open().map_err(TryLockError::Error)?;
        file.try_lock()?;
        // The chat that held it may have removed it meanwhile: then it is no longer the one of that name.
        let is_there = is_at(&file, path).map_err(TryLockError::Error)?;
        if is_there {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_new_is_held_by_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
        for name in ["sub/../talk", "link/talk"] {
            let path = dir.path().join(name);
            let held = Hold::on(&path).unwrap();
            fs::write(&path, "saved").unwrap();
            assert!(held.is_on(&path), "{name}");
        }
    }

    #[test]
    fn one_chat_holds_a_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("talk");
        let held = Hold::on(&path).unwrap();
        fs::write(&path, "saved").unwrap();
        std::os::unix::fs::symlink("talk", dir.path().join("link")).unwrap();
        for name in ["talk", "link"] {
            let refused = Hold::on(&dir.path().join(name)).unwrap_err();
            assert!(format!("{refused:?}").contains("is in use: a chat saves to it"), "{refused:?}");
        }
        drop(held);
        assert_eq!(dir.path().read_dir().unwrap().count(), 2);
        // What a chat left that was killed holds nothing.
        fs::write(dir.path().join(".talk.lock"), "").unwrap();
        drop(Hold::on(&path).unwrap());
        assert!(Hold::on(&dir.path().join("none/talk")).is_ok(), "saving says that there is no directory");
    }
}

//! Files that are there as a whole or not at all.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// How the names of files begin that are not whole yet.
pub(crate) const UNFINISHED: &str = ".abyme-";

/// Puts a file in the place of one of its name once `write` has written it whole and it is on the disk. Its
/// owner alone may read it. A link is followed: what it leads to is replaced.
///
/// # Errors
/// Those of the file system. What is there and is no regular file stays as it is: a device that is replaced
/// by a file is gone for all programs.
pub fn replace_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let path = target(path)?;
    let directory = directory_of(&path);
    if !directory.is_dir() {
        let message = format!("there is no directory `{}`", directory.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    // It is removed if anything fails before its end.
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
    write(file.as_file_mut())?;
    // A crash of the machine must not leave a file of a length and no content.
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // So that the new name is on the disk too. A file system that cannot do this keeps its own order.
    if let Ok(directory) = File::open(directory) {
        directory.sync_all().ok();
    }
    Ok(())
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the file is that has this name, or where it will be.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(status) if status.is_file() => path.canonicalize(),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
        Err(_) => Ok(path.to_owned()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        io::Write,
        os::unix::{fs::FileTypeExt, net::UnixListener},
    };

    use super::*;

    fn replace(path: &Path, text: &str) -> io::Result<()> {
        replace_whole(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn links_stay_links_and_devices_stay_devices() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        replace(&file, "one").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, "two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, problem) in [
            (socket.clone(), "it is no regular file"),
            (dir.path().to_owned(), "it is no regular file"),
            (dir.path().join("none/file"), "there is no directory"),
        ] {
            let error = replace(&path, "three").unwrap_err().to_string();
            assert!(error.contains(problem), "{path:?}: {error}");
        }
        assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
        let failed = replace_whole(&file, |_| Err(io::Error::other("full")));
        assert_eq!(
            (failed.unwrap_err().to_string(), fs::read_to_string(&file).unwrap().as_str()),
            ("full".into(), "two")
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing unfinished is left");
    }
}

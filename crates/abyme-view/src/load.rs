//! Reads the files of records, and says what is wrong with those that are none.

use std::path::Path;

use abyme_core::{Error, ErrorKind, Result, Trajectory};

/// Larger files are refused: a record is held in memory while it is read.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Reads a record from a file of at most 2 GiB.
///
/// # Errors
/// [`ErrorKind::Io`] with the path, if it cannot be read; [`ErrorKind::InvalidInput`] with the path, if it is
/// larger, empty, or not a trajectory.
pub fn load(path: impl AsRef<Path>) -> Result<Trajectory> {
    let path = path.as_ref();
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
        return Err(invalid(path, "is empty: no run was recorded in it"));
    }
    let trajectory = read_bounded(path)?;
    if trajectory.records().next().is_none() {
        return Err(invalid(path, "holds no event of a run yet"));
    }
    Ok(trajectory)
}

/// Reads a record, which may have no event yet, from a file that is not too large.
///
/// # Errors
/// Those of [`load`] but for what is empty.
pub(crate) fn read_bounded(path: &Path) -> Result<Trajectory> {
    // What is not there is the reader's error.
    if let Ok(file) = std::fs::metadata(path) {
        if file.is_dir() {
            return Err(invalid(path, "is a directory, not the record of a run"));
        }
        if file.len() > MAX_FILE_BYTES {
            let (size, most) = (file.len() >> 20, MAX_FILE_BYTES >> 20);
            let what = format!("holds {size} MiB, and at most {most} MiB of a record are read");
            return Err(invalid(path, &what));
        }
    }
    Trajectory::load(path).map_err(|error| {
        // The reader names the file for some errors only.
        let is_named = error.message().contains(&*path.to_string_lossy());
        if is_named { error } else { error.context(path.display()) }
    })
}

fn invalid(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display()))
}

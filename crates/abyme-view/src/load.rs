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
    let invalid = |what: String| Error::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display()));
    // What is not there is the reader's error.
    if let Ok(file) = std::fs::metadata(path) {
        if file.is_dir() {
            return Err(invalid("is a directory, not the record of a run".to_owned()));
        }
        if file.len() > MAX_FILE_BYTES {
            let (size, most) = (file.len() >> 20, MAX_FILE_BYTES >> 20);
            return Err(invalid(format!("holds {size} MiB, and at most {most} MiB of a record are read")));
        }
        if file.is_file() && file.len() == 0 {
            return Err(invalid("is empty: no run was recorded in it".to_owned()));
        }
    }
    let trajectory = Trajectory::load(path).map_err(|error| {
        // The reader names the file for some errors only.
        let is_named = error.message().contains(&*path.to_string_lossy());
        if is_named { error } else { error.context(path.display()) }
    })?;
    if trajectory.records().next().is_none() {
        return Err(invalid("holds no event of a run yet".to_owned()));
    }
    Ok(trajectory)
}

//! Reading the caller's files, with errors that say which file it was and what was wrong with it.

use std::{fs, io, path::Path};

use crate::{Error, ErrorKind, Result};

/// The whole file.
pub(super) fn read(path: &Path, operation: &'static str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| unreadable(path, error).operation(operation))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let what = match error.kind() {
        // Windows says "permission denied" when a directory is opened as a file.
        _ if path.is_dir() => "it is a directory, not a file".to_owned(),
        io::ErrorKind::NotFound => match std::env::current_dir() {
            Ok(directory) if path.is_relative() => {
                format!("there is no such file (looked from `{}`)", directory.display())
            }
            _ => "there is no such file".to_owned(),
        },
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    Error::new(ErrorKind::Io, format!("cannot read `{}`: {what}", path.display())).with_source(error)
}

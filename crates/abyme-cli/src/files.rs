//! The files that the command line names: regular files and pipes only are read, never without a bound, and
//! none of them is overwritten.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use abyme::Text;

use crate::exit::{Exit, Failure};

/// The whole of a file of at most `most` bytes.
///
/// # Errors
/// What is wrong with the file, which the message names.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    if fs::metadata(path).map_or(true, |status| status.is_dir()) {
        // The errors of what is not there, or a directory, are the library's.
        return match Text::from_file(path) {
            Ok(text) => Ok(text.into_string().into_bytes()),
            Err(error) => Err(Failure::before_run(&error)),
        };
    }
    check_read(path)?;
    let bytes = fs::File::open(path).and_then(|file| bounded(file, most));
    match bytes.map_err(|error| Failure::usage(format!("cannot read `{shown}`: {error}")))? {
        Some(bytes) => Ok(bytes),
        None => Err(too_large(&format!("`{shown}`"), most)),
    }
}

/// Refuses what is there and is neither a file nor a pipe: a device may have no end.
///
/// # Errors
/// The file, which is named. What is not there, or a directory, is left to what reads it.
pub(crate) fn check_read(path: &Path) -> Result<(), Failure> {
    let Ok(kind) = fs::metadata(path).map(|status| status.file_type()) else { return Ok(()) };
    match kind.is_file() || kind.is_fifo() || kind.is_dir() {
        true => Ok(()),
        false => Err(Failure::usage(format!("cannot read `{}`: it is no file and no pipe", path.display()))),
    }
}

/// Refuses what is there and is no regular file, where it is read and written again.
///
/// # Errors
/// The file, which is named. A directory is left to what reads it.
pub(crate) fn check_regular(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path).is_ok_and(|status| !status.is_file() && !status.is_dir()) {
        true => Err(Failure::usage(format!("cannot go on with `{}`: it is no regular file", path.display()))),
        false => Ok(()),
    }
}

/// What is written replaces a file of its name, which must be neither one that the command reads nor one that
/// it writes for another flag. `written` has each flag with its file. To be called before anything is opened.
///
/// # Errors
/// The flag and the file, if it is one.
pub(crate) fn check_written<'a, 'w>(
    written: impl IntoIterator<Item = (&'w str, Option<&'w Path>)>,
    read: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Failure> {
    let written =
        written.into_iter().filter_map(|(flag, path)| Some((flag, path?, FileLocation::of(path?)?)));
    let written: Vec<_> = written.collect();
    for (index, (flag, path, at)) in written.iter().enumerate() {
        if let Some((other, ..)) = written[..index].iter().find(|(_, _, other)| other.is_same(at)) {
            let message = format!("{flag} and {other} would both write `{}`", path.display());
            return Err(Failure::usage(message).hint("name two files"));
        }
    }
    for path in read {
        let Some(at) = FileLocation::of(path) else { continue };
        if let Some((flag, ..)) = written.iter().find(|(_, _, written)| written.is_same(&at)) {
            let message = format!("{flag} would overwrite `{}`, which this command reads", path.display());
            return Err(Failure::usage(message).hint("name another file"));
        }
    }
    Ok(())
}

/// The one path of a file that is there, or will be. None where its directory is not there.
pub(crate) fn real_path(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Some(parent.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
    })
}

/// Where a file is, or will be.
struct FileLocation {
    path: PathBuf,
    /// Device and number of a file that is there: it may have other names too.
    id: Option<(u64, u64)>,
}

impl FileLocation {
    /// None for what is not there to be replaced, such as `/dev/null`.
    fn of(path: &Path) -> Option<Self> {
        let path = real_path(path)?;
        match path.metadata() {
            Ok(status) if !status.is_file() => None,
            status => Some(Self { id: status.ok().map(|status| (status.dev(), status.ino())), path }),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.path == other.path || self.id.is_some() && self.id == other.id
    }
}

/// All that `from` has; `None` if that is more than `most` bytes.
pub(crate) fn bounded(from: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// The error of an input that is over its bound.
pub(crate) fn too_large(what: &str, most: u64) -> Failure {
    Failure::new(Exit::Usage, format!("{what} is larger than the {most} bytes that can be read of it"))
}

/// Bytes as a text, without a byte order mark.
///
/// # Errors
/// Where it is no UTF-8, and the command that converts it, `or` what else can be done. `file` is what that
/// command reads.
pub(crate) fn text(mut bytes: Vec<u8>, what: &str, file: &str, or: &str) -> Result<Text, Failure> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map(Text::from).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        let (encoding, charset) = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("it is UTF-16", "UTF-16"),
            _ => ("perhaps it is Latin-1", "LATIN1"),
        };
        Failure::usage(format!("{what} is not text: byte {at} (0x{byte:02x}) is not UTF-8; {encoding}"))
            .hint(format!("convert it, as with `iconv -f {charset} -t UTF-8 {file}`{or}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_read_to_its_bound() {
        assert_eq!(bounded(io::repeat(b'x'), 100).unwrap(), None);
        assert_eq!(bounded(&b"abc"[..], 3).unwrap().unwrap(), b"abc");
    }

    #[test]
    fn one_file_is_not_written_twice_nor_over_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("old"), "x").unwrap();
        std::os::unix::fs::symlink("old", path("link")).unwrap();
        fs::hard_link(path("old"), path("hard")).unwrap();
        let check = |one: &Path, other: &Path, read: &Path| {
            let said = check_written([("--a", Some(one)), ("--b", Some(other)), ("--c", None)], [read]);
            said.err().map(|failure| format!("{failure:?}")).unwrap_or_default()
        };
        assert_eq!(check(&path("new"), &path("other"), &path("old")), "");
        assert_eq!(check(Path::new("/dev/null"), Path::new("/dev/null"), &path("old")), "");
        for (one, other) in [("new", "./new"), ("old", "link"), ("old", "old"), ("old", "hard")] {
            let said = check(&path(one), &path(other), &path("none"));
            assert!(said.contains("--b and --a would both write"), "{said}");
        }
        for other in ["link", "hard"] {
            assert!(check(&path("new"), &path(other), &path("old")).contains("--b would overwrite"));
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(text("\u{feff}a\u{feff}".into(), "x", "x", "").unwrap(), "a\u{feff}");
    }
}

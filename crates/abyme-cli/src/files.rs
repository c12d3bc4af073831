//! The files that the command line names: regular files and pipes only are read, never without a bound, and
//! none of them is overwritten.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::FileTypeExt,
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
    let Some(kind) = fs::metadata(path).ok().map(|status| status.file_type()).filter(|kind| !kind.is_dir())
    else {
        // The errors of what is not there, or a directory, are the library's.
        return match Text::from_file(path) {
            Ok(text) => Ok(text.into_string().into_bytes()),
            Err(error) => Err(Failure::before_run(&error)),
        };
    };
    if !kind.is_file() && !kind.is_fifo() {
        return Err(Failure::usage(format!("cannot read `{shown}`: it is no file and no pipe")));
    }
    let bytes = fs::File::open(path).and_then(|file| bounded(file, most));
    match bytes.map_err(|error| Failure::usage(format!("cannot read `{shown}`: {error}")))? {
        Some(bytes) => Ok(bytes),
        None => Err(too_large(&format!("`{shown}`"), most)),
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
    let written = written.into_iter().filter_map(|(flag, path)| Some((flag, path?, place(path?)?)));
    let written: Vec<_> = written.collect();
    for (index, (flag, path, at)) in written.iter().enumerate() {
        if let Some((other, ..)) = written[..index].iter().find(|(_, _, other)| other == at) {
            let message = format!("{flag} and {other} would both write `{}`", path.display());
            return Err(Failure::usage(message).hint("name two files"));
        }
    }
    for path in read {
        let Ok(at) = path.canonicalize() else { continue };
        if let Some((flag, ..)) = written.iter().find(|(_, _, written)| *written == at) {
            let message = format!("{flag} would overwrite `{}`, which this command reads", path.display());
            return Err(Failure::usage(message).hint("name another file"));
        }
    }
    Ok(())
}

/// Where a file is, or will be. None for what is not there to be replaced, such as `/dev/null`.
fn place(path: &Path) -> Option<PathBuf> {
    match path.canonicalize() {
        Ok(path) => path.is_file().then_some(path),
        Err(_) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            Some(parent.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
        }
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
/// Where it is no UTF-8, and the command that converts it. `file` is what that command reads.
pub(crate) fn text(mut bytes: Vec<u8>, what: &str, file: &str) -> Result<Text, Failure> {
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
        Failure::usage(format!("{what} is not text: byte {at} (0x{byte:02x}) is not UTF-8; {encoding}")).hint(
            format!(
                "convert it, as with `iconv -f {charset} -t UTF-8 {file}`, or declare the input as `bytes`"
            ),
        )
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
        let check = |one: &Path, other: &Path, read: &Path| {
            let said = check_written([("--a", Some(one)), ("--b", Some(other)), ("--c", None)], [read]);
            said.err().map(|failure| format!("{failure:?}")).unwrap_or_default()
        };
        assert_eq!(check(&path("new"), &path("other"), &path("old")), "");
        assert_eq!(check(Path::new("/dev/null"), Path::new("/dev/null"), Path::new("/dev/null")), "");
        for (one, other) in [("new", "./new"), ("old", "link"), ("old", "old")] {
            let said = check(&path(one), &path(other), &path("none"));
            assert!(said.contains("--b and --a would both write"), "{said}");
        }
        assert!(check(&path("new"), &path("link"), &path("old")).contains("--b would overwrite"));
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(text("\u{feff}a\u{feff}".into(), "x", "x").unwrap(), "a\u{feff}");
    }
}

//! The members of archives: zip, and tar with or without compression.

use std::{
    fs::File,
    io::{Cursor, Read},
    ops::ControlFlow,
    path::Path,
};

use crate::read::Work;

/// What a member of an archive is.
pub(crate) enum Member<'a> {
    /// A file, of which this is the content, and how many bytes the archive says that it has.
    File(&'a mut dyn Read, u64),
    /// What cannot be read, and why.
    Other(String),
}

/// Where an archive is read from.
pub(crate) enum Archive<'a> {
    /// A tar archive, member by member.
    Tar(Box<dyn Read + 'a>),
    /// A zip archive in memory: its list of members is at its end.
    Zip(Vec<u8>),
    /// A zip archive that stays where it is.
    ZipFile(&'a Path),
}

/// Shows each member with its name, until `each` has seen enough. Directories are left out. What is unpacked
/// takes part of the work; of a tar archive that is all of it, members that are not read included.
///
/// # Errors
/// Why there are no further members, for people.
pub(crate) fn each_member(
    archive: Archive<'_>,
    work: &Work,
    mut each: impl FnMut(&str, Member<'_>) -> ControlFlow<()>,
) -> Result<(), String> {
    match archive {
        Archive::Tar(input) => of_tar(work.limit(input), &mut each),
        Archive::Zip(bytes) => of_zip(Cursor::new(bytes), work, &mut each),
        Archive::ZipFile(path) => {
            let file = File::open(path).map_err(|error| crate::walk::io_problem(&error))?;
            of_zip(std::io::BufReader::new(file), work, &mut each)
        }
    }
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("an archive that is damaged: {error}")
}

fn of_tar(
    input: impl Read,
    each: &mut impl FnMut(&str, Member<'_>) -> ControlFlow<()>,
) -> Result<(), String> {
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries().map_err(|error| damaged(&error))? {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        let name = entry.path().map_err(|error| damaged(&error))?.to_string_lossy().into_owned();
        let (kind, bytes) = (entry.header().entry_type(), entry.size());
        let member = match kind {
            _ if kind.is_dir() => continue,
            _ if kind.is_file() || kind.is_contiguous() => Member::File(&mut entry, bytes),
            _ if kind.is_symlink() || kind.is_hard_link() => {
                Member::Other("a link, which is not followed".to_owned())
            }
            _ => Member::Other("no file".to_owned()),
        };
        if each(&name, member).is_break() {
            break;
        }
    }
    Ok(())
}

fn of_zip(
    input: impl Read + std::io::Seek,
    work: &Work,
    each: &mut impl FnMut(&str, Member<'_>) -> ControlFlow<()>,
) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(input).map_err(|error| damaged(&error))?;
    for index in 0..archive.len() {
        let name = match archive.name_for_index(index) {
            Some(Ok(name)) => name.into_owned(),
            _ => format!("member {}", index + 1),
        };
        let shown = match archive.by_index(index) {
            Ok(file) if file.is_dir() => continue,
            Ok(file) if file.is_symlink() => {
                each(&name, Member::Other("a link, which is not followed".to_owned()))
            }
            Ok(file) => {
                let bytes = file.size();
                each(&name, Member::File(&mut work.limit(file), bytes))
            }
            Err(error) => each(&name, Member::Other(format!("it cannot be unpacked: {error}"))),
        };
        if shown.is_break() {
            break;
        }
    }
    Ok(())
}

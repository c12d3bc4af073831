//! The two files, decompressed and checked.

use ruzstd::decoding::FrameDecoder;
use sha2::{Digest as _, Sha256};

use crate::{
    digests::{PYTHON_WASM_SHA256, PYTHON_WASM_SIZE, STDLIB_SHA256, STDLIB_SIZE},
    error::DataError,
};

/// A file in `data/`, and what it has to hold.
struct Packed {
    name: &'static str,
    compressed: &'static [u8],
    size: usize,
    sha256: &'static str,
}

const PYTHON_WASM: Packed = Packed {
    name: "python.wasm.zst",
    compressed: include_bytes!("../data/python.wasm.zst"),
    size: PYTHON_WASM_SIZE,
    sha256: PYTHON_WASM_SHA256,
};

const STDLIB: Packed = Packed {
    name: "stdlib.tar.zst",
    compressed: include_bytes!("../data/stdlib.tar.zst"),
    size: STDLIB_SIZE,
    sha256: STDLIB_SHA256,
};

/// CPython as a core WebAssembly module for WASI preview 1; a reactor, which is started by `_initialize`.
///
/// Its sha256 is [`PYTHON_WASM_SHA256`](crate::PYTHON_WASM_SHA256). Each call decompresses it anew, in well
/// under a second.
///
/// # Errors
///
/// When the data in this program is damaged.
pub fn python_wasm() -> Result<Vec<u8>, DataError> {
    unpack(&PYTHON_WASM, PYTHON_WASM.compressed)
}

/// CPython's standard library as an uncompressed tar archive (ustar) of sources.
///
/// Paths are relative to the library's directory, `/lib/python3.13` in the guest: `json/__init__.py`. There
/// are files only, without entries for directories, in the order of their names. Its sha256 is
/// [`STDLIB_SHA256`](crate::STDLIB_SHA256).
///
/// # Errors
///
/// When the data in this program is damaged.
pub fn stdlib_tar() -> Result<Vec<u8>, DataError> {
    unpack(&STDLIB, STDLIB.compressed)
}

fn unpack(packed: &Packed, compressed: &[u8]) -> Result<Vec<u8>, DataError> {
    let damaged = |problem: &dyn std::fmt::Display| DataError::new(packed.name, problem);
    // The decoder fills a vector's capacity and fails beyond it, so damaged data cannot make it allocate
    // without end.
    let mut data = Vec::with_capacity(packed.size);
    FrameDecoder::new().decode_all_to_vec(compressed, &mut data).map_err(|error| damaged(&error))?;
    if data.len() != packed.size {
        return Err(damaged(&format_args!("{} bytes instead of {}", data.len(), packed.size)));
    }
    let sha256 = hex(&Sha256::digest(&data));
    if sha256 != packed.sha256 {
        return Err(damaged(&format_args!("sha256 {sha256} instead of {}", packed.sha256)));
    }
    Ok(data)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::PYTHON_VERSION;

    const SHA256SUMS: &str = include_str!("../data/SHA256SUMS");

    /// The names in a tar archive, and whether each entry is a plain file.
    fn entries(tar: &[u8]) -> Vec<(String, bool)> {
        let text = |field: &[u8]| {
            String::from_utf8(field.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
        };
        let (mut entries, mut at) = (Vec::new(), 0);
        while tar[at] != 0 {
            let header = &tar[at..at + 512];
            let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
            let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            entries.push((path, header[156] == b'0'));
            at += 512 + size.next_multiple_of(512);
        }
        entries
    }

    #[test]
    fn both_files_hold_what_they_should() {
        let (module, library) = (python_wasm().unwrap(), stdlib_tar().unwrap());
        assert_eq!((module.len(), library.len()), (PYTHON_WASM_SIZE, STDLIB_SIZE));
        // A core module of version 1, not a component.
        assert!(module.starts_with(b"\0asm\x01\0\0\0"));
    }

    #[test]
    fn the_list_of_digests_is_of_these_files() {
        let expected = [
            (PYTHON_WASM_SHA256.to_owned(), "python.wasm"),
            (hex(&Sha256::digest(PYTHON_WASM.compressed)), "python.wasm.zst"),
            (STDLIB_SHA256.to_owned(), "stdlib.tar"),
            (hex(&Sha256::digest(STDLIB.compressed)), "stdlib.tar.zst"),
        ];
        let expected: String = expected.map(|(sha256, name)| format!("{sha256}  {name}\n")).concat();
        assert_eq!(SHA256SUMS, expected);
    }

    #[test]
    fn the_version_is_that_of_the_source() {
        let versions = include_str!("../data/versions.toml");
        assert!(versions.contains(&format!("[python]\nversion = \"{PYTHON_VERSION}\"\n")), "{versions}");
    }

    fn flipped(packed: &Packed, at: usize) -> Option<DataError> {
        let mut compressed = packed.compressed.to_vec();
        compressed[at] ^= 0x10;
        unpack(packed, &compressed).err()
    }

    #[test]
    fn a_flipped_byte_is_refused() {
        for packed in [&PYTHON_WASM, &STDLIB] {
            let length = packed.compressed.len();
            for at in [0, 20, 1000, length / 3, length / 2, length - 1000, length - 1] {
                let error = flipped(packed, at).unwrap_or_else(|| panic!("{}: byte {at}", packed.name));
                assert_eq!(error.file(), packed.name);
                assert!(error.to_string().contains("cargo xtask python-wasm"), "{error}");
            }
        }
    }

    #[test]
    fn a_flipped_byte_in_the_header_never_panics() {
        // Some of it is only a hint, without which the data is right all the same.
        (0..14).for_each(|at| drop(flipped(&STDLIB, at)));
    }

    #[test]
    fn a_cut_or_empty_file_is_refused() {
        for length in [0, 3, 100, STDLIB.compressed.len() - 1] {
            assert!(unpack(&STDLIB, &STDLIB.compressed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_file_is_refused() {
        let error = unpack(&PYTHON_WASM, STDLIB.compressed).unwrap_err();
        assert!(error.to_string().starts_with("python.wasm.zst in this program is damaged ("), "{error}");
    }

    #[test]
    fn the_library_is_there_without_tests() {
        let entries = entries(&stdlib_tar().unwrap());
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["json/__init__.py", "asyncio/events.py", "encodings/utf_8.py", "unittest/mock.py"] {
            assert!(names.contains(&name), "{name} is missing");
        }
        assert!(entries.iter().all(|(_, is_file)| *is_file), "there are only plain files");
        assert!(names.is_sorted(), "in the order of their names");
        for name in names {
            assert!(name.ends_with(".py") && !name.starts_with('/'), "{name}");
            let left_out = ["test", "tests", "__pycache__", "tkinter", "idlelib", "site-packages"];
            assert!(!name.split('/').any(|part| left_out.contains(&part)), "{name}");
        }
    }
}

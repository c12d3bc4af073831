//! What a file is, by its first bytes and the ending of its name.

use std::path::Path;

use crate::html;

/// How many bytes of a file are looked at to tell what it is.
pub(crate) const HEAD_BYTES: usize = 8 << 10;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Parquet,
    Zip,
    Tar,
    /// Fields between delimiters. `true` where the name says that these are tabs.
    Csv(bool),
    Json,
    JsonLines,
    /// A web page. `true` where it is XHTML.
    Html(bool),
    Pdf,
    Docx,
    Text,
    /// What nothing here reads, by its name.
    Unread(&'static str),
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// How the file is compressed that begins like this.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl Kind {
    /// What the file is that has this name and begins like this.
    pub(crate) fn of(name: &str, head: &[u8]) -> Self {
        const ZIP: &[u8] = b"PK\x03\x04";
        /// Where a tar archive says what it is.
        const TAR: (usize, &[u8]) = (257, b"ustar");
        /// What files of these kinds begin with, all of them binary.
        const MAGIC: [(&[u8], Kind); 10] = [
            (b"SQLite format 3\0", Kind::Sqlite),
            (b"PAR1", Kind::Parquet),
            (b"%PDF-", Kind::Pdf),
            (ZIP, Kind::Zip),
            (b"BZh", Kind::Unread("compressed with bzip2")),
            (b"\xfd7zXZ\0", Kind::Unread("compressed with xz")),
            (b"7z\xbc\xaf\x27\x1c", Kind::Unread("a 7-Zip archive")),
            (b"\x89PNG", Kind::Unread("a picture")),
            (b"\xff\xd8\xff", Kind::Unread("a picture")),
            (b"\x7fELF", Kind::Unread("a program")),
        ];
        let ending = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if let Some((magic, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
            return if *magic == ZIP { Self::of_zip(&ending) } else { *kind };
        }
        if head.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
            return Self::Tar;
        }
        match ending.as_str() {
            "csv" => Self::Csv(false),
            "tsv" | "tab" => Self::Csv(true),
            "json" | "geojson" | "ipynb" => Self::Json,
            "jsonl" | "ndjson" => Self::JsonLines,
            "html" | "htm" => Self::Html(is_xml(head)),
            "xhtml" | "xht" => Self::Html(true),
            // What is fetched often has no ending.
            _ if html::is_page(head) => Self::Html(false),
            _ => Self::Text,
        }
    }

    /// What the zip archive is whose name has this ending.
    fn of_zip(ending: &str) -> Self {
        match ending {
            "docx" => Self::Docx,
            "xlsx" | "xlsm" => Self::Unread("an Excel workbook"),
            "pptx" => Self::Unread("a presentation"),
            "odt" | "ods" | "odp" => Self::Unread("an OpenDocument file"),
            "epub" => Self::Unread("an e-book"),
            _ => Self::Zip,
        }
    }
}

/// Whether a page begins as XML does.
fn is_xml(head: &[u8]) -> bool {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).starts_with(b"<?xml")
}

/// The name of a compressed file without what says so.
pub(crate) fn unpacked_name(name: &str) -> &str {
    [".gz", ".zst", ".zstd"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_come_before_the_name() {
        assert_eq!(Kind::of("a.csv", b"SQLite format 3\0\x10"), Kind::Sqlite);
        assert_eq!(Kind::of("a.txt", b"%PDF-1.7"), Kind::Pdf);
        assert_eq!(Kind::of("a.docx", b"PK\x03\x04"), Kind::Docx);
        assert_eq!(Kind::of("a.zip", b"PK\x03\x04"), Kind::Zip);
        assert_eq!(Kind::of("a.xlsx", b"PK\x03\x04"), Kind::Unread("an Excel workbook"));
        let tar = [&[b'a'; 257][..], b"ustar\0"].concat();
        assert_eq!((Kind::of("a.tar", &tar), Kind::of("a.txt", &tar[..200])), (Kind::Tar, Kind::Text));
        assert_eq!(Kind::of("A.TSV", b"x\ty"), Kind::Csv(true));
        assert_eq!(Kind::of("dir.json/notes", b"{}"), Kind::Text);
        assert_eq!(Kind::of("a.HTM", b"text"), Kind::Html(false));
        assert_eq!(Kind::of("a.html", b"<?xml version='1.0'?><!DOCTYPE html>"), Kind::Html(true));
        assert_eq!(Kind::of("https://example.org/", b"\n<!doctype html>"), Kind::Html(false));
        assert_eq!(Kind::of("a.json", b"<html>"), Kind::Json);
        assert_eq!(Kind::of(unpacked_name("a.jsonl.gz"), b"{}"), Kind::JsonLines);
        assert_eq!(Packing::of(b"\x1f\x8b\x08"), Some(Packing::Gzip));
    }
}

//! Shared text: an input of any size that is handed on without being copied; and the reading
//! of the caller's files, with errors that name the file and what was wrong with it.

use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
    fmt, fs,
    hash::{Hash, Hasher},
    io,
    ops::Deref,
    path::Path,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

/// Text that is cheap to clone: all clones share one allocation.
///
/// A [`String`] becomes a `Text` without a copy. Everything `&str` can do works through `Deref`. Lengths are
/// counted as Python counts them, in characters (code points); see [`chars_len`](Self::chars_len).
///
/// ```
/// use abyme_core::Text;
///
/// let text = Text::from("naïve ".repeat(1000));
/// assert_eq!(text.chars_len(), 6000);
/// assert_eq!(text.preview(11), "naïve ... (5989 characters omitted) ...aïve ");
/// ```
#[derive(Clone, Default)]
pub struct Text(Arc<Inner>);

#[derive(Default)]
struct Inner {
    text: String,
    chars: OnceLock<usize>,
}

/// How many characters `Debug` shows.
const DEBUG_CHARS: usize = 60;

impl Text {
    /// Reads a file of UTF-8 text, byte for byte: no newline is translated and no byte order mark removed.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], naming the file and what was wrong with it; for a file that is not UTF-8, also
    /// where.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Text> {
        let path = path.as_ref();
        let bytes = read_file(path, "Text::from_file")?;
        String::from_utf8(bytes).map(Text::from).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let byte = error.as_bytes().get(at).copied().unwrap_or_default();
            Error::new(
                ErrorKind::Io,
                format!(
                    "cannot read `{}` as text: byte {at} (0x{byte:02x}) is not UTF-8; convert the file to \
                     UTF-8, or pass it on as bytes",
                    path.display()
                ),
            )
            .operation("Text::from_file")
            .with_source(error.utf8_error())
        })
    }

    /// Reads a file of text, with `U+FFFD` in place of what is not UTF-8.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read.
    pub fn from_file_lossy(path: impl AsRef<Path>) -> Result<Text> {
        let bytes = read_file(path.as_ref(), "Text::from_file_lossy")?;
        Ok(Text::from(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The text as an owned string; no copy if this was the last clone.
    pub fn into_string(self) -> String {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.text,
            Err(shared) => shared.text.clone(),
        }
    }

    /// The UTF-8 bytes, sharing this text's allocation.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// What Python's `len()` answers: the number of characters (code points). Counted once, then remembered.
    pub fn chars_len(&self) -> usize {
        *self.0.chars.get_or_init(|| self.0.text.chars().count())
    }

    /// All of the text if it has at most `max_chars` characters, or the first and last half of `max_chars`
    /// with a note between them of how many characters were left out.
    pub fn preview(&self, max_chars: usize) -> Cow<'_, str> {
        let text = self.as_str();
        // A character takes at least one byte, so most short texts need no counting.
        if text.len() <= max_chars || self.chars_len() <= max_chars {
            return Cow::Borrowed(text);
        }
        let (first, last) = (max_chars.div_ceil(2), max_chars / 2);
        let head = text.char_indices().nth(first).map_or(text.len(), |(at, _)| at);
        let tail = match last.checked_sub(1) {
            Some(before) => text.char_indices().rev().nth(before).map_or(0, |(at, _)| at),
            None => text.len(),
        };
        let omitted = self.chars_len() - max_chars;
        Cow::Owned(format!("{}... ({omitted} characters omitted) ...{}", &text[..head], &text[tail..]))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Arc::new(Inner { text, chars: OnceLock::new() }))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.clone())
    }
}

impl From<&Text> for Text {
    fn from(text: &Text) -> Self {
        text.clone()
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        Self::from(String::from(text))
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(text.into_owned())
    }
}

impl From<char> for Text {
    fn from(text: char) -> Self {
        Self::from(String::from(text))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.into_string()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// At most 60 characters, with the true length where that is not all.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str().char_indices().nth(DEBUG_CHARS) {
            None => write!(f, "{:?}", self.as_str()),
            Some((end, _)) => write!(f, "{:?}... ({} chars)", &self.as_str()[..end], self.chars_len()),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

/// By code points, as Python orders `str`.
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The same hash as `str`, which [`Borrow`] asks for.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}

/// The whole file.
pub(super) fn read_file(path: &Path, operation: &'static str) -> Result<Vec<u8>> {
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

//! The quotes of an answer, and where they were found.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of a quote is shown.
const SHOWN_CHARS: usize = 160;

/// A quote, as a model gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Source {
    /// The file, by the name that it has here
    pub file: String,
    /// Copied from the text of the file, letter for letter; for a table, the SELECT whose rows are the
    /// evidence
    pub quote: String,
}

impl Source {
    /// A quote of a file.
    pub fn new(file: impl Into<String>, quote: impl Into<String>) -> Self {
        Self { file: file.into(), quote: quote.into() }
    }
}

/// A quote that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundSource {
    /// The file.
    pub file: String,
    /// The quote.
    pub quote: String,
    /// Where in the file it is.
    pub position: Position,
}

/// Where a quote is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// In a text.
    #[non_exhaustive]
    Text {
        /// The line, from 1.
        line: u64,
        /// The byte that it begins at, from 0.
        byte: u64,
        /// Whether this is the byte of the file itself, and not of the text that was made of it, because it
        /// was compressed or damaged.
        is_of_file: bool,
    },
    /// The rows that a query gave.
    #[non_exhaustive]
    Rows {
        /// How many.
        rows: u64,
        /// The first of them, in short.
        first: String,
    },
}

/// A quote that was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingSource {
    /// The quote.
    pub source: Source,
    /// Why it is none.
    pub problem: String,
}

/// `report.md:12 (byte 345): "the quote"`, on one line.
impl fmt::Display for FoundSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, quote, position } = self;
        let quote = shown(quote);
        match position {
            Position::Text { line, byte, is_of_file: true } => {
                write!(f, "{file}:{line} (byte {byte}): \"{quote}\"")
            }
            Position::Text { line, byte, is_of_file: false } => {
                write!(f, "{file}:{line} (byte {byte} of its text): \"{quote}\"")
            }
            Position::Rows { rows: 1, first } => write!(f, "{file}: {quote} (1 row: {first})"),
            Position::Rows { rows, first } => write!(f, "{file}: {quote} ({rows} rows, the first: {first})"),
        }
    }
}

impl fmt::Display for MissingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}: {}", shown(&self.source.quote), self.source.file, self.problem)
    }
}

/// A text on one line, cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Whether a path is `name` below some directory.
pub(crate) fn ends_in(path: &str, name: &str) -> bool {
    !name.is_empty() && path.strip_suffix(name).is_some_and(|before| before.ends_with('/'))
}

/// The item, if it is the only one.
pub(crate) fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

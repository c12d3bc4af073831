//! What was loaded, and where in it a quote stands.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use abyme_core::{Text, Value};
use indexmap::IndexMap;
use regex::RegexBuilder;

#[cfg(feature = "sqlite")]
use crate::tables::{LOCKED, Tables};
use crate::{
    html::Page,
    report::Line,
    sources::{FoundSource, Position, Source, ends_in, only},
    text::Decoded,
};

/// The longest quote that is looked for.
const MAX_QUOTE_CHARS: usize = 2_000;

/// A text that was loaded.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    name: String,
    path: Option<PathBuf>,
    decoded: Decoded,
    /// What is shown of an HTML page; `decoded` is its source.
    page: Option<Page>,
    /// Whether the text is the file's own, and not what was made of it.
    is_plain: bool,
    /// What the model gets in place of the text.
    parsed: Option<Value>,
}

impl TextFile {
    pub(crate) fn new(name: String, path: Option<PathBuf>, decoded: Decoded, is_plain: bool) -> Self {
        Self { name, path, decoded, page: None, is_plain, parsed: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn shared(&self) -> Text {
        self.decoded.text.clone()
    }

    pub(crate) fn text(&self) -> &Text {
        self.page.as_ref().map_or(&self.decoded.text, Page::text)
    }

    pub(crate) fn set_page(&mut self, page: Page) {
        self.page = Some(page);
    }

    pub(crate) fn set_parsed(&mut self, value: Value) {
        self.parsed = Some(value);
    }

    /// What the model gets. A text is shared, not copied.
    pub(crate) fn value(&self) -> Value {
        self.parsed.clone().unwrap_or_else(|| self.text().clone().into())
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match (&self.parsed, &self.page) {
            (Some(value), _) => value.type_name(),
            (None, Some(_)) => "str, what is read of an HTML page",
            (None, None) => "str",
        }
    }

    /// Where a quote is.
    fn position_of(&self, quote: &str) -> Option<Position> {
        let text = self.text().as_str();
        let mut at = text.find(quote);
        if at.is_none() && self.parsed.is_some() {
            // As the text of a value is written in the file.
            let escaped = serde_json::to_string(quote).ok();
            at = escaped.and_then(|escaped| {
                let inner = &escaped[1..escaped.len() - 1];
                text.find(inner).or_else(|| text.find(&in_ascii(inner)))
            });
        }
        let at = at.or_else(|| {
            // Lines may be broken elsewhere, and Python writes JSON with other spaces.
            let space = if self.parsed.is_some() { r"\s*" } else { r"\s+" };
            let words: Vec<_> = quote.split_whitespace().map(regex::escape).collect();
            let pattern = RegexBuilder::new(&words.join(space)).size_limit(16 << 20).build().ok()?;
            pattern.find(text).map(|found| found.start())
        })?;
        let (text, at) = match &self.page {
            Some(page) => (self.decoded.text.as_str(), page.in_source(at)),
            None => (text, at),
        };
        let line = 1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
        let byte = self.decoded.byte_in_file(at).filter(|_| self.is_plain);
        Some(Position::Text {
            line: line as u64,
            byte: byte.unwrap_or(at as u64),
            is_of_file: byte.is_some(),
        })
    }
}

/// A text of JSON as Python's `json` writes it: in ASCII alone.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for char in json.chars() {
        match char.is_ascii() {
            true => ascii.push(char),
            false => char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a text does not fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }),
        }
    }
    ascii
}

/// All that was loaded.
#[derive(Debug)]
pub(crate) struct Content {
    /// By their names.
    files: IndexMap<String, TextFile>,
    /// Where these are.
    paths: HashSet<PathBuf>,
    #[cfg(feature = "sqlite")]
    pub(crate) tables: Tables,
    pub(crate) report: Vec<Line>,
    /// The quotes that were looked up. A submission is checked, and told about when its run has ended; and a
    /// text may be large, and a query slow.
    known: Mutex<HashMap<Source, QuoteLookup>>,
}

/// Where a quote is, or what to do about it, for a model.
type QuoteLookup = Result<FoundSource, String>;

impl Content {
    #[cfg_attr(not(feature = "sqlite"), allow(unused_variables, reason = "only tables are queried"))]
    pub(crate) fn new(max_rows: usize, query_timeout: Duration) -> Self {
        Self {
            files: IndexMap::new(),
            paths: HashSet::new(),
            #[cfg(feature = "sqlite")]
            tables: Tables::new(max_rows, query_timeout),
            report: Vec::new(),
            known: Mutex::default(),
        }
    }

    /// Whether the file was loaded already.
    pub(crate) fn has(&self, path: &Path) -> bool {
        #[cfg(feature = "sqlite")]
        if self.tables.paths().any(|loaded| loaded == path) {
            return true;
        }
        self.paths.contains(path)
    }

    pub(crate) fn add(&mut self, file: TextFile) {
        self.paths.extend(file.path.clone());
        self.files.insert(file.name.clone(), file);
    }

    /// Notes that a file was loaded that is not kept itself, such as an archive.
    #[cfg(feature = "archives")]
    pub(crate) fn note(&mut self, path: &Path) {
        self.paths.insert(path.to_path_buf());
    }

    /// The texts, in the order in which they were loaded.
    pub(crate) fn files(&self) -> impl ExactSizeIterator<Item = &TextFile> {
        self.files.values()
    }

    /// The files that were loaded.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let paths = self.paths.iter().map(PathBuf::as_path);
        #[cfg(feature = "sqlite")]
        let paths = paths.chain(self.tables.paths());
        paths
    }

    /// The name, or one like it that no other file has: names that are no UTF-8 may look the same.
    pub(crate) fn free_name(&self, name: &str) -> String {
        let is_taken = |name: &str| self.files.contains_key(name);
        let others = (2..).map(|number| format!("{name} ({number})"));
        std::iter::once(name.to_owned()).chain(others).find(|name| !is_taken(name)).unwrap_or_default()
    }

    /// Finds a quote. It blocks for as long as a query may take, but once for each quote.
    ///
    /// # Errors
    /// What to do about it, for a model.
    pub(crate) fn find(&self, source: &Source) -> QuoteLookup {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(looked) = known().get(source) {
            return looked.clone();
        }
        let looked = self.look_up(source);
        if !is_passing(&looked) {
            known().insert(source.clone(), looked.clone());
        }
        looked
    }

    fn look_up(&self, source: &Source) -> QuoteLookup {
        let quote = source.quote.trim();
        if quote.is_empty() {
            return Err("the quote is empty".to_owned());
        }
        if quote.chars().count() > MAX_QUOTE_CHARS {
            return Err(format!(
                "the quote is over {MAX_QUOTE_CHARS} characters: give the part that matters"
            ));
        }
        let found = |file: &str, position| {
            Ok(FoundSource { file: file.to_owned(), quote: quote.to_owned(), position })
        };
        let file = self.file(&source.file);
        if let Some(file) = file
            && let Some(position) = file.position_of(quote)
        {
            return found(file.name(), position);
        }
        #[cfg(feature = "sqlite")]
        if let Some(name) = self.tables.file(&source.file) {
            return match self.tables.evidence(quote) {
                Ok(position) => found(name, position),
                Err(problem) if file.is_none() || is_select(quote) => Err(problem),
                Err(_) => Err(not_there(name)),
            };
        }
        match file {
            Some(file) => Err(not_there(file.name())),
            None => Err(format!("no file is called {:?}", source.file)),
        }
    }

    /// The text of this name, or the only one whose path ends so.
    fn file(&self, name: &str) -> Option<&TextFile> {
        let exact = self.files.get(name);
        exact.or_else(|| only(self.files().filter(|file| ends_in(&file.name, name))))
    }
}

/// Whether it may be otherwise the next time: a database is locked for a while.
#[cfg(feature = "sqlite")]
fn is_passing(looked: &QuoteLookup) -> bool {
    looked.as_ref().is_err_and(|problem| problem == LOCKED)
}

#[cfg(not(feature = "sqlite"))]
fn is_passing(_: &QuoteLookup) -> bool {
    false
}

fn not_there(name: &str) -> String {
    format!("this is not in {name:?}; copy it from there, letter for letter")
}

#[cfg(feature = "sqlite")]
fn is_select(quote: &str) -> bool {
    let first = quote.split_whitespace().next().unwrap_or_default();
    first.eq_ignore_ascii_case("select") || first.eq_ignore_ascii_case("with")
}

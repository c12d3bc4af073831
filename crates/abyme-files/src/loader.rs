//! Loads files: finds them, reads them, and says of each what it was.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
    io::{self, Read},
    time::Duration,
};

use abyme_core::Value;
use serde::{Deserialize, Serialize};

use crate::{
    content::{Content, TextFile},
    documents,
    kind::Kind,
    loaded::Loaded,
    read::{self, Opened},
    report::{Outcome, size},
    text::{self, Decoded, NoText},
    walk::{self, FoundFile, Rules},
};

/// The name of what came on stdin.
const STDIN: &str = "stdin";
/// The largest JSON that is parsed for the model. Parsed, it takes several times its size.
const MAX_PARSED_BYTES: usize = 64 << 20;

/// What a [`Loader`] loads.
#[non_exhaustive]
pub enum Given {
    /// A file, a directory, a pattern, or `-` for stdin.
    Name(OsString),
    /// What comes from somewhere else, such as the body of an answer.
    #[non_exhaustive]
    Stream {
        /// What it is called, as if it were a file: the ending says what it holds.
        name: String,
        /// Where it is read from, once.
        from: Box<dyn Read + Send>,
    },
}

impl Given {
    /// What comes from somewhere else.
    pub fn stream(name: impl Into<String>, from: impl Read + Send + 'static) -> Self {
        Self::Stream { name: name.into(), from: Box::new(from) }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.debug_tuple("Name").field(name).finish(),
            Self::Stream { name, .. } => f.debug_struct("Stream").field("name", name).finish_non_exhaustive(),
        }
    }
}

impl<N: AsRef<OsStr>> From<N> for Given {
    fn from(name: N) -> Self {
        Self::Name(name.as_ref().to_owned())
    }
}

/// Loads files, directories and patterns as the inputs of a run.
///
/// ```
/// use abyme_files::Loader;
///
/// # let dir = tempfile::tempdir().unwrap();
/// # std::fs::write(dir.path().join("plans.csv"), "plan,refunds\nbasic,7\nplus,12\n").unwrap();
/// # std::env::set_current_dir(dir.path()).unwrap();
/// let loaded = Loader::new().load(["plans.csv", "missing.txt"]);
/// let said: Vec<_> = loaded.report().iter().map(|line| line.to_string()).collect();
/// assert_eq!(said[1], "missing.txt: there is no such file");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loader {
    max_total_bytes: u64,
    max_files: usize,
    hidden: bool,
    ignored: bool,
    max_rows: usize,
    #[serde(with = "abyme_core::seconds")]
    query_timeout: Duration,
}

impl Default for Loader {
    fn default() -> Self {
        Self {
            max_total_bytes: 1 << 30,
            max_files: 10_000,
            hidden: false,
            ignored: false,
            max_rows: 100_000,
            query_timeout: Duration::from_secs(30),
        }
    }
}

impl Loader {
    /// A loader with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many bytes all texts may have together, decompressed and as UTF-8; of a document its text
    /// counts. A file that does not fit is left out,
    /// and the report says so. Databases are not counted: they stay where they are. Default: 1 GiB.
    pub fn max_total_bytes(mut self, bytes: u64) -> Self {
        self.max_total_bytes = bytes;
        self
    }

    /// Sets how many files of all directories and patterns together are looked at. Default: 10 000.
    pub fn max_files(mut self, files: usize) -> Self {
        self.max_files = files;
        self
    }

    /// Sets whether files of a directory are loaded whose name, or whose directory's name, begins with a dot.
    /// Default: they are not.
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets whether files of a directory are loaded that `.gitignore`, `.ignore` and git's other lists name.
    /// Default: they are not.
    pub fn ignored(mut self, ignored: bool) -> Self {
        self.ignored = ignored;
        self
    }

    /// Sets how many rows a query may give. One that gives more is an error that the model reads. Default:
    /// 100 000.
    pub fn max_rows(mut self, rows: usize) -> Self {
        self.max_rows = rows;
        self
    }

    /// Sets how long a query may take. Default: 30 s.
    pub fn query_timeout(mut self, limit: Duration) -> Self {
        self.query_timeout = limit;
        self
    }

    /// Whether a name stands for files: `-`, what is there, or a pattern that matches something. Anything
    /// else on a command line is the question.
    pub fn is_file(&self, name: impl AsRef<OsStr>) -> bool {
        let name = name.as_ref();
        name == "-" || walk::stands_for_files(name, self.rules(self.max_files))
    }

    /// Loads what these names stand for: files, directories, patterns such as `reports/**/*.md`, and `-` for
    /// stdin; and streams. It blocks. What cannot be loaded is said in the [report](Loaded::report), and the
    /// rest goes on.
    pub fn load<G: Into<Given>>(&self, given: impl IntoIterator<Item = G>) -> Loaded {
        let mut loading = Loading {
            loader: self,
            content: Content::new(self.max_rows, self.query_timeout),
            bytes_left: self.max_total_bytes,
        };
        let mut files_left = self.max_files;
        let mut has_stdin = false;
        for given in given {
            let outcome = match given.into() {
                Given::Stream { name, from } => loading.add_stream(&name, from),
                Given::Name(name) if name == "-" && has_stdin => {
                    let mut outcome = Outcome::new("-".to_owned());
                    outcome.problem("-", "stdin can be read once only");
                    outcome
                }
                Given::Name(name) if name == "-" => {
                    has_stdin = true;
                    loading.add_stream(STDIN, Box::new(io::stdin()))
                }
                Given::Name(name) => {
                    let mut outcome = Outcome::new(name.to_string_lossy().into_owned());
                    let found = walk::find(&name, self.rules(files_left), &mut outcome);
                    // A file that is named itself is not one of many.
                    let of_many = found.iter().filter(|file| !file.is_named).count();
                    files_left = files_left.saturating_sub(of_many);
                    for file in &found {
                        loading.add_file(file, &mut outcome);
                    }
                    outcome
                }
            };
            loading.content.report.extend(outcome.lines());
        }
        Loaded::new(loading.content)
    }

    fn rules(&self, files_left: usize) -> Rules {
        Rules { hidden: self.hidden, ignored: self.ignored, max_files: self.max_files, files_left }
    }
}

struct Loading<'a> {
    loader: &'a Loader,
    content: Content,
    bytes_left: u64,
}

impl Loading<'_> {
    fn add_stream(&mut self, name: &str, from: Box<dyn Read + Send>) -> Outcome {
        let mut outcome = Outcome::new(name.to_owned());
        self.add(name, from, None, &mut outcome);
        outcome
    }

    fn add_file(&mut self, file: &FoundFile, outcome: &mut Outcome) {
        if self.content.has(&file.path) {
            return;
        }
        let status = match fs::metadata(&file.path) {
            Ok(status) => status,
            Err(error) => return outcome.problem(&file.name, walk::io_problem(&error)),
        };
        if !(status.is_file() || file.is_named && is_pipe(&status)) {
            return outcome.problem(&file.name, "no file and no pipe");
        }
        match read::open(&file.path) {
            Ok((opened, status)) => {
                self.add(&file.name, opened, Some((file, status)), outcome);
            }
            Err(error) => outcome.problem(&file.name, walk::io_problem(&error)),
        }
    }

    /// Adds what can be read from `input`. `file` is the file that it is.
    fn add(
        &mut self,
        name: &str,
        input: impl Read + 'static,
        file: Option<(&FoundFile, fs::Metadata)>,
        outcome: &mut Outcome,
    ) {
        let opened = match Opened::new(name, input) {
            Ok(opened) => opened,
            Err(error) => return outcome.problem(name, walk::io_problem(&error)),
        };
        let (kind, packing) = (opened.kind(), opened.packing);
        match kind {
            Kind::Sqlite if packing.is_some() || file.is_none() => {
                return outcome
                    .problem(name, "a SQLite database has to be a file, not compressed and not stdin");
            }
            Kind::Sqlite => return self.add_database(name, file.map(|(file, _)| file), outcome),
            Kind::Unread(what) => return outcome.problem(name, format!("{what}, which is not read")),
            _ if opened.head().is_empty() => return outcome.problem(name, "empty"),
            _ => {}
        }
        let is_document = matches!(kind, Kind::Pdf | Kind::Docx);
        match text::check_head(opened.head()) {
            Ok(()) => {}
            Err(_) if is_document => {}
            Err(NoText::Binary) => return outcome.problem(name, "binary, which is not read"),
            Err(NoText::Utf32) => {
                return outcome.problem(name, "UTF-32, which is not read; convert it to UTF-8");
            }
        }
        // What is known to be too large is not read.
        let length = file.as_ref().filter(|(_, status)| status.is_file()).map(|(_, status)| status.len());
        let too_large = |length: Option<u64>| {
            let length =
                length.map_or_else(|| "larger than".to_owned(), |bytes| format!("{}, over", size(bytes)));
            let (left, most) = (size(self.bytes_left), size(self.loader.max_total_bytes));
            format!("{length} the {left} left of the {most} that all files may have together")
        };
        if packing.is_none() && length.is_some_and(|bytes| bytes > self.bytes_left) {
            return outcome.problem(name, too_large(length));
        }
        let bytes = match opened.whole(self.bytes_left) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return outcome.problem(name, too_large(None)),
            Err(error) => return outcome.problem(name, walk::io_problem(&error)),
        };
        if let Some((found, before)) = file.as_ref().filter(|(_, status)| status.is_file()) {
            let read = packing.is_none().then_some(bytes.len());
            if read::has_changed(&found.path, before, read) {
                outcome.problem(name, "it changed while it was read; what was read until then is used");
            }
        }
        let size_read = bytes.len() as u64;
        let decoded = if is_document {
            match documents::text_of(kind, bytes, self.bytes_left) {
                Ok(Some(text)) => Decoded::of(text),
                Ok(None) => return outcome.problem(name, too_large(None)),
                Err(problem) => return outcome.problem(name, problem),
            }
        } else {
            text::decode(bytes)
        };
        // What is kept is the text, which may be longer than the file.
        let Some(left) = self.bytes_left.checked_sub(decoded.text.len() as u64) else {
            return outcome.problem(name, too_large(None));
        };
        self.bytes_left = left;
        let packed = packing.map(|packing| format!("decompressed ({})", packing.name()));
        let notes = packed.into_iter().chain(decoded.note()).collect();
        let name = self.content.free_name(name);
        let path = file.map(|(found, _)| found.path.clone());
        let mut text = TextFile::new(name.clone(), path, decoded, packing.is_none() && !is_document);
        let what = self.understood(kind, &mut text, outcome);
        outcome.loaded(&name, what, notes, size_read);
        self.content.add(text);
    }

    /// What a text is beyond its characters: parsed JSON, or a table.
    fn understood(&mut self, kind: Kind, text: &mut TextFile, outcome: &mut Outcome) -> String {
        let parsed = match kind {
            Kind::Json | Kind::JsonLines if text.text().len() > MAX_PARSED_BYTES => {
                return "JSON as text".to_owned();
            }
            Kind::Json => Value::parse_json(text.text()).map(|value| ("JSON".to_owned(), value)),
            Kind::JsonLines => json_lines(text.text()),
            #[cfg(feature = "sqlite")]
            Kind::Csv(has_tabs) => {
                return match self.content.tables.add_csv(text.name(), text.shared(), has_tabs) {
                    Ok(said) => said,
                    Err(problem) => {
                        outcome.problem(text.name(), format!("{problem}; it is there as text alone"));
                        "text".to_owned()
                    }
                };
            }
            Kind::Pdf => return "the text of a PDF".to_owned(),
            Kind::Docx => return "the text of a Word document".to_owned(),
            _ => return "text".to_owned(),
        };
        match parsed {
            Ok((what, value)) => {
                text.set_parsed(value);
                what
            }
            Err(error) => {
                outcome.problem(text.name(), format!("{}; it is there as text", error.message()));
                "text".to_owned()
            }
        }
    }

    #[cfg(feature = "sqlite")]
    fn add_database(&mut self, name: &str, file: Option<&FoundFile>, outcome: &mut Outcome) {
        let Some(file) = file else { return };
        match self.content.tables.add_database(name, &file.path) {
            Ok(said) => outcome.loaded(name, said, Vec::new(), 0),
            Err(problem) => outcome.problem(name, problem),
        }
    }

    #[cfg(not(feature = "sqlite"))]
    fn add_database(&mut self, name: &str, _: Option<&FoundFile>, outcome: &mut Outcome) {
        outcome.problem(name, "a SQLite database, which needs a build with the feature `sqlite`");
    }
}

/// A list with the value of each line.
fn json_lines(text: &str) -> abyme_core::Result<(String, Value)> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let values: abyme_core::Result<Vec<Value>> = lines
        .map(|(number, line)| {
            Value::parse_json(line).map_err(|error| error.context(format!("line {}", number + 1)))
        })
        .collect();
    values.map(|values| (format!("JSON Lines, a list of {}", values.len()), Value::List(values)))
}

#[cfg(unix)]
fn is_pipe(status: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&status.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &fs::Metadata) -> bool {
    false
}

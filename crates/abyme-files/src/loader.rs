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
    html::{self, Page},
    kind::Kind,
    loaded::Loaded,
    read::{self, Opened, Work},
    report::{Outcome, size},
    text::{self, Decoded, NoText},
    walk::{self, FoundFile, Rules},
};

/// The name of what came on stdin.
const STDIN: &str = "stdin";
/// The largest JSON that is parsed for the model. Parsed, it takes several times its size.
const MAX_PARSED_BYTES: usize = 64 << 20;
/// The most that is unpacked of one archive for each byte that all texts may have, and where that is little.
/// Files that are left out take time, too, and a small archive may hold very much.
const MAX_UNPACKED: (u64, u64) = (4, 4 << 20);

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
    html_source: bool,
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
            html_source: false,
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
    /// counts, of HTML that and its source. A file that does not fit is left out, and the report says so. Of
    /// one archive, four times as much is unpacked, files that are left out included. Databases are not
    /// counted: they stay where they are. Default: 1 GiB.
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

    /// Sets whether HTML is loaded as its source, tags and all. Default: what a reader sees of the page.
    pub fn html_source(mut self, source: bool) -> Self {
        self.html_source = source;
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
            files_left: self.max_files,
        };
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
                    let found = walk::find(&name, self.rules(loading.files_left), &mut outcome);
                    // A file that is named itself is not one of many.
                    let of_many = found.iter().filter(|file| !file.is_named).count();
                    loading.files_left = loading.files_left.saturating_sub(of_many);
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
    files_left: usize,
}

/// Where something comes from that is loaded.
enum Origin<'a> {
    File(&'a FoundFile, fs::Metadata),
    Stream,
    #[cfg_attr(not(feature = "archives"), allow(dead_code, reason = "only that feature opens archives"))]
    Archive {
        /// As the archive says.
        bytes: u64,
        work: &'a Work,
    },
}

impl<'a> Origin<'a> {
    /// A regular file, and what is known of it.
    fn file(&self) -> Option<(&'a FoundFile, &fs::Metadata)> {
        match self {
            Self::File(file, status) if status.is_file() => Some((*file, status)),
            _ => None,
        }
    }

    /// How many bytes it has, compressed or not, if that is known before it is read.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Archive { bytes, .. } => Some(*bytes),
            _ => self.file().map(|(_, status)| status.len()),
        }
    }

    /// The work that it takes part of.
    fn work(&self) -> Option<&'a Work> {
        match self {
            Self::Archive { work, .. } => Some(*work),
            Self::File(..) | Self::Stream => None,
        }
    }
}

impl Loading<'_> {
    fn add_stream(&mut self, name: &str, from: Box<dyn Read + Send>) -> Outcome {
        let mut outcome = Outcome::new(name.to_owned());
        self.add(name, from, Origin::Stream, &mut outcome);
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
                self.add(&file.name, opened, Origin::File(file, status), outcome);
            }
            Err(error) => outcome.problem(&file.name, walk::io_problem(&error)),
        }
    }

    /// Adds what can be read from `input`.
    fn add<'i>(&mut self, name: &str, input: impl Read + 'i, origin: Origin<'_>, outcome: &mut Outcome) {
        let mut opened = match Opened::new(name, input) {
            Ok(opened) => opened,
            Err(error) => return outcome.problem(name, self.read_problem(&origin, &error)),
        };
        let (kind, packing) = (opened.kind(), opened.packing);
        // What a compressed file in an archive holds is unpacked, too.
        if let Some(work) = origin.work().filter(|_| packing.is_some()) {
            opened = opened.within(work);
        }
        match kind {
            Kind::Sqlite | Kind::Parquet => {
                let what = if kind == Kind::Sqlite { "SQLite database" } else { "Parquet file" };
                let Some((file, _)) = origin.file().filter(|_| packing.is_none()) else {
                    let why = "has to be a file of its own: not compressed, not in an archive and not stdin";
                    return outcome.problem(name, format!("a {what} {why}"));
                };
                return match kind {
                    Kind::Sqlite => self.add_database(name, file, outcome),
                    _ => self.add_parquet(name, file, outcome),
                };
            }
            Kind::Zip | Kind::Tar => return self.add_archive(name, opened, &origin, outcome),
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
        let length = origin.length();
        if packing.is_none() && length.is_some_and(|bytes| bytes > self.bytes_left) {
            return outcome.problem(name, self.too_large(length));
        }
        let bytes = match opened.whole(self.bytes_left) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return outcome.problem(name, self.too_large(None)),
            Err(error) => return outcome.problem(name, self.read_problem(&origin, &error)),
        };
        if let Some((found, before)) = origin.file() {
            let read = packing.is_none().then_some(bytes.len());
            if read::has_changed(&found.path, before, read) {
                outcome.problem(name, "it changed while it was read; what was read until then is used");
            }
        }
        let size_read = bytes.len() as u64;
        let decoded = if is_document {
            match documents::text_of(kind, bytes, self.bytes_left) {
                Ok(Some(text)) => Decoded::of(text),
                Ok(None) => return outcome.problem(name, self.too_large(None)),
                Err(problem) => return outcome.problem(name, problem),
            }
        } else {
            let declared = matches!(kind, Kind::Html(_)).then(|| html::declared_encoding(&bytes)).flatten();
            text::decode(bytes, declared)
        };
        let page = match kind {
            Kind::Html(is_xml) if !self.loader.html_source => Some(Page::of(&decoded.text, is_xml)),
            _ => None,
        };
        // What is kept is the text, which may be longer than the file; of a page its source, too.
        let kept = decoded.text.len() + page.as_ref().map_or(0, |page| page.text().len());
        let Some(left) = self.bytes_left.checked_sub(kept as u64) else {
            return outcome.problem(name, self.too_large(None));
        };
        self.bytes_left = left;
        let packed = packing.map(|packing| format!("decompressed ({})", packing.name()));
        let mut notes: Vec<String> = packed.into_iter().chain(decoded.note()).collect();
        let name = self.content.free_name(name);
        let path = match &origin {
            Origin::File(found, _) => Some(found.path.clone()),
            Origin::Stream | Origin::Archive { .. } => None,
        };
        let is_plain = packing.is_none() && !is_document && !matches!(origin, Origin::Archive { .. });
        let mut text = TextFile::new(name.clone(), path, decoded, is_plain);
        let what = match page {
            Some(page) if !page.text().is_empty() => {
                text.set_page(page);
                notes.push("HTML without its markup".to_owned());
                "text".to_owned()
            }
            Some(_) => {
                outcome.problem(
                    &name,
                    "no text is in this page, which may be made by a script; its source is there",
                );
                "text".to_owned()
            }
            None => self.understood(kind, &mut text, outcome),
        };
        outcome.loaded(&name, what, notes, size_read);
        self.content.add(text);
    }

    /// What is said of something that does not fit any more.
    fn too_large(&self, length: Option<u64>) -> String {
        let length =
            length.map_or_else(|| "larger than".to_owned(), |bytes| format!("{}, over", size(bytes)));
        let (left, most) = (size(self.bytes_left), size(self.loader.max_total_bytes));
        format!("{length} the {left} left of the {most} that all files may have together")
    }

    /// Why something could not be read.
    fn read_problem(&self, origin: &Origin<'_>, error: &io::Error) -> String {
        match origin.work() {
            Some(work) if work.is_used_up() => self.too_much_work(),
            _ => walk::io_problem(error),
        }
    }

    /// How many bytes of one archive are unpacked.
    fn max_unpacked(&self) -> u64 {
        self.loader.max_total_bytes.saturating_mul(MAX_UNPACKED.0).max(MAX_UNPACKED.1)
    }

    /// What is said of an archive that ends before its end, and of the file at which it does.
    fn too_much_work(&self) -> String {
        let most = size(self.max_unpacked());
        format!("the archive has more than {most} to unpack, and what comes after that is left out")
    }

    /// Adds the files of an archive, as those of a directory.
    #[cfg(feature = "archives")]
    fn add_archive(
        &mut self,
        name: &str,
        opened: Opened<Box<dyn Read + '_>>,
        origin: &Origin<'_>,
        outcome: &mut Outcome,
    ) {
        use std::ops::ControlFlow;

        use crate::archives::{Archive, Member, each_member};

        if let Origin::Archive { .. } = origin {
            return outcome.problem(name, "an archive in an archive, which is not read");
        }
        outcome.is_many = true;
        let archive = match (opened.kind(), origin.file(), opened.packing) {
            (Kind::Tar, ..) => Archive::Tar(Box::new(opened.reader())),
            (_, Some((file, _)), None) => Archive::ZipFile(&file.path),
            _ => match opened.whole(self.bytes_left) {
                Ok(Some(bytes)) => Archive::Zip(bytes),
                Ok(None) => return outcome.problem(name, self.too_large(None)),
                Err(error) => return outcome.problem(name, walk::io_problem(&error)),
            },
        };
        let (mut seen, hidden) = (0, self.loader.hidden);
        let work = Work::new(self.max_unpacked());
        let shown = each_member(archive, &work, |member, content| {
            seen += 1;
            let of_archive = format!("{name}/{member}");
            match content {
                _ if seen > walk::MAX_ENTRIES => {
                    outcome.problem(name, walk::too_many_entries());
                    return ControlFlow::Break(());
                }
                _ if walk::is_skipped_member(member, hidden) => {}
                _ if self.files_left == 0 => {
                    outcome.problem(name, walk::too_many(self.loader.max_files));
                    return ControlFlow::Break(());
                }
                Member::Other(why) => outcome.problem(&of_archive, why),
                Member::File(content, bytes) => {
                    self.files_left -= 1;
                    self.add(&of_archive, content, Origin::Archive { bytes, work: &work }, outcome);
                }
            }
            if work.is_used_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // Its files have names of their own, and no paths.
        if let Origin::File(file, _) = origin
            && seen > 0
        {
            self.content.note(&file.path);
        }
        match shown {
            // The same is said of the file at which it ended, so that this is one line.
            _ if work.is_used_up() => outcome.problem(name, self.too_much_work()),
            Err(problem) => outcome.problem(name, problem),
            Ok(()) if seen == 0 => outcome.problem(name, "there is no file in it"),
            Ok(()) => {}
        }
    }

    #[cfg(not(feature = "archives"))]
    fn add_archive(
        &mut self,
        name: &str,
        _: Opened<Box<dyn Read + '_>>,
        _: &Origin<'_>,
        outcome: &mut Outcome,
    ) {
        outcome.problem(name, "an archive, which needs a build with the feature `archives`");
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
    fn add_database(&mut self, name: &str, file: &FoundFile, outcome: &mut Outcome) {
        match self.content.tables.add_database(name, &file.path) {
            Ok(said) => outcome.loaded(name, said, Vec::new(), 0),
            Err(problem) => outcome.problem(name, problem),
        }
    }

    #[cfg(not(feature = "sqlite"))]
    fn add_database(&mut self, name: &str, _: &FoundFile, outcome: &mut Outcome) {
        outcome.problem(name, "a SQLite database, which needs a build with the feature `sqlite`");
    }

    #[cfg(feature = "parquet")]
    fn add_parquet(&mut self, name: &str, file: &FoundFile, outcome: &mut Outcome) {
        match self.content.tables.add_parquet(name, &file.path, self.bytes_left) {
            Ok(Some((said, bytes))) => {
                self.bytes_left -= bytes;
                outcome.loaded(name, said, Vec::new(), bytes);
            }
            Ok(None) => outcome.problem(name, self.too_large(None)),
            Err(problem) => outcome.problem(name, problem),
        }
    }

    #[cfg(not(feature = "parquet"))]
    fn add_parquet(&mut self, name: &str, _: &FoundFile, outcome: &mut Outcome) {
        outcome.problem(name, "a Parquet file, which needs a build with the feature `parquet`");
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

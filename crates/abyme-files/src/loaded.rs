//! Loaded files as the task of a run: inputs, tools, outputs with sources.

use std::{
    fmt::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "sqlite")]
use abyme_core::HostError;
use abyme_core::{
    Error, ErrorKind, Field, FieldType, FunctionSpec, Inputs, Result, TaskSignature, Tool, Value,
};

use crate::{
    content::Content,
    report::{Line, size},
    sources::{FoundSource, MissingSource, Source},
};

/// The input that is asked.
const QUESTION: &str = "question";
/// The input with the texts.
const FILES: &str = "files";
/// The output with the quotes.
const SOURCES: &str = "sources";
/// The tool for tables.
const QUERY: &str = "query";
/// How the tool is described begins so.
const QUERY_DOES: &str = "Gives the rows of a query over the tables of the task, as dicts by column.";
/// What the model is told. A text for a model.
const TASK: &str = include_str!("prompt/task.md");
/// How many characters of the task list files, and how many list tables.
const MAX_LIST_CHARS: usize = 8_000;
/// How often a submission goes back for its quotes. The answer that was paid for is not lost over them.
const MAX_REFUSALS: u32 = 3;

/// What a [`Loader`](crate::Loader) loaded. Clones share it.
#[derive(Clone, Debug)]
pub struct Loaded {
    content: Arc<Content>,
}

impl Loaded {
    pub(crate) fn new(content: Content) -> Self {
        Self { content: Arc::new(content) }
    }

    /// What was loaded, and what was left out and why.
    pub fn report(&self) -> &[Line] {
        &self.content.report
    }

    /// Whether there is nothing to ask about.
    pub fn is_empty(&self) -> bool {
        self.content.files().len() == 0 && self.tables().is_empty()
    }

    /// How many bytes of text the session will hold.
    pub fn text_bytes(&self) -> u64 {
        self.content.files().map(|file| file.text().len() as u64).sum()
    }

    /// The files that were loaded.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.content.paths()
    }

    /// The inputs of a run that answers `question`: `question`, and `files`, a dict of texts and parsed JSON
    /// by their names. The texts are shared with this value.
    pub fn inputs(&self, question: impl Into<String>) -> Inputs {
        let inputs = Inputs::new().with(QUESTION, question.into());
        if self.content.files().len() == 0 {
            return inputs;
        }
        inputs.with(FILES, Value::dict(self.content.files().map(|file| (file.name(), file.value()))))
    }

    /// The tools of the run: `query(sql)`, where there are tables. It reads alone, and keeps to the limits of
    /// the loader.
    pub fn tools(&self) -> Vec<Tool> {
        #[cfg(feature = "sqlite")]
        if !self.content.tables.is_empty() {
            return vec![query_tool(self.content.clone())];
        }
        Vec::new()
    }

    /// The task: a question about the files, these outputs, and `sources`, whose quotes are looked up before
    /// a submission is taken. What is not found goes back to the model, three times at most; after that, or
    /// where the model says the same again, it is taken, and [`sources`](Self::sources) tells what is
    /// missing.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] if an output cannot be one, or is called `sources`, `files` or `question`.
    pub fn signature(&self, outputs: impl IntoIterator<Item = Field>) -> Result<TaskSignature> {
        let outputs: Vec<Field> = outputs.into_iter().collect();
        if outputs.iter().any(|field| field.name() == SOURCES) {
            let message =
                "the output `sources` has the quotes that the answer rests on: call yours otherwise";
            return Err(Error::new(ErrorKind::Signature, message));
        }
        let (content, refusals) = (self.content.clone(), Mutex::new(Refusals::default()));
        let check = move |sources: &Vec<Source>| {
            let missing = missing(&content, sources);
            let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if missing.is_empty() || !refusals.add(&missing) {
                return Ok(());
            }
            let words = missing.iter().map(|(index, _, problem)| format!("[{index}]: {problem}"));
            Err(words.collect::<Vec<_>>().join("; "))
        };
        let sources = Field::of::<Vec<Source>>(SOURCES).check("quotes that are in their files", check);
        let mut inputs = vec![Field::new(QUESTION, FieldType::Str)];
        if self.content.files().len() > 0 {
            inputs.push(Field::untyped(FILES).with_description("What the files hold, by their names"));
        }
        let task = TaskSignature::new(inputs, outputs.into_iter().chain([sources]))?;
        Ok(task.with_instructions(TASK.replace("{{files}}", &self.listed())))
    }

    /// The task of a recorded question about these files, which is to go on: its outputs, with quotes that
    /// are looked up again. It is another task where the files are not as they were.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`] for a task that is no question about files.
    pub fn signature_again(&self, recorded: &TaskSignature) -> Result<TaskSignature> {
        if recorded.input(QUESTION).is_none() || recorded.output(SOURCES).is_none() {
            let message =
                "the record is not of a question about files: it has no `question`, or no `sources`";
            return Err(Error::new(ErrorKind::Signature, message));
        }
        let outputs = recorded.outputs().iter().filter(|field| field.name() != SOURCES);
        self.signature(outputs.cloned())
    }

    /// Whether a recorded tool is one of [`tools`](Self::tools), which works with its files alone.
    pub fn is_own_tool(recorded: &FunctionSpec) -> bool {
        recorded.name == QUERY && recorded.description.starts_with(QUERY_DOES)
    }

    /// What a file or directory became that was given by this name: the value of a file; of a directory a
    /// dict of those of its files, by their names below it. `None` where nothing of it was loaded as a value.
    pub fn value_of(&self, given: impl AsRef<Path>) -> Option<Value> {
        let given = given.as_ref();
        // As the names of files are shown.
        let given = given.strip_prefix(".").unwrap_or(given);
        let mut files = self.content.files();
        if let Some(file) = files.find(|file| Path::new(file.name()) == given) {
            return Some(file.value());
        }
        let below = self.content.files().filter_map(|file| {
            let name = Path::new(file.name()).strip_prefix(given).ok()?;
            Some((name.to_string_lossy().into_owned(), file.value()))
        });
        let below: Vec<_> = below.collect();
        (!below.is_empty()).then(|| Value::dict(below))
    }

    /// The quotes of submitted `sources`, each found or not. It blocks where a quote was not looked up
    /// before, as those of a submission were: for as long as a query may take.
    pub fn sources(&self, submitted: &Value) -> Vec<Result<FoundSource, MissingSource>> {
        let sources: Vec<Source> = submitted.to().unwrap_or_default();
        let find =
            |source: Source| self.content.find(&source).map_err(|problem| MissingSource { source, problem });
        sources.into_iter().map(find).collect()
    }

    /// What there is, for the model.
    fn listed(&self) -> String {
        let files: Vec<_> = self
            .content
            .files()
            .map(|file| {
                let size = size(file.text().len() as u64);
                format!("- {:?}: {} ({size})", file.name(), file.type_name())
            })
            .collect();
        let mut text = String::new();
        let mut list = |head: &str, lines: &[String], rest: &str| {
            if lines.is_empty() {
                return;
            }
            let mut chars = 0;
            let shown = lines.iter().take_while(|line| {
                chars += line.chars().count();
                chars <= MAX_LIST_CHARS
            });
            let shown: Vec<_> = shown.map(String::as_str).collect();
            let more = lines.len() - shown.len();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{head}\n{}", shown.join("\n"));
            if more > 0 {
                let _ = writeln!(text, "- and {more} more: {rest}");
            }
            text.push('\n');
        };
        list("`files` is a dict of these names:", &files, "`list(files)` has all names");
        let rest = "`query(\"SELECT name, sql FROM sqlite_schema\")` tells of them, for those of a database \
                    with its name before `sqlite_schema`";
        list("`query(sql)` answers SQLite's SQL over these tables:", &self.tables(), rest);
        text.trim_end().to_owned()
    }

    #[cfg(feature = "sqlite")]
    fn tables(&self) -> Vec<String> {
        self.content.tables.described()
    }

    #[cfg(not(feature = "sqlite"))]
    fn tables(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A source that was not found: its index, itself, and what is wrong with it, in words for a model.
type Missing<'a> = (usize, &'a Source, String);

fn missing<'a>(content: &Content, sources: &'a [Source]) -> Vec<Missing<'a>> {
    let problem = |(index, source)| content.find(source).err().map(|problem| (index, source, problem));
    sources.iter().enumerate().filter_map(problem).collect()
}

/// How often submissions went back.
#[derive(Debug, Default)]
struct Refusals {
    count: u32,
    last: Vec<Source>,
}

impl Refusals {
    /// Counts one. Says whether a further one makes sense.
    fn add(&mut self, missing: &[Missing<'_>]) -> bool {
        let missing: Vec<Source> = missing.iter().map(|(_, source, _)| (*source).clone()).collect();
        let is_again = self.last == missing;
        self.last = missing;
        self.count += 1;
        self.count <= MAX_REFUSALS && !is_again
    }
}

/// The tool `query`.
#[cfg(feature = "sqlite")]
fn query_tool(content: Arc<Content>) -> Tool {
    /// Its arguments.
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Query {
        /// One SELECT in SQLite's SQL
        sql: String,
    }
    let max_rows = content.tables.max_rows;
    let description = format!(
        "{QUERY_DOES} It only reads. More than {max_rows} rows are an error: aggregate, or use LIMIT."
    );
    let query = move |Query { sql }: Query| content.tables.query(&sql).map_err(HostError::runtime_error);
    Tool::new(QUERY, description, query).returns("list[dict[str, Any]]")
}

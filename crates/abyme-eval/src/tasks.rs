//! The tasks of a file.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use abyme_core::{Error, ErrorKind, Inputs, Result, TaskSignature, Value, without_lone_surrogates};
use twox_hash::XxHash3_64;

use crate::{
    scorer::Scorer,
    task::{Task, TaskInput, TextFile},
};

/// The longest line of a file of tasks: 1 GiB.
const MAX_LINE_BYTES: u64 = 1 << 30;

/// The tasks of a file of JSON Lines. What they are is checked when the file is opened; their inputs, which
/// may be large, are read again when they are needed.
#[derive(Clone, Debug)]
pub struct Tasks {
    path: PathBuf,
    entries: Vec<TaskEntry>,
    signatures: Vec<TaskSignature>,
}

/// What is kept of a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskEntry {
    /// Its name.
    pub id: String,
    /// What it has in common with others.
    pub group: String,
    /// The hash of the whole task and of the files that it names, 16 hexadecimal digits.
    pub hash: String,
    /// The bytes of its inputs and its question together.
    pub input_bytes: u64,
    /// Whether a model has to decide about its answers.
    pub is_judged: bool,
    /// Where it begins in the file, and how long it is.
    offset: u64,
    length: u64,
    line: usize,
}

/// A task with its inputs.
#[derive(Clone, Debug)]
pub(crate) struct LoadedTask {
    pub(crate) task: Task,
    pub(crate) inputs: Inputs,
}

impl Tasks {
    /// Opens a file and checks its tasks. Empty lines are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file, or one that a task names, cannot be read;
    /// [`ErrorKind::InvalidInput`] with the line if something is no task, if two have the same name, or if
    /// there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let mut tasks = Self { path, entries: Vec::new(), signatures: Vec::new() };
        let mut file = BufReader::new(tasks.file()?);
        let (mut offset, mut number, mut lines, mut files) = (0, 0, HashMap::new(), HashMap::new());
        loop {
            let mut line = Vec::new();
            let read = (&mut file).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            let length = read.map_err(|error| tasks.unreadable(error))? as u64;
            if length == 0 {
                break;
            }
            number += 1;
            if length == MAX_LINE_BYTES {
                return Err(tasks.wrong(number, "longer than 1 GiB"));
            }
            if !line.trim_ascii().is_empty() {
                let id = tasks.add(&line, offset, number, &mut files)?.id.clone();
                if let Some(before) = lines.insert(id.clone(), number) {
                    return Err(
                        tasks.wrong(number, format!("the task of line {before} is called `{id}` too"))
                    );
                }
            }
            offset += length;
        }
        match tasks.entries.is_empty() {
            true => Err(Error::new(ErrorKind::InvalidInput, format!("{} has no task", tasks.path.display()))),
            false => Ok(tasks),
        }
    }

    /// What is kept of each task, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[TaskEntry] {
        &self.entries
    }

    /// The signatures of the tasks, each once.
    #[must_use]
    pub fn signatures(&self) -> &[TaskSignature] {
        &self.signatures
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a task with its inputs.
    pub(crate) fn load(&self, entry: &TaskEntry) -> Result<LoadedTask> {
        let mut line = vec![0; usize::try_from(entry.length).unwrap_or(usize::MAX)];
        let mut file = self.file()?;
        let read = file.seek(SeekFrom::Start(entry.offset)).and_then(|_| file.read_exact(&mut line));
        read.map_err(|error| self.unreadable(error))?;
        let task = self.read(&line, entry.line)?;
        let inputs = task.values(self.directory()).map_err(|error| error.context(self.at(entry.line)))?;
        let of_file = |name: &str, _: &TextFile| {
            let text = inputs.get(name).and_then(Value::as_text).unwrap_or_default();
            Ok(FileIdentity::of(text))
        };
        if identity(&line, &task, of_file)?.0 != entry.hash {
            return Err(self.wrong(entry.line, "another task than before: something changes the file"));
        }
        Ok(LoadedTask { task, inputs })
    }

    /// Adds a task. A file that many tasks name is read once.
    fn add(
        &mut self,
        line: &[u8],
        offset: u64,
        number: usize,
        files: &mut HashMap<PathBuf, FileIdentity>,
    ) -> Result<&TaskEntry> {
        let task = self.read(line, number)?;
        let signature = task.signature().map_err(|error| self.wrong(number, error.message()))?;
        task.scorer.check(&task.expected).map_err(|problem| self.wrong(number, problem))?;
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
        let of_file = |_: &str, named: &TextFile| {
            if let Some(known) = files.get(&named.file) {
                return Ok(*known);
            }
            let text = named.read(self.directory()).map_err(|error| error.context(self.at(number)))?;
            Ok(*files.entry(named.file.clone()).or_insert(FileIdentity::of(&text)))
        };
        let (hash, input_bytes) = identity(line, &task, of_file)?;
        let id = if task.id.is_empty() { format!("task-{number}") } else { task.id };
        let length = line.len() as u64;
        let is_judged = task.scorer == Scorer::Judge;
        let group = task.group;
        self.entries.push(TaskEntry {
            id,
            group,
            hash,
            input_bytes,
            is_judged,
            offset,
            length,
            line: number,
        });
        Ok(&self.entries[self.entries.len() - 1])
    }

    /// Reads a task.
    fn read(&self, line: &[u8], number: usize) -> Result<Task> {
        let json = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let task = serde_json::from_slice::<Task>(&without_lone_surrogates(json));
        task.map_err(|error| self.wrong(number, format!("no task: {error}")))
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn file(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: std::io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("cannot read {}: {error}", self.path.display())).with_source(error)
    }

    fn wrong(&self, number: usize, problem: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::InvalidInput, format!("{}: {problem}", self.at(number)))
    }

    fn at(&self, number: usize) -> String {
        format!("{}, line {number}", self.path.display())
    }
}

/// What a file holds, as far as a task differs by it.
#[derive(Clone, Copy, Debug)]
struct FileIdentity {
    hash: u64,
    bytes: u64,
}

impl FileIdentity {
    fn of(text: &str) -> Self {
        Self { hash: XxHash3_64::oneshot(text.as_bytes()), bytes: text.len() as u64 }
    }
}

/// The hash of a task, and the bytes of its inputs. What a file holds counts, not its name. `of_file` is
/// asked for each input that is a file.
fn identity(
    line: &[u8],
    task: &Task,
    mut of_file: impl FnMut(&str, &TextFile) -> Result<FileIdentity>,
) -> Result<(String, u64)> {
    let (mut hashed, mut input_bytes) = (line.trim_ascii().to_vec(), task.question.len() as u64);
    for (name, input) in &task.inputs {
        input_bytes += match input {
            TaskInput::Value(json) => json.as_str().map_or_else(|| json.to_string().len(), str::len) as u64,
            TaskInput::File(file) => {
                let FileIdentity { hash, bytes } = of_file(name, file)?;
                hashed.extend(hash.to_be_bytes());
                bytes
            }
        };
    }
    Ok((format!("{:016x}", XxHash3_64::oneshot(&hashed)), input_bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::task::QUESTION;

    fn open(text: &str) -> (tempfile::TempDir, Result<Tasks>) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("docs.txt"), "A text.").unwrap();
        let path = directory.path().join("tasks.jsonl");
        fs::write(&path, text).unwrap();
        let tasks = Tasks::open(path);
        (directory, tasks)
    }

    #[test]
    fn tasks_are_read_with_their_files() {
        let (directory, tasks) = open(
            "\n{\"question\": \"a?\", \"expected\": 1}\n\n{\"id\": \"b\", \"question\": \"b?\", \
              \"expected\": 2, \
             \"inputs\": {\"docs\": {\"file\": \"docs.txt\"}, \"n\": [1]}, \"scorer\": \"number\"}",
        );
        let mut tasks = tasks.unwrap();
        let ids: Vec<_> = tasks.entries().iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["task-2", "b"]);
        let signatures: Vec<_> = tasks.signatures().iter().map(ToString::to_string).collect();
        assert_eq!(signatures, ["question: str -> answer: str", "docs, n, question: str -> answer: float"]);
        let entry = tasks.entries()[1].clone();
        assert_eq!(entry.input_bytes, 7 + 3 + 2);
        let loaded = tasks.load(&entry).unwrap();
        assert_eq!(loaded.inputs.get("docs").unwrap().as_text(), Some("A text."));
        assert_eq!(loaded.inputs.get(QUESTION).unwrap().as_text(), Some("b?"));
        fs::write(directory.path().join("docs.txt"), "Another.").unwrap();
        let error = tasks.load(&entry).unwrap_err();
        assert!(error.message().contains("line 4: another task"), "{error}");
        tasks = Tasks::open(tasks.path()).unwrap();
        assert_ne!(tasks.entries()[1].hash, entry.hash, "the file is part of the task");
    }

    #[test]
    fn half_of_a_surrogate_pair_is_a_question_mark() {
        let (_directory, tasks) = open(r#"{"question": "ab\ud83d", "expected": 1}"#);
        let tasks = tasks.unwrap();
        let loaded = tasks.load(&tasks.entries()[0]).unwrap();
        assert_eq!(loaded.inputs.get(QUESTION).unwrap().as_text(), Some("ab?"));
    }

    #[test]
    fn tasks_that_name_one_file_differ_with_it() {
        let task = |id: &str, file: &str| {
            format!(
                "{{\"id\": \"{id}\", \"question\": \"?\", \"expected\": 1, \
                     \"inputs\": {{\"docs\": {{\"file\": \"{file}\"}}}}}}\n"
            )
        };
        let text = task("a", "docs.txt") + &task("b", "docs.txt") + &task("c", "./docs.txt");
        let (directory, tasks) = open(&text);
        let tasks = tasks.unwrap();
        for entry in tasks.entries() {
            assert_eq!(entry.input_bytes, 7 + 1);
            assert_eq!(tasks.load(entry).unwrap().inputs.get("docs").unwrap().as_text(), Some("A text."));
        }
        fs::write(directory.path().join("docs.txt"), "Another").unwrap();
        let changed = Tasks::open(tasks.path()).unwrap();
        for (before, after) in tasks.entries().iter().zip(changed.entries()) {
            assert_ne!(before.hash, after.hash);
            assert!(tasks.load(before).is_err() && changed.load(after).is_ok());
        }
    }

    #[test]
    fn what_is_no_task_is_named_by_its_line() {
        for (text, said) in [
            ("", "has no task"),
            ("{\"question\": \"a?\", \"expected\": 1}\n{\"question\": 2}", "line 2: no task: invalid type"),
            ("{\"question\": \"a?\", \"expect\": 1}", "line 1: no task: unknown field `expect`"),
            ("{\"question\": \"a?\"}", "missing field `expected`"),
            ("{\"question\": \"?\", \"expected\": \"x\", \"scorer\": \"number\"}", "has to be a number"),
            ("{\"question\": \"?\", \"expected\": 1, \"output\": \"inte\"}", "did you mean `int`"),
            (
                "{\"question\": \"?\", \"expected\": 1, \"inputs\": {\"question\": 1}}",
                "no input can be called",
            ),
            ("{\"question\": \"?\", \"expected\": 1, \"inputs\": {\"a\": {\"file\": \"no\"}}}", "line 1"),
            (
                "{\"id\":\"a\",\"question\":\"\",\"expected\":1}\n{\"id\":\"a\",\"question\":\"\",\"expected\":1}",
                "line 2: the task of line 1 is called `a` too",
            ),
        ] {
            let error = open(text).1.unwrap_err();
            assert!(error.message().contains(said), "{error}");
        }
    }
}

//! The file of results: what is done is found there again, whatever ended the evaluation.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use abyme_core::{Error, ErrorKind, Result};
use tokio::task::spawn_blocking;

use crate::result::TaskResult;

/// The results of an evaluation in a file of JSON Lines, held by the one process that adds to it.
#[derive(Debug)]
pub(crate) struct Results {
    path: PathBuf,
    file: Arc<File>,
    /// Bytes of the whole lines.
    whole_bytes: u64,
    lines: Vec<TaskResult>,
}

impl Results {
    /// Opens the file, or makes it. A last line that was not written whole is cut off.
    pub(crate) fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Answers may hold what is secret.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(|error| cannot("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is in use: another evaluation adds to it", path.display());
                return Err(Error::new(ErrorKind::Io, message));
            }
            // Some file systems have no locks.
            Err(TryLockError::Error(_)) => {}
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| cannot("read", &path, error))?;
        let (lines, whole_bytes) = read(&bytes).map_err(|error| error.context(path.display()))?;
        if whole_bytes < bytes.len() as u64 {
            cut(&file, whole_bytes).map_err(|error| cannot("mend", &path, error))?;
        }
        Ok(Self { path, file: Arc::new(file), whole_bytes, lines })
    }

    /// All results so far, in the order in which they came.
    pub(crate) fn lines(&self) -> &[TaskResult] {
        &self.lines
    }

    /// Adds a result, and waits until the disk has it. If it cannot be written, the file is as it was.
    pub(crate) async fn add(&mut self, result: TaskResult) -> Result<()> {
        let mut line = serde_json::to_vec(&result).map_err(|error| {
            Error::new(ErrorKind::Internal, "a result cannot be written as JSON").with_source(error)
        })?;
        line.push(b'\n');
        let (bytes, whole_bytes, file) = (line.len() as u64, self.whole_bytes, self.file.clone());
        let written = spawn_blocking(move || {
            (&*file).write_all(&line).and_then(|()| file.sync_data()).inspect_err(|_| {
                // What is left of the line is also cut off at the next start.
                let _ = cut(&file, whole_bytes);
            })
        });
        let written = written.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| cannot("write", &self.path, error))?;
        self.whole_bytes += bytes;
        self.lines.push(result);
        Ok(())
    }
}

/// Goes back to the end of the last whole line.
fn cut(mut file: &File, whole_bytes: u64) -> std::io::Result<()> {
    file.set_len(whole_bytes)?;
    file.seek(SeekFrom::Start(whole_bytes)).map(drop)
}

/// The results, and how many bytes their lines have. The last line may be torn.
fn read(bytes: &[u8]) -> Result<(Vec<TaskResult>, u64)> {
    let (mut results, mut whole) = (Vec::new(), 0);
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_last = whole + line.len() == bytes.len();
        match serde_json::from_slice(line) {
            Ok(result) if line.ends_with(b"\n") => results.push(result),
            _ if line.trim_ascii().is_empty() && line.ends_with(b"\n") => {}
            _ if is_last && !line.ends_with(b"\n") => break,
            Ok(_) => {}
            Err(error) => {
                let message = format!("line {} is damaged: {error}", index + 1);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        }
        whole += line.len();
    }
    Ok((results, whole as u64))
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what} {}: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use abyme_core::Usage;

    use super::*;
    use crate::result::Outcome;

    fn result(task: &str) -> TaskResult {
        TaskResult {
            task: task.to_owned(),
            task_hash: "0".repeat(16),
            setting: "m".to_owned(),
            setting_hash: "1".repeat(16),
            repetition: 1,
            outcome: Outcome::Answered,
            score: Some(0.1 + 0.2),
            answer: Some("an\nanswer".into()),
            status: None,
            error: None,
            kept_share: None,
            usage: Usage::tokens(10, 2),
            judge: None,
            judge_usage: None,
            turns: None,
            seconds: 0.5,
            run: None,
            record: None,
        }
    }

    #[tokio::test]
    async fn a_file_that_was_cut_anywhere_goes_on_with_its_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        let mut results = Results::open(&path).unwrap();
        for task in ["a", "b", "c"] {
            results.add(result(task)).await.unwrap();
        }
        drop(results);
        let bytes = fs::read(&path).unwrap();
        let is_tried = |end: &usize| end.is_multiple_of(11) || *end == bytes.len() || bytes[end - 1] == b'\n';
        for end in (0..=bytes.len()).filter(is_tried) {
            fs::write(&path, &bytes[..end]).unwrap();
            let mut results = Results::open(&path).unwrap();
            let whole = bytes[..end].iter().filter(|byte| **byte == b'\n').count();
            let expected: Vec<_> = ["a", "b", "c"][..whole].iter().map(|task| result(task)).collect();
            assert_eq!(results.lines(), expected, "{end}");
            results.add(result("d")).await.unwrap();
            drop(results);
            let results = Results::open(&path).unwrap();
            assert_eq!((results.lines().len(), results.lines().last()), (whole + 1, Some(&result("d"))));
        }
    }

    #[tokio::test]
    async fn a_damaged_line_before_others_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        let mut results = Results::open(&path).unwrap();
        results.add(result("a")).await.unwrap();
        results.add(result("b")).await.unwrap();
        let error = Results::open(&path).unwrap_err();
        assert!(error.message().contains("in use"), "{error}");
        drop(results);
        let text = fs::read_to_string(&path).unwrap().replacen("\"task\"", "\"tusk\"", 1);
        fs::write(&path, &text).unwrap();
        let error = Results::open(&path).unwrap_err();
        assert!(error.message().contains("line 1 is damaged"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

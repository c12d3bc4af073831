//! Files as inputs of their own, for chats and for tools of MCP clients: each gets a name that Python takes.

use std::path::{Path, PathBuf};

use abyme::{
    Inputs,
    names::{NameUse, check_name},
};
use abyme_files::{LineKind, Loader};

use crate::{args::Named, exit::Failure, terminal};

/// How many files may be read, an archive as one.
const MAX_FILES: usize = 10_000;

/// What was loaded for a chat.
#[derive(Debug, Default)]
pub(crate) struct LoadedFiles {
    pub(crate) inputs: Inputs,
    /// The files, those of directories too.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) text_bytes: u64,
}

/// The input that is asked.
pub(super) const QUESTION: &str = "question";

/// The files as `--input` would have them, with the names that their variables get.
pub(crate) fn inputs(files: &[String]) -> Result<Vec<Named>, Failure> {
    let mut inputs: Vec<Named> = Vec::new();
    for file in files {
        let (name, path) = match file.split_once('=') {
            Some((name, path)) if check_name(name, NameUse::Input).is_ok() && !Path::new(file).exists() => {
                (name.to_owned(), path)
            }
            _ => (name_of(Path::new(file)), file.as_str()),
        };
        if path == "-" {
            let message = "stdin has the questions, so it can be no file of the chat";
            return Err(Failure::usage(message).hint("write it to a file first"));
        }
        let mut free = name.clone();
        let is_taken = |name: &str| name == QUESTION || inputs.iter().any(|input| input.name == name);
        for number in 2.. {
            if !is_taken(&free) {
                break;
            }
            free = format!("{name}_{number}");
        }
        inputs.push(Named { name: free, value: format!("@{path}") });
    }
    Ok(inputs)
}

/// Reads the files, as those of a question about files are read: a directory is a dict of its texts. What is
/// left out of a directory is said. All may have so many bytes together. It blocks.
///
/// # Errors
/// The file that is none, or has nothing that can be a variable.
pub(crate) fn load(given: &[Named], max_bytes: u64) -> Result<LoadedFiles, Failure> {
    let mut all = LoadedFiles::default();
    for input in given {
        let path = Path::new(input.value.strip_prefix('@').unwrap_or(&input.value));
        let loader = Loader::new()
            .max_total_bytes(max_bytes.saturating_sub(all.text_bytes))
            .max_files(MAX_FILES.saturating_sub(all.paths.len()));
        let loaded = loader.load([path]);
        let problems: Vec<_> = loaded.report().iter().filter(|line| line.kind == LineKind::Problem).collect();
        let Some(value) = loaded.value_of(path) else {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(Failure::usage(match problems[..] {
                [] => format!("`{}` holds no text or JSON, which alone can be a variable", path.display()),
                _ => problems.join("; "),
            }));
        };
        problems.iter().for_each(|line| terminal::say(&format!("abyme: warning: {line}")));
        all.inputs = all.inputs.with(&*input.name, value);
        all.text_bytes += loaded.text_bytes();
        all.paths.extend(loaded.paths().map(Path::to_owned));
    }
    Ok(all)
}

/// The name of a file without its ending, as Python takes it.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut name: String =
        stem.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        name.insert_str(0, "file_");
    }
    if check_name(&name, NameUse::Input).is_err() {
        name.push_str("_file");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_names_that_python_takes() {
        let files = ["a/report.txt", "b/report.md", "2024 q1.csv", "list.txt", "question.txt", "docs=x.txt"];
        let inputs = inputs(&files.map(str::to_owned)).unwrap();
        let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["report", "report_2", "file_2024_q1", "list_file", "question_2", "docs"]);
        assert_eq!(inputs[5].value, "@x.txt");
        assert!(super::inputs(&["-".to_owned()]).is_err());
    }
}

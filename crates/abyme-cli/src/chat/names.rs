//! The files of a chat as inputs: each gets a name that Python takes.

use std::path::Path;

use abyme::names::{NameUse, check_name};

use crate::{args::Named, exit::Failure};

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

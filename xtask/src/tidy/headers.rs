//! Every source file says in its first line what it is for, and none is too long.

use super::workspace::{Problem, SourceFile, Workspace};

/// Lines of a file without its tests. Most files are far below.
const MAX_LINES: usize = 800;

/// Files over the limit, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace.files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    let first = file.text.lines().next().unwrap_or_default();
    let has_header = match file.extension() {
        "py" => first.starts_with("\"\"\""),
        "rs" => first.starts_with("//!") || first.starts_with("#![doc = include_str!"),
        _ => return problems,
    };
    if !has_header {
        problems.push(file.problem("its first line does not say what it is for"));
    }
    let lines = file.text.lines().take_while(|line| *line != "mod tests {").count();
    if lines > MAX_LINES && !LONG_FILES.iter().any(|(allowed, _)| *allowed == file.path) {
        problems.push(file.problem(&format!("{lines} lines; split it (limit {MAX_LINES})")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check_file(&SourceFile::of_text(path, text)).len()
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(count("a.rs", "//! This.\n"), 0);
        assert_eq!(count("a.py", "\"\"\"This.\"\"\"\n"), 0);
        assert_eq!(count("a.md", "# This\n"), 0);
        assert_eq!(count("a.rs", "use std::fs;\n"), 1);
        assert_eq!(count("a.py", "import os\n"), 1);
    }

    #[test]
    fn a_file_is_not_too_long_without_its_tests() {
        let code = "//! This.\n".repeat(MAX_LINES);
        assert_eq!(count("a.rs", &format!("{code}mod tests {{\n{code}")), 0);
        assert_eq!(count("a.rs", &format!("{code}fn more() {{}}\n")), 1);
    }
}

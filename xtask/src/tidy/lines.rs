//! No line is over 110 columns, in code, comments and Markdown: rustfmt wraps code only.

use super::workspace::{Problem, SourceFile, Workspace};

const MAX_COLUMNS: usize = 110;

/// A word of this length makes its line an exception: it is a URL or another thing that cannot be broken.
const UNBREAKABLE: usize = 80;

/// Texts for models: a line is a paragraph there, and a line end would be one more token.
const PROMPTS: &str = "/src/prompt/";

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let in_scope = workspace
        .files
        .iter()
        .filter(|file| matches!(file.extension(), "rs" | "py" | "md") && !file.path.contains(PROMPTS));
    in_scope.flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Problem> {
    let too_long = |line: &str| line.chars().count() > MAX_COLUMNS && !is_unbreakable(line);
    let lines = file.text.lines().enumerate().filter(|(_, line)| too_long(line));
    lines.map(|(index, line)| file.problem_at(index, &format!("{} columns", line.chars().count()))).collect()
}

/// Whether the line cannot be broken: a row of a Markdown table or an image, a raw string, in which a line
/// end would count, or a word that is too long by itself.
fn is_unbreakable(line: &str) -> bool {
    let is_row = line.starts_with("![") || line.starts_with("| ") && line.ends_with('|');
    let is_raw_string = line.contains("r#\"") && line.contains("\"#");
    is_row || is_raw_string || line.split_whitespace().any(|word| word.chars().count() >= UNBREAKABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check_file(&SourceFile::of_text("a.md", text)).len()
    }

    #[test]
    fn long_lines_are_found_by_their_characters() {
        assert_eq!(count(&"é ".repeat(55)), 0);
        assert_eq!(count(&"é ".repeat(56)), 1);
    }

    #[test]
    fn a_url_a_raw_string_or_a_row_may_be_longer() {
        assert_eq!(count(&format!("| {} |", "a cell ".repeat(30))), 0);
        assert_eq!(count(&format!("let json = r#\"{}\"#;", "{} ".repeat(50))), 0);
        assert_eq!(count(&format!("See the list at <https://example.com/{}>.", "a".repeat(100))), 0);
    }
}

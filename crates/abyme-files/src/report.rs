//! What is said of the files before a run: what was loaded, and what was left out and why.

use std::fmt;

use indexmap::IndexMap;

/// One line about what was loaded or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// What it says, without a full stop. It may hold names of files as they are: control characters
    /// have to be escaped before a terminal shows it.
    pub text: String,
    /// What it is about.
    pub kind: LineKind,
}

/// What a [`Line`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineKind {
    /// Something that was loaded.
    Loaded,
    /// Something that was left out, or is not quite what it seems to be.
    Problem,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How many files are named for each kind of problem; the others are counted.
const MAX_NAMED: usize = 3;

/// What became of the files that one of the given names stands for.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What the user gave.
    pub(crate) given: String,
    /// Whether it stands for any number of files.
    pub(crate) is_many: bool,
    loaded: Vec<LoadedFile>,
    /// Each file with a problem, and the problem.
    problems: Vec<(String, String)>,
}

#[derive(Debug)]
struct LoadedFile {
    name: String,
    what: String,
    /// What else is to be said of it, such as its encoding.
    notes: Vec<String>,
    bytes: u64,
}

impl Outcome {
    pub(crate) fn new(given: String) -> Self {
        Self { given, ..Self::default() }
    }

    /// A file that was loaded, what it is, what else is to be said of it, and how many bytes of text it has.
    pub(crate) fn loaded(&mut self, name: &str, what: String, notes: Vec<String>, bytes: u64) {
        self.loaded.push(LoadedFile { name: name.to_owned(), what, notes, bytes });
    }

    pub(crate) fn problem(&mut self, name: &str, problem: impl Into<String>) {
        self.problems.push((name.to_owned(), problem.into()));
    }

    /// The lines about it. Problems come after what was loaded, those that are the same together.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let loaded = |text| Line { text, kind: LineKind::Loaded };
        if self.is_many {
            let bytes: u64 = self.loaded.iter().map(|file| file.bytes).sum();
            let files = match self.loaded.len() {
                1 => "1 file".to_owned(),
                count => format!("{count} files"),
            };
            let mut notes: IndexMap<&str, usize> = IndexMap::new();
            for note in self.loaded.iter().flat_map(|file| &file.notes) {
                *notes.entry(note).or_default() += 1;
            }
            let notes: String = notes.iter().map(|(note, count)| format!(", {count} {note}")).collect();
            lines.push(loaded(format!("{}: {files}, {}{notes}", self.given, size(bytes))));
        } else {
            for LoadedFile { name, what, notes, bytes } in &self.loaded {
                let size = (*bytes > 0).then(|| size(*bytes));
                let notes: String = size.iter().chain(notes).map(|note| format!(", {note}")).collect();
                lines.push(loaded(format!("{name}: {what}{notes}")));
            }
        }
        let mut told: Vec<&str> = Vec::new();
        for (_, problem) in &self.problems {
            if told.contains(&problem.as_str()) {
                continue;
            }
            told.push(problem);
            let of_it = || self.problems.iter().filter(|(_, other)| other == problem).map(|(name, _)| name);
            let named: Vec<_> = of_it().take(MAX_NAMED).map(String::as_str).collect();
            let more = match of_it().count() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let text = format!("{}{more}: {problem}", named.join(", "));
            lines.push(Line { text, kind: LineKind::Problem });
        }
        lines
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    match units.iter().find(|(unit, _)| bytes as f64 >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_problem_is_said_once() {
        let mut outcome = Outcome::new("dir".to_owned());
        outcome.is_many = true;
        for name in ["dir/a.txt", "dir/b.txt"] {
            outcome.loaded(name, "text".to_owned(), vec!["UTF-16LE".to_owned()], 750);
        }
        for name in ["b", "c", "d", "e", "f"] {
            outcome.problem(&format!("dir/{name}.png"), "a picture, which is not read");
        }
        outcome.problem("dir/g", "empty");
        let lines: Vec<_> = outcome.lines().iter().map(Line::to_string).collect();
        assert_eq!(
            lines,
            [
                "dir: 2 files, 1.5 KB, 2 UTF-16LE",
                "dir/b.png, dir/c.png, dir/d.png and 2 more: a picture, which is not read",
                "dir/g: empty",
            ]
        );
    }
}

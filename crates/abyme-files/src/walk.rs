//! Which files the given names stand for: files, directories and patterns.

use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use crate::report::Outcome;

/// Directories that hold what programs made, not what people wrote.
const SKIPPED: [&str; 6] = [".git", ".hg", ".svn", "__pycache__", "node_modules", "target"];
/// How many entries of directories are looked at for one name, and of an archive.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;

/// Which files of a directory are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) hidden: bool,
    pub(crate) ignored: bool,
    /// How many files all directories and patterns may give together.
    pub(crate) max_files: usize,
    /// How many of these are left.
    pub(crate) files_left: usize,
}

/// A file to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    /// The name that is shown, and by which the model names the file.
    pub(crate) name: String,
    /// Whether it was named itself: then it may be a pipe.
    pub(crate) is_named: bool,
}

impl FoundFile {
    fn new(path: &Path, is_named: bool) -> Self {
        let shown = path.strip_prefix(".").unwrap_or(path);
        Self { path: shown.to_path_buf(), name: shown.to_string_lossy().into_owned(), is_named }
    }
}

/// Whether a name stands for files: it is one, or a pattern that matches some.
pub(crate) fn stands_for_files(given: &OsStr, rules: Rules) -> bool {
    if Path::new(given).symlink_metadata().is_ok() {
        return true;
    }
    // A sentence with a question mark is a pattern by its characters alone.
    given.to_str().filter(|text| !text.contains(char::is_whitespace)).and_then(Pattern::new).is_some_and(
        |pattern| {
            let mut outcome = Outcome::default();
            !pattern.walk(Rules { files_left: 1, ..rules }, &mut outcome).is_empty()
        },
    )
}

/// The files that a name stands for. What is wrong with it, or with what is below it, is said in `outcome`.
pub(crate) fn find(given: &OsStr, rules: Rules, outcome: &mut Outcome) -> Vec<FoundFile> {
    let path = Path::new(given);
    match fs::metadata(path) {
        Ok(status) if status.is_dir() => {
            outcome.is_many = true;
            let found = walk(path, None, rules, outcome);
            if found.is_empty() && rules.files_left > 0 {
                let why = match rules.hidden && rules.ignored {
                    true => "there is no file in it",
                    false => "there is no file in it, but for hidden and ignored ones",
                };
                outcome.problem(&outcome.given.clone(), why);
            }
            found
        }
        Ok(_) => vec![FoundFile::new(path, true)],
        Err(error) => {
            if let Some(pattern) = given.to_str().and_then(Pattern::new) {
                outcome.is_many = true;
                let found = pattern.walk(rules, outcome);
                if found.is_empty() && rules.files_left > 0 {
                    outcome.problem(&outcome.given.clone(), "no file matches it");
                }
                return found;
            }
            let why = match path.symlink_metadata() {
                Ok(_) if error.kind() == std::io::ErrorKind::NotFound => {
                    "a link to what is not there".to_owned()
                }
                _ => io_problem(&error),
            };
            outcome.problem(&outcome.given.clone(), why);
            Vec::new()
        }
    }
}

/// What went wrong, in the words of the operating system, without its number.
pub(crate) fn io_problem(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut chars = text.chars();
            chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
        }
    }
}

/// A pattern such as `reports/**/*.md`.
struct Pattern {
    /// The directory that all matching files are in.
    base: PathBuf,
    /// How many directories below that they may be, where there is no `**`.
    depth: Option<usize>,
    matcher: GlobMatcher,
}

impl Pattern {
    fn new(text: &str) -> Option<Self> {
        let is_pattern = |text: &str| text.contains(['*', '?', '[', '{']);
        if !is_pattern(text) {
            return None;
        }
        let text = text.strip_prefix("./").unwrap_or(text);
        let matcher = GlobBuilder::new(text).literal_separator(true).build().ok()?.compile_matcher();
        let components: Vec<Component<'_>> = Path::new(text).components().collect();
        let fixed = components
            .iter()
            .take_while(|component| !is_pattern(&component.as_os_str().to_string_lossy()))
            .count();
        let base: PathBuf = components[..fixed].iter().collect();
        let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
        let depth = (!text.contains("**")).then_some(components.len() - fixed);
        Some(Self { base, depth, matcher })
    }

    fn walk(&self, rules: Rules, outcome: &mut Outcome) -> Vec<FoundFile> {
        if self.base.is_dir() { walk(&self.base, Some(self), rules, outcome) } else { Vec::new() }
    }
}

/// The files below a directory, in the order of their names.
fn walk(root: &Path, pattern: Option<&Pattern>, rules: Rules, outcome: &mut Outcome) -> Vec<FoundFile> {
    // With a separator at its end, a link that was named is the directory that it leads to.
    let mut walk = WalkBuilder::new(root.join(""));
    walk.hidden(!rules.hidden)
        .ignore(!rules.ignored)
        .git_ignore(!rules.ignored)
        .git_exclude(!rules.ignored)
        .git_global(!rules.ignored)
        .parents(!rules.ignored)
        .require_git(false)
        .follow_links(false)
        .max_depth(pattern.and_then(|pattern| pattern.depth))
        .sort_by_file_name(|one, other| one.cmp(other))
        .filter_entry(|entry| {
            let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
            let is_skipped = || SKIPPED.iter().any(|name| entry.file_name() == *name);
            entry.depth() == 0 || !is_directory || !is_skipped()
        });
    let mut found = Vec::new();
    for (number, entry) in walk.build().enumerate() {
        if number == MAX_ENTRIES {
            outcome.problem(&outcome.given.clone(), too_many_entries());
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let (name, why) = walk_problem(&error);
                outcome.problem(&name.unwrap_or_else(|| outcome.given.clone()), why);
                continue;
            }
        };
        let Some(kind) = entry.file_type().filter(|kind| !kind.is_dir()) else { continue };
        let file = FoundFile::new(entry.path(), false);
        if pattern.is_some_and(|pattern| !pattern.matcher.is_match(&file.name)) {
            continue;
        }
        if kind.is_symlink() {
            outcome.problem(&file.name, "a link, which is not followed; name what it leads to");
        } else if !kind.is_file() {
            outcome.problem(&file.name, "no file");
        } else if found.len() == rules.files_left {
            outcome.problem(&outcome.given.clone(), too_many(rules.max_files));
            break;
        } else {
            found.push(file);
        }
    }
    found
}

/// Whether a member of an archive is left out, as a file of this name in a directory is.
#[cfg(feature = "archives")]
pub(crate) fn is_skipped_member(name: &str, hidden: bool) -> bool {
    let mut parts = name.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    parts.any(|part| SKIPPED.contains(&part) || part == "__MACOSX" || !hidden && part.starts_with('.'))
}

/// What is said of a directory or an archive with very many entries.
pub(crate) fn too_many_entries() -> String {
    format!("it has over {MAX_ENTRIES} entries, and the others are left out")
}

/// What is said where there are more files than may be looked at.
pub(crate) fn too_many(most: usize) -> String {
    format!("more than {most} files in all directories, patterns and archives: the others are left out")
}

/// Where the walk failed, if it says so, and why.
fn walk_problem(error: &ignore::Error) -> (Option<String>, String) {
    match error {
        ignore::Error::WithPath { path, err } => {
            (Some(path.to_string_lossy().into_owned()), walk_problem(err).1)
        }
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => walk_problem(err),
        ignore::Error::Io(error) => (None, io_problem(error)),
        other => (None, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { hidden: false, ignored: false, max_files: 100, files_left: 100 };

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "a.md",
            "b.txt",
            "sub/c.md",
            "sub/deep/d.md",
            ".hidden/e.md",
            "node_modules/f.md",
            "out/g.md",
            "h.log",
        ];
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(dir.path().join(".gitignore"), "out/\n*.log\n").unwrap();
        dir
    }

    /// The files below the directory, and what is said of them.
    fn names(dir: &Path, given: &str, rules: Rules) -> (Vec<String>, Vec<String>) {
        let mut outcome = Outcome::new("DIR".to_owned());
        let root = dir.to_string_lossy();
        let found = find(dir.join(given).as_os_str(), rules, &mut outcome);
        let names = found.iter().map(|file| file.name[root.len() + 1..].to_owned()).collect();
        let said = outcome.lines().into_iter().filter(|line| line.kind == crate::LineKind::Problem);
        (names, said.map(|line| line.text.replace(&*root, "")).collect())
    }

    #[test]
    fn directories_without_what_is_hidden_ignored_or_made() {
        let dir = tree();
        let path = dir.path();
        assert_eq!(names(path, "", RULES).0, ["a.md", "b.txt", "sub/c.md", "sub/deep/d.md"]);
        let all = Rules { hidden: true, ignored: true, ..RULES };
        let found = names(path, "", all).0;
        assert_eq!(found.len(), 8, "{found:?}");
        assert!(!found.contains(&"node_modules/f.md".to_owned()));
        assert_eq!(names(path, "out", RULES).0, ["out/g.md"], "it was named");
        let more =
            "DIR: more than 100 files in all directories, patterns and archives: the others are left out";
        for files_left in [0, 2] {
            let (found, said) = names(path, "", Rules { files_left, ..RULES });
            assert_eq!((found.len(), &said[..]), (files_left, &[more.to_owned()][..]));
            let (_, said) = names(path, "**/*.md", Rules { files_left, ..RULES });
            assert_eq!(said, [more]);
        }
        let (_, said) = names(path, "sub/deep", Rules { files_left: 1, ..RULES });
        assert!(said.is_empty(), "there are no others: {said:?}");
    }

    #[test]
    fn patterns() {
        let dir = tree();
        let path = dir.path();
        assert_eq!(names(path, "*.md", RULES).0, ["a.md"]);
        assert_eq!(names(path, "**/*.md", RULES).0, ["a.md", "sub/c.md", "sub/deep/d.md"]);
        assert_eq!(names(path, "sub/?.{md,txt}", RULES).0, ["sub/c.md"]);
        assert_eq!(names(path, "*.nope", RULES).1, ["DIR: no file matches it"]);
        let stands = |text: &str| stands_for_files(path.join(text).as_os_str(), RULES);
        assert!(stands("a.md") && stands("*.md") && !stands("what?") && !stands("*.nope"));
    }

    #[cfg(unix)]
    #[test]
    fn links_pipes_and_what_cannot_be_read() {
        use std::os::unix::{ffi::OsStrExt, fs::symlink};
        let dir = tree();
        let path = dir.path();
        symlink(path, path.join("sub/up")).unwrap();
        symlink("ring", path.join("ring")).unwrap();
        symlink("nowhere", path.join("dangling")).unwrap();
        fs::write(path.join(OsStr::from_bytes(b"caf\xe9.txt")), "x").unwrap();
        let (found, said) = names(path, "", RULES);
        assert_eq!(found, ["a.md", "b.txt", "caf\u{fffd}.txt", "sub/c.md", "sub/deep/d.md"]);
        assert_eq!(said, ["/dangling, /ring, /sub/up: a link, which is not followed; name what it leads to"]);
        assert_eq!(names(path, "dangling", RULES).1, ["DIR: a link to what is not there"]);
        symlink("sub", path.join("linked")).unwrap();
        fs::remove_file(path.join("sub/up")).unwrap();
        for given in ["linked", "linked/", "linked/**/*.md"] {
            assert_eq!(
                names(path, given, RULES),
                (vec!["linked/c.md".to_owned(), "linked/deep/d.md".to_owned()], vec![]),
                "{given}"
            );
        }
        assert!(names(path, "ring", RULES).1[0].contains("symbolic links"));
        assert_eq!(names(path, "none.txt", RULES).1, ["DIR: there is no such file"]);
    }
}

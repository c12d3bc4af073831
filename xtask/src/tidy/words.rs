//! Words that the project does not use: each thing has one word, which the field uses too.

use super::workspace::{Problem, SourceFile, Workspace};

/// Words that are refused everywhere, in all their forms, with what is written in their place.
const RETIRED: &[(&[&str], &str)] = &[
    (&["warm", "warms", "warmed", "warming", "warmer"], "prefault, prestart or prepare"),
    (&["hot", "hotter"], "prefaulted or frequent"),
    (&["door", "doors"], "imports or host calls"),
    (&["keeper", "keepers"], "owner, thread, registry"),
    (&["patience"], "interrupt timer"),
    (&["owe", "owes", "owed", "owing", "debt", "debts"], "pending"),
    (&["shelf", "shelves"], "idle"),
    (&["whoever", "whomever"], "the caller, the driver ..."),
    (&["droste"], "abyme"),
];

/// Words that name nothing: no type, no module and no file. In sentences they are plain English.
const NOT_NAMES: &[&str] = &[
    "answered", "asked", "begun", "called", "counted", "ended", "executed", "followed", "fresh", "found",
    "gone", "judged", "known", "learned", "lent", "life", "listed", "looked", "made", "mistake", "moment",
    "noted", "place", "rest", "saved", "seen", "shown", "started", "subject", "told", "unkept", "waiting",
    "walls", "wanted",
];

/// Where a retired word is fine: the file, the word and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("CHANGELOG.md", "droste", "one line says what the project was called before"),
    ("crates/abyme-eval/src/generate/haystack.rs", "patience", "a phrase of the generated text"),
    ("xtask/src/tidy/words.rs", "", "this list itself"),
];

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace.files.iter().flat_map(|file| check_words(file).into_iter().chain(check_names(file))).collect()
}

/// Retired words, wherever they are in the file: in identifiers, comments and texts alike.
fn check_words(file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let words = words(line);
        for (forms, better) in RETIRED {
            for form in forms.iter().filter(|form| words.iter().any(|word| word == *form)) {
                if !is_allowed(file, form) {
                    problems.push(file.problem_at(index, &format!("`{form}` ({better})")));
                }
            }
        }
    }
    problems
}

fn is_allowed(file: &SourceFile, word: &str) -> bool {
    ALLOWED.iter().any(|(path, allowed, _)| *path == file.path && (allowed.is_empty() || *allowed == word))
}

/// Types, modules and files with a name that says nothing.
fn check_names(file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    if matches!(file.extension(), "rs" | "py") && is_no_name(file.stem()) {
        problems.push(file.problem("the file's name says nothing"));
    }
    for (index, line) in file.text.lines().enumerate() {
        if let Some(name) = defined_name(line, file.extension()).filter(|name| is_no_name(name)) {
            problems.push(file.problem_at(index, &format!("`{name}` names nothing")));
        }
    }
    problems
}

/// The name of the type or module that begins in this line.
fn defined_name<'line>(line: &'line str, extension: &str) -> Option<&'line str> {
    let keywords: &[&str] = match extension {
        "rs" => &["struct", "enum", "union", "trait", "type", "mod"],
        "py" => &["class"],
        _ => return None,
    };
    let before = ["", "pub", "crate", "super", "in", "unsafe"];
    let mut tokens = line.split(|character: char| !character.is_alphanumeric() && character != '_');
    let keyword = tokens.find(|token| !before.contains(token))?;
    tokens.next().filter(|_| keywords.contains(&keyword))
}

/// Whether the name is one of the words alone. With another word to it, as in `KnownScope`, it says
/// something.
fn is_no_name(name: &str) -> bool {
    let name = name.trim_matches('_').to_lowercase();
    NOT_NAMES.contains(&name.as_str()) || NOT_NAMES.contains(&name.strip_suffix('s').unwrap_or(&name))
}

/// The words of a line in lower case. Identifiers are taken apart at underscores, digits and capitals.
fn words(line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let mut words = vec![String::new()];
    for (index, &character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| characters[before]);
        let begins_word = character.is_uppercase()
            && (before.is_some_and(char::is_lowercase)
                || before.is_some_and(char::is_uppercase)
                    && characters.get(index + 1).is_some_and(|after| after.is_lowercase()));
        if !character.is_alphabetic() || begins_word {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character.is_alphabetic()) {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let file = SourceFile::of_text(path, text);
        check_words(&file).len() + check_names(&file).len()
    }

    #[test]
    fn identifiers_are_taken_apart() {
        assert_eq!(
            words("WarmStart pool_warm HTTPDoor v2hot"),
            ["warm", "start", "pool", "warm", "http", "door", "v", "hot"]
        );
    }

    #[test]
    fn retired_words_are_found_everywhere() {
        assert_eq!(count("a.rs", "fn warm_start() {} // The door."), 2);
        assert_eq!(count("a.py", "class HotPages: pass"), 1);
        assert_eq!(count("a.md", "It was *Droste*."), 1);
        assert_eq!(count("a.md", "A photo of an indoor warmth."), 0);
        assert_eq!(count("CHANGELOG.md", "It was called Droste."), 0);
    }

    #[test]
    fn vague_words_are_no_names() {
        assert_eq!(count("a.rs", "pub(crate) struct Place(u32);"), 1);
        assert_eq!(count("a.rs", "    type Fresh = u32;"), 1);
        assert_eq!(count("a.rs", "mod places;"), 1);
        assert_eq!(count("life.py", "class Seen(object):"), 2);
        assert_eq!(count("a.rs", "struct KnownScope; // In place of a fresh one."), 0);
        assert_eq!(count("a.rs", "let found = saved(place);"), 0);
    }
}

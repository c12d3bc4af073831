//! A duration in a configuration says by its name what kind of time it is.

use super::workspace::{Problem, SourceFile, Workspace};

/// How the names end.
const ENDINGS: &[&str] = &["timeout", "grace", "backoff", "interval", "max_age"];

/// Fields with other names, each with its reason.
const ALLOWED: &[(&str, &str)] = &[("Observation::duration", "what a cell took, not what it may take")];

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace.files.iter().filter(|file| file.extension() == "rs").flat_map(check_file).collect()
}

/// The durations of the file's structs that are read with a default for every field.
fn check_file(file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (mut has_defaults, mut name) = (false, None);
    for (index, line) in file.text.lines().enumerate() {
        let code = line
            .trim_start()
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ");
        match (code.strip_prefix("struct "), name) {
            (Some(rest), _) => {
                let own = rest.split(|character: char| !character.is_alphanumeric()).next();
                (name, has_defaults) = (own.filter(|_| has_defaults && rest.ends_with('{')), false);
            }
            (None, None) => {
                let goes_on = code.starts_with("#[") || code.starts_with("//");
                has_defaults = code.starts_with("#[serde(default") || has_defaults && goes_on;
            }
            (None, Some(_)) if code == "}" => name = None,
            (None, Some(name)) => {
                let field = code.strip_suffix(": Duration,").or(code.strip_suffix(": Option<Duration>,"));
                let Some(field) = field.map(|field| format!("{name}::{field}")) else { continue };
                let is_allowed = ALLOWED.iter().any(|(allowed, _)| *allowed == field);
                if !is_allowed && !ENDINGS.iter().any(|ending| field.ends_with(ending)) {
                    let endings = ENDINGS.join(", ");
                    problems.push(
                        file.problem_at(index, &format!("{field}: its name ends in none of {endings}")),
                    );
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check_file(&SourceFile::of_text("a.rs", text)).len()
    }

    #[test]
    fn a_duration_of_a_configuration_says_what_it_is() {
        let of = |attribute: &str, field: &str| {
            format!("{attribute}\n#[non_exhaustive]\n/// A.\npub struct Config {{\n    pub {field}\n}}\n")
        };
        assert_eq!(count(&of("#[serde(default)]", "after: Duration,")), 1);
        assert_eq!(count(&of("#[serde(default)]", "life: Option<Duration>,")), 1);
        assert_eq!(count(&of("#[serde(default)]", "timeout: Duration,")), 0);
        assert_eq!(count(&of("#[serde(default)]", "stop_grace: Option<Duration>,")), 0);
        assert_eq!(count(&of("#[serde(default)]", "after: u32,")), 0);
        assert_eq!(count(&of("#[derive(Debug)]", "after: Duration,")), 0, "it is no configuration");
        assert_eq!(count("#[serde(default)]\nstruct A(Duration);\nstruct B {\n    after: Duration,\n}\n"), 0);
    }
}

//! Our own settings in a `.env`, which other programs fill too.
//!
//! The form of such files was never agreed on, so a line that is not ours is passed over, whatever it is. A
//! value is taken as it stands: nothing is replaced in it, and `$` is a character like any other.

use std::{
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The variables of ours in one file, and where they stand.
#[derive(Debug, Default)]
pub(super) struct DotEnv {
    path: PathBuf,
    lines: Vec<Assignment>,
}

#[derive(Debug)]
struct Assignment {
    line: usize,
    name: String,
    /// The value, or what is wrong with the line.
    value: Result<String, &'static str>,
}

/// A larger file is no list of settings.
const MAX_FILE_BYTES: u64 = 1 << 20;

impl DotEnv {
    /// The `.env` in `directory` or the nearest parent that has one, with the variables that `is_ours` names.
    /// A file that cannot be trusted or read is not used, which is said in the log.
    pub(super) fn find(directory: &Path, is_ours: &dyn Fn(&str) -> bool) -> Self {
        let paths = directory.ancestors().map(|folder| folder.join(".env"));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else { return Self::default() };
        match read(&path) {
            Ok(bytes) => Self { lines: parse(&bytes, is_ours), path },
            Err(why) => {
                tracing::warn!("{} is not used: {why}", path.display());
                Self::default()
            }
        }
    }

    /// What a variable is set to. The last line counts, as in a shell.
    ///
    /// # Errors
    /// If that line cannot be read. The message names it and does not show it, because it may hold a key.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, String> {
        let Some(found) = self.lines.iter().rev().find(|line| line.name == name) else { return Ok(None) };
        match &found.value {
            Ok(value) => Ok(Some(value)),
            Err(why) => Err(format!("{}, line {}: `{name}` {why}", self.path.display(), found.line)),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| error.to_string();
    // The owner of a link counts too: who made it chose the file.
    let link = fs::symlink_metadata(path).map_err(told)?;
    let file = fs::File::open(path).map_err(told)?;
    let status = file.metadata().map_err(told)?;
    check_owner(link.uid())?;
    check_owner(status.uid())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Whether a file of this user may decide where the key goes: our own and the administrator's may.
fn check_owner(owner: u32) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    if owner == own || owner == 0 {
        return Ok(());
    }
    Err(format!(
        "it belongs to another user (number {owner}, and this process runs as {own}), who could send the \
         key elsewhere; set the variables in the environment if you trust it"
    ))
}

fn parse(bytes: &[u8], is_ours: &dyn Fn(&str) -> bool) -> Vec<Assignment> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = String::from_utf8_lossy(lines[at]);
        at += 1;
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&*line, None),
        };
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim);
        if is_ours(name) {
            let value = match value {
                None => Err("has no value: write NAME=value"),
                Some(_) if std::str::from_utf8(lines[at - 1]).is_err() => {
                    Err("has a value that is not UTF-8")
                }
                Some(value) => read_value(value),
            };
            found.push(Assignment { line: at, name: name.to_owned(), value });
        } else if let Some(quote) = value.and_then(opened) {
            // Another program's text of several lines, such as a certificate: nothing in it is ours. Where
            // no line closes it, it was no such text.
            let rest = lines[at..].iter().position(|line| line.contains(&quote));
            at += rest.map_or(0, |lines| lines + 1);
        }
    }
    found
}

/// The quote that a value begins with, if nothing on the line closes it.
fn opened(value: &str) -> Option<u8> {
    let value = value.trim_start();
    let quote = *value.as_bytes().first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let rest = &value.as_bytes()[1..];
    (!rest.contains(&quote)).then_some(quote)
}

fn read_value(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let value = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&text[1..], quote)?,
        // A `#` after a space begins a comment.
        _ => text
            .char_indices()
            .find(|&(at, char)| char == '#' && (at == 0 || text[..at].ends_with(char::is_whitespace)))
            .map_or(text, |(at, _)| text[..at].trim_end())
            .to_owned(),
    };
    let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if inner.is_some_and(|name| name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')) {
        return Err("names another variable, and nothing is replaced here: write the value itself");
    }
    Ok(value)
}

/// The text up to its closing quote. Between double quotes, `\` keeps a quote or another `\` as it is.
fn quoted(text: &str, quote: char) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        if char == quote {
            let rest = text[at + 1..].trim_start();
            let is_end = rest.is_empty() || rest.starts_with('#');
            return if is_end { Ok(value) } else { Err("has something after its closing quote") };
        }
        let escaped = |rest: &str| rest.chars().next().filter(|next| matches!(next, '"' | '\\' | '$'));
        match escaped(&text[at + char.len_utf8()..]) {
            Some(next) if char == '\\' && quote == '"' => {
                value.push(next);
                chars.next();
            }
            _ => value.push(char),
        }
    }
    Err("has a quote that is not closed on its line")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(file: &[u8]) -> Vec<(usize, String, Result<String, &'static str>)> {
        let is_ours = |name: &str| name.starts_with("ABYME_");
        parse(file, &is_ours).into_iter().map(|line| (line.line, line.name, line.value)).collect()
    }

    fn value(line: &str) -> Result<String, &'static str> {
        values(format!("ABYME_X={line}").as_bytes()).remove(0).2
    }

    #[test]
    fn a_value_is_taken_as_it_stands() {
        for (written, read) in [
            ("sk-a$bc", "sk-a$bc"),
            ("sk-a${B}c", "sk-a${B}c"),
            ("\"sk-a$bc\"", "sk-a$bc"),
            ("'a\\b \"c\"' # why", "a\\b \"c\""),
            ("\"a\\\"b\\\\c\\n\"", "a\"b\\c\\n"),
            ("  spaced out  # why\r", "spaced out"),
            ("http://x.test/#part", "http://x.test/#part"),
            ("# why", ""),
            ("", ""),
        ] {
            assert_eq!(value(written).unwrap(), read, "{written}");
        }
    }

    #[test]
    fn lines_of_other_programs_are_passed_over() {
        let file =
            b"\xef\xbb\xbfAPP_NAME=My Nice App\n{\"unquoted\": 'json\nP=C:\\new\nexport FOO\n[default]\n\
            # caf\xe9\nNOTE=it's\nCERT=\"---\nABYME_A=not ours\n---\"\nexport  ABYME_B = b\nOTHER: c\n\
            OPEN='never closed\nABYME_D=d";
        let read: Vec<_> = values(file).into_iter().map(|(line, name, _)| (line, name)).collect();
        assert_eq!(read, [(11, "ABYME_B".to_owned()), (14, "ABYME_D".into())]);
    }

    #[test]
    fn a_line_of_ours_that_cannot_be_read_is_told() {
        for (line, part) in [
            ("\"open", "not closed"),
            ("'open", "not closed"),
            ("\"a\" b", "after its closing quote"),
            ("${OPENAI_API_KEY}", "write the value itself"),
        ] {
            assert!(value(line).unwrap_err().contains(part), "{line}");
        }
        assert!(values(b"ABYME_X")[0].2.as_ref().unwrap_err().contains("no value"));
        assert!(values(b"ABYME_X=caf\xe9")[0].2.as_ref().unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_file_of_another_user_is_not_used() {
        let own = rustix::process::geteuid().as_raw();
        assert!(check_owner(own).is_ok() && check_owner(0).is_ok());
        assert!(check_owner(own.wrapping_add(4711)).unwrap_err().contains("another user"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, "ABYME_X=1").unwrap();
        let found = || DotEnv::find(folder.path(), &|_| true).get("ABYME_X").unwrap().map(str::to_owned);
        assert_eq!(found().as_deref(), Some("1"));
        // Only the administrator can give a file away.
        if own == 0 {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            assert_eq!(found(), None);
        }
    }
}

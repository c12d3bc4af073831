//! The inputs on the command line: texts, files and stdin.

use std::path::Path;

use abyme::{FieldType, Inputs, TaskSignature, Text, Value};

use crate::{args::Named, exit::Failure, files, standard::Standard};

/// What all inputs may have together.
const MAX_INPUT_BYTES: u64 = 4 << 30;

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source<'a> {
    Stdin,
    File(&'a Path),
    Text(&'a str),
}

impl<'a> Source<'a> {
    /// `-` is stdin and `@` begins the name of a file. `@@` begins a text that begins with `@`, and `@@-` is
    /// the text `-`.
    fn of(input: &'a Named) -> Self {
        match (input.value.as_str(), input.value.strip_prefix('@')) {
            ("-", _) => Source::Stdin,
            ("@@-", _) => Source::Text("-"),
            (_, Some(text)) if text.starts_with('@') => Source::Text(text),
            (_, Some(path)) => Source::File(Path::new(path)),
            (text, None) => Source::Text(text),
        }
    }
}

/// Whether each input, and stdin, is given once, and is none of what has no end.
pub(crate) fn check(given: &[Named]) -> Result<(), Failure> {
    for (index, input) in given.iter().enumerate() {
        let before = &given[..index];
        if before.iter().any(|other| other.name == input.name) {
            return Err(Failure::usage(format!("the input `{}` is given twice", input.name)));
        }
        if let Some(other) = before.iter().find(|other| input.value == "-" && other.value == "-") {
            let message =
                format!("stdin can be one input only, not both `{}` and `{}`", other.name, input.name);
            return Err(Failure::usage(message));
        }
        if let Source::File(path) = Source::of(input) {
            let checked = files::check_read(path);
            checked.map_err(|failure| failure.context(&format!("input `{}`", input.name)))?;
        }
    }
    Ok(())
}

/// The files that the inputs come from.
pub(crate) fn files(given: &[Named]) -> impl Iterator<Item = &Path> {
    given.iter().filter_map(|input| match Source::of(input) {
        Source::File(path) => Some(path),
        _ => None,
    })
}

/// About how many bytes a value takes.
pub(crate) fn about_bytes_of(value: &Value) -> u64 {
    /// What a value takes beside its text.
    const EACH: u64 = 8;
    let length = |bytes: usize| bytes as u64;
    let content = match value {
        Value::Text(text) => length(text.as_str().len()),
        Value::Bytes(bytes) => length(bytes.len()),
        Value::BigInt(digits) => length(digits.len()),
        Value::List(items) => items.iter().map(about_bytes_of).sum(),
        Value::Dict(entries) => {
            entries.iter().map(|(key, item)| length(key.len()) + about_bytes_of(item)).sum()
        }
        _ => 0,
    };
    EACH + content
}

/// About how many bytes the inputs have, without reading them.
pub(crate) fn about_bytes(given: &[Named]) -> u64 {
    /// What stdin and other pipes may bring.
    const PIPE: u64 = 1 << 30;
    let bytes = |input: &Named| match Source::of(input) {
        Source::Stdin => PIPE,
        Source::File(path) => {
            std::fs::metadata(path).map_or(0, |status| if status.is_file() { status.len() } else { PIPE })
        }
        Source::Text(text) => text.len() as u64,
    };
    given.iter().map(bytes).sum()
}

/// Reads all inputs.
pub(crate) fn read(
    given: &[Named],
    signature: &TaskSignature,
    standard: &Standard,
) -> Result<Inputs, Failure> {
    let mut left = MAX_INPUT_BYTES;
    let read = |input: &Named| {
        let declared = signature.input(&input.name).filter(|field| field.has_explicit_type());
        let value = value(input, declared.map(|field| field.ty()), &mut left, standard);
        let value = value.map_err(|failure| failure.context(&format!("input `{}`", input.name)))?;
        Ok((input.name.clone(), value))
    };
    given.iter().map(read).collect()
}

/// An input as its declared type wants it read. Where none is declared, a file's name tells.
fn value(
    input: &Named,
    declared: Option<&FieldType>,
    left: &mut u64,
    standard: &Standard,
) -> Result<Value, Failure> {
    let (bytes, what, file) = match Source::of(input) {
        Source::Text(text) => return Ok(text.into()),
        Source::File(path) if path.as_os_str().is_empty() => {
            return Err(Failure::usage("after `@` the name of a file is missing"));
        }
        Source::File(path) => {
            let bytes = files::read(path, *left).map_err(|failure| match path.exists() {
                true => failure,
                false => failure.hint("a text that begins with `@` is written with `@@`"),
            })?;
            (bytes, format!("`{}`", path.display()), path.display().to_string())
        }
        Source::Stdin => {
            let bytes = files::bounded(standard.input(), *left);
            let bytes = bytes.map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
            let bytes = bytes.ok_or_else(|| files::too_large("stdin", *left))?;
            (bytes, "stdin".to_owned(), "FILE".to_owned())
        }
    };
    *left = left.saturating_sub(bytes.len() as u64);
    if declared == Some(&FieldType::Bytes) {
        return Ok(Value::Bytes(bytes.into()));
    }
    let text: Text = files::text(bytes, &what, &file, ", or declare the input as `bytes`")?;
    let wants_text = declared.is_some_and(FieldType::is_text);
    if !wants_text && file.to_ascii_lowercase().ends_with(".json") {
        return Value::parse_json(&text).map_err(|error| Failure::before_run(&error.context(&what)));
    }
    Ok(text.into())
}

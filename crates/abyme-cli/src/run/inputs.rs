//! The inputs on the command line: texts, files and stdin.

use std::io::Read;

use abyme::{Inputs, Text, Value};

use crate::{
    args::Named,
    exit::{Exit, Failure},
    standard::Standard,
};

/// Whether each input, and stdin, is given once.
pub(super) fn check_once(given: &[Named]) -> Result<(), Failure> {
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
    }
    Ok(())
}

/// About how many bytes the inputs have, without reading them.
pub(super) fn about_bytes(given: &[Named]) -> u64 {
    /// What stdin may bring.
    const STDIN: u64 = 1 << 30;
    let bytes = |input: &Named| match (input.value.as_str(), input.value.strip_prefix('@')) {
        ("-", _) => STDIN,
        (_, Some(path)) => std::fs::metadata(path).map_or(0, |status| status.len()),
        (text, None) => text.len() as u64,
    };
    given.iter().map(bytes).sum()
}

/// Reads all inputs.
pub(super) fn read(given: &[Named], standard: &Standard) -> Result<Inputs, Failure> {
    let read = |input: &Named| value(input, standard).map(|value| (input.name.clone(), value));
    given.iter().map(read).collect()
}

fn value(input: &Named, standard: &Standard) -> Result<Value, Failure> {
    let name = &input.name;
    let of_input = |error: abyme::Error| Failure::before_run(&error.context(format_args!("input `{name}`")));
    match (input.value.as_str(), input.value.strip_prefix('@')) {
        ("-", _) => stdin(name, standard).map(Value::from),
        (_, Some("")) => {
            Err(Failure::usage(format!("input `{name}`: after `@` the name of a file is missing")))
        }
        (_, Some(path)) => {
            let text = Text::from_file(path).map_err(of_input)?;
            if path.to_ascii_lowercase().ends_with(".json") {
                return Value::parse_json(&text)
                    .map_err(|error| of_input(error.context(format_args!("`{path}`"))));
            }
            Ok(text.into())
        }
        (text, None) => Ok(text.into()),
    }
}

fn stdin(name: &str, standard: &Standard) -> Result<Text, Failure> {
    let mut bytes = Vec::new();
    standard
        .input()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Usage, format!("input `{name}`: cannot read stdin: {error}")))?;
    String::from_utf8(bytes).map(Text::from).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format!("input `{name}`: stdin is not text: byte {at} is not UTF-8"))
    })
}

//! The answer to a question about files, as it is printed and written.

use std::{fmt::Write as _, fs, path::Path};

use abyme::Value;
use abyme_files::{FoundSource, Loaded, MissingSource, Position};
use indexmap::IndexMap;

use crate::{exit::Failure, json, output, terminal::escape, view::not_written};

/// The output with the quotes.
const SOURCES: &str = "sources";

/// What a file of the answer is, by its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Json,
    Markdown,
}

impl Form {
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "md" | "markdown" => Ok(Self::Markdown),
            _ => {
                let message = format!("--output: `{}` says no form by its ending", path.display());
                Err(Failure::usage(message).hint("it may be .csv, .json or .md"))
            }
        }
    }
}

/// Outputs, and where their sources are.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Without the sources.
    outputs: IndexMap<String, Value>,
    found: Vec<FoundSource>,
    missing: Vec<MissingSource>,
}

impl Answer {
    pub(super) fn new(outputs: &IndexMap<String, Value>, loaded: &Loaded) -> Self {
        let mut outputs = outputs.clone();
        let submitted = outputs.shift_remove(SOURCES).unwrap_or_default();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for source in loaded.sources(&submitted) {
            match source {
                Ok(source) => found.push(source),
                Err(source) => missing.push(source),
            }
        }
        Self { outputs, found, missing }
    }

    /// The sources that are in no file.
    pub(super) fn missing(&self) -> &[MissingSource] {
        &self.missing
    }

    /// The outputs as `abyme run` prints them, and a line for each source.
    pub(super) fn plain(&self) -> String {
        let mut text = output::plain(&self.outputs);
        if !self.found.is_empty() {
            text.push_str("\nSources:\n");
        }
        for source in &self.found {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", escape(&source.to_string()));
        }
        text
    }

    /// The sources as values.
    pub(super) fn sources(&self) -> Value {
        Value::list(self.found.iter().map(|source| {
            let mut fields =
                vec![("file", Value::from(&*source.file)), ("quote", Value::from(&*source.quote))];
            match &source.position {
                Position::Text { line, byte, .. } => {
                    fields.extend([("line", Value::from(*line)), ("byte", Value::from(*byte))]);
                }
                Position::Rows { rows, .. } => fields.push(("rows", Value::from(*rows))),
                _ => {}
            }
            Value::dict(fields)
        }))
    }

    /// Writes the file of `--output`.
    pub(super) fn write(&self, path: &Path, form: Form) -> Result<(), Failure> {
        let text = match form {
            Form::Csv => self.csv().map_err(|error| not_written(path, &error.into()))?,
            Form::Json => {
                let mut outputs = self.outputs.clone();
                outputs.insert(SOURCES.to_owned(), self.sources());
                output::line(outputs).into_bytes()
            }
            Form::Markdown => self.markdown().into_bytes(),
        };
        fs::write(path, text).map_err(|error| not_written(path, &error))
    }

    /// The first output that is a list of dicts, as a table; where there is none, the outputs as its one row.
    fn csv(&self) -> csv::Result<Vec<u8>> {
        fn rows_of(value: &Value) -> Option<Vec<&IndexMap<String, Value>>> {
            value.as_list()?.iter().map(Value::as_dict).collect()
        }
        let lists = || self.outputs.values().filter_map(rows_of);
        let rows = lists().find(|rows| !rows.is_empty()).or_else(|| lists().next());
        let rows = rows.unwrap_or_else(|| vec![&self.outputs]);
        let mut names: Vec<&String> = Vec::new();
        for row in &rows {
            names.extend(row.keys().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }
        let mut table = csv::Writer::from_writer(Vec::new());
        if names.is_empty() {
            return Ok(Vec::new());
        }
        table.write_record(&names)?;
        for row in rows {
            table.write_record(names.iter().map(|name| match row.get(*name) {
                None | Some(Value::None) => String::new(),
                Some(Value::Text(text)) => text.to_string(),
                Some(value) => json::strict(value),
            }))?;
        }
        table.into_inner().map_err(|error| error.into_error().into())
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.outputs {
            if self.outputs.len() > 1 {
                let _ = writeln!(text, "## {name}\n");
            }
            let _ = match value {
                Value::Text(value) => writeln!(text, "{}\n", value.trim_end()),
                value => writeln!(text, "```json\n{}\n```\n", json::strict(value)),
            };
        }
        if !self.found.is_empty() {
            text.push_str("## Sources\n\n");
        }
        for source in &self.found {
            let _ = writeln!(text, "- {source}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outputs: &[(&str, Value)]) -> Answer {
        let outputs = outputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Answer { outputs, found: Vec::new(), missing: Vec::new() }
    }

    #[test]
    fn rows_are_a_table_of_all_their_keys() {
        let rows = Value::list([
            Value::dict([("plan", Value::from("a, \"b\"")), ("n", 1.into())]),
            Value::dict([("n", Value::None), ("more", Value::list([1, 2]))]),
        ]);
        let text = answer(&[("answer", "two".into()), ("rows", rows)]).csv().unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "plan,n,more\n\"a, \"\"b\"\"\",1,\n,,\"[1, 2]\"\n");
        let text = answer(&[("answer", "two".into()), ("n", 2.into())]).csv().unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "answer,n\ntwo,2\n");
    }

    #[test]
    fn forms_go_by_the_ending() {
        assert_eq!(Form::of(Path::new("a/b.CSV")).unwrap(), Form::Csv);
        assert_eq!(Form::of(Path::new("b.md")).unwrap(), Form::Markdown);
        assert!(Form::of(Path::new("b.xlsx")).is_err() && Form::of(Path::new("csv")).is_err());
    }
}

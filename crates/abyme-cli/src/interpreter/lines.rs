//! The lines that come in: cells, and answers to tool calls.

use abyme::{
    Value,
    names::{self, NameUse},
};
use indexmap::IndexMap;

/// A line of stdin.
#[derive(Debug)]
pub(super) enum Line {
    /// Code to run.
    Cell(Box<CellLine>),
    /// What a tool returned.
    Answer(ToolReply),
    /// A line that is neither, and why.
    Bad(String),
}

/// Code to run, and what it finds there.
#[derive(Debug, PartialEq)]
pub(super) struct CellLine {
    pub(super) code: String,
    pub(super) variables: Vec<(String, Value)>,
    /// The tools from now on; `None` leaves them as they are.
    pub(super) tools: Option<Vec<String>>,
    pub(super) outputs: Vec<String>,
}

/// What a tool returned, or the text of its failure.
#[derive(Debug, PartialEq)]
pub(super) struct ToolReply {
    pub(super) id: Option<u64>,
    pub(super) result: Result<Value, String>,
}

/// Names that a session provides whatever the host offers.
const PROVIDED: [&str; 5] = ["FINAL", "FINAL_VAR", "SHOW_VARS", "SUBMIT", "answer"];

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Line {
    read(line).unwrap_or_else(Line::Bad)
}

fn read(line: &[u8]) -> Result<Line, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("the line is not UTF-8: byte {} cannot be read", error.valid_up_to()))?;
    if text.trim().is_empty() {
        return Err("the line is empty; expected a JSON object such as {\"code\": \"print(1)\"}".to_owned());
    }
    let fields = match Value::parse_json(text).map_err(|error| error.message().to_owned())? {
        Value::Dict(fields) => fields,
        other => return Err(format!("expected a JSON object, got {}", kind(&other))),
    };
    match (fields.contains_key("code"), is_answer(&fields)) {
        (true, true) => {
            Err("a line is a cell (`code`) or an answer (`tool_result`, `tool_error`), not both".to_owned())
        }
        (true, false) => cell(fields).map(|cell| Line::Cell(Box::new(cell))),
        (false, true) => answer(fields).map(Line::Answer),
        (false, false) => {
            Err("`code` is missing; an answer to a tool call has `tool_result` or `tool_error`".to_owned())
        }
    }
}

fn is_answer(fields: &IndexMap<String, Value>) -> bool {
    fields.contains_key("tool_result") || fields.contains_key("tool_error")
}

fn cell(mut fields: IndexMap<String, Value>) -> Result<CellLine, String> {
    let code = match fields.swap_remove("code") {
        Some(Value::Text(code)) => code.into_string(),
        other => return Err(format!("`code` has to be a string, not {}", kind(&other.unwrap_or_default()))),
    };
    let variables = match fields.swap_remove("variables") {
        None | Some(Value::None) => Vec::new(),
        Some(Value::Dict(variables)) => variables.into_iter().collect(),
        Some(other) => return Err(format!("`variables` has to be an object, not {}", kind(&other))),
    };
    let tools = names(&mut fields, "tool_names")?;
    let outputs = names(&mut fields, "output_names")?.unwrap_or_default();
    for (name, _) in &variables {
        names::check_name(name, NameUse::Variable).map_err(|problem| format!("`variables`: {problem}"))?;
        if tools.as_ref().is_some_and(|tools| tools.contains(name)) {
            return Err(format!("`{name}` is both a variable and a tool"));
        }
    }
    for name in tools.iter().flatten() {
        names::check_identifier(name).map_err(|problem| format!("`tool_names`: {problem}"))?;
        if PROVIDED.contains(&name.as_str()) {
            return Err(format!("`tool_names`: `{name}` is provided by the session"));
        }
    }
    for name in &outputs {
        names::check_identifier(name).map_err(|problem| format!("`output_names`: {problem}"))?;
    }
    Ok(CellLine { code, variables, tools, outputs })
}

/// A list of different names.
fn names(fields: &mut IndexMap<String, Value>, field: &str) -> Result<Option<Vec<String>>, String> {
    let items = match fields.swap_remove(field) {
        None | Some(Value::None) => return Ok(None),
        Some(Value::List(items)) => items,
        Some(other) => return Err(format!("`{field}` has to be an array of names, not {}", kind(&other))),
    };
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Text(name) if names.iter().any(|other| name == *other) => {}
            Value::Text(name) => names.push(name.into_string()),
            other => return Err(format!("`{field}` has to be an array of names, not of {}", kind(&other))),
        }
    }
    Ok(Some(names))
}

fn answer(mut fields: IndexMap<String, Value>) -> Result<ToolReply, String> {
    let id = match fields.swap_remove("id") {
        None | Some(Value::None) => None,
        Some(Value::Int(id)) if id >= 0 => Some(id.unsigned_abs()),
        Some(_) => return Err("`id` has to be the number that the `tool_call` had".to_owned()),
    };
    let result = match (fields.swap_remove("tool_error"), fields.swap_remove("tool_result")) {
        (None | Some(Value::None), Some(value)) => Ok(value),
        (Some(Value::Text(_)), Some(result)) if !result.is_none() => {
            return Err("an answer has `tool_result` or `tool_error`, not both".to_owned());
        }
        (Some(Value::Text(text)), _) => Err(text.into_string()),
        (other, _) => {
            return Err(format!("`tool_error` has to be a string, not {}", kind(&other.unwrap_or_default())));
        }
    };
    Ok(ToolReply { id, result })
}

/// What JSON calls a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::None => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => "a number",
        Value::Text(_) => "a string",
        Value::List(_) => "an array",
        _ => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        match parse(line.as_bytes()) {
            Line::Bad(problem) => problem,
            other => panic!("{line} was taken: {other:?}"),
        }
    }

    #[test]
    fn a_cell_with_everything() {
        let line = r#"{"code": "f(x)", "variables": {"x": NaN, "n": 123456789012345678901234567890},
            "more": 1, "tool_names": ["f", "llm_query", "f"], "output_names": null}"#;
        let Line::Cell(cell) = parse(line.replace('\n', " ").as_bytes()) else { panic!() };
        assert_eq!(cell.tools.unwrap(), ["f", "llm_query"]);
        assert_eq!(cell.variables[1].1, Value::BigInt("123456789012345678901234567890".into()));
        assert!(cell.outputs.is_empty());
    }

    #[test]
    fn answers() {
        let answer = |line: &str| match parse(line.as_bytes()) {
            Line::Answer(ToolReply { id, result }) => (id, result),
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(r#"{"tool_result": null}"#), (None, Ok(Value::None)));
        assert_eq!(answer(r#"{"tool_result": 1, "tool_error": null, "id": 7}"#), (Some(7), Ok(1.into())));
        assert_eq!(answer(r#"{"tool_error": "no", "id": null}"#), (None, Err("no".to_owned())));
    }

    #[test]
    fn bad_lines_are_named() {
        for (line, part) in [
            ("", "empty"),
            ("{", "not JSON"),
            ("'x'", "not JSON"),
            ("[1]", "got an array"),
            ("{}", "`code` is missing"),
            (r#"{"code": 1}"#, "`code` has to be a string, not a number"),
            (r#"{"code": "", "variables": [1]}"#, "`variables` has to be an object"),
            (r#"{"code": "", "variables": {"a b": 1}}"#, "`a b` is not a Python name"),
            (r#"{"code": "", "variables": {"SUBMIT": 1}}"#, "`SUBMIT` cannot be a variable"),
            (r#"{"code": "", "variables": {"f": 1}, "tool_names": ["f"]}"#, "both a variable and a tool"),
            (r#"{"code": "", "tool_names": "f"}"#, "array of names, not a string"),
            (r#"{"code": "", "tool_names": [1]}"#, "not of a number"),
            (r#"{"code": "", "tool_names": ["class"]}"#, "keyword"),
            (r#"{"code": "", "tool_names": ["a-b"]}"#, "not a Python name"),
            (r#"{"code": "", "tool_names": ["SUBMIT"]}"#, "provided by the session"),
            (r#"{"code": "", "output_names": ["1a"]}"#, "not a Python name"),
            (r#"{"code": "", "tool_result": 1}"#, "not both"),
            (r#"{"tool_result": 1, "tool_error": "no"}"#, "not both"),
            (r#"{"tool_error": 1}"#, "`tool_error` has to be a string"),
            (r#"{"tool_result": 1, "id": "x"}"#, "`id` has to be the number"),
        ] {
            assert!(problem(line).contains(part), "{line}: {}", problem(line));
        }
        assert!(matches!(parse(b"{\"code\": \"\xff\"}"), Line::Bad(problem) if problem.contains("byte 10")));
    }
}

//! The public functions of a Python source, so that a model can be told of them.

use std::{error, fmt, ops::Range};

use ruff_python_ast::{Expr, Parameter, ParameterWithDefault, Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextRange};

use crate::parse::{MAX_DEPTH, Parsed, is_valid, parse};

/// A function as its source defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its parameters and what it returns, in the words of the source:
    /// `(text: str, *, limit: int = 3) -> list`. They stay one text: models read them, and Python itself
    /// binds them.
    pub signature: String,
    /// Its docstring, without the indentation that it shares with the code around it.
    pub docstring: String,
}

/// Why a source cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    line: usize,
    message: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl error::Error for SourceError {}

/// The functions that a source defines at its top level, except those whose names start with an underscore.
///
/// # Errors
/// The line, and what is wrong in it, if the source is not valid Python or too deeply nested to be read.
pub fn public_functions(source: &str) -> Result<Vec<Function>, SourceError> {
    let suite = match parse(source) {
        Parsed::Module(suite) => suite,
        Parsed::Invalid(Some(error)) => {
            let before = &source[..usize::from(error.location.start()).min(source.len())];
            let line = before.matches('\n').count() + 1;
            return Err(SourceError { line, message: error.error.to_string() });
        }
        Parsed::Invalid(None) => {
            let message = "the statement that starts here is not valid Python".to_owned();
            return Err(SourceError { line: line_of_invalid_statement(source), message });
        }
        Parsed::TooDeep => {
            let message = format!("the source is nested deeper than {MAX_DEPTH} levels, or too large");
            return Err(SourceError { line: 1, message });
        }
    };
    let functions = suite.iter().filter_map(|statement| match statement {
        Stmt::FunctionDef(function) if !function.name.starts_with('_') => Some(Function {
            name: function.name.to_string(),
            signature: signature(function, source),
            docstring: docstring(function),
        }),
        _ => None,
    });
    Ok(functions.collect())
}

/// Where the first statement starts that is not valid: everything before it is.
fn line_of_invalid_statement(source: &str) -> usize {
    let mut start = 0;
    let starts = source.split_inclusive('\n').enumerate().filter_map(|(index, line)| {
        let here = start;
        start += line.len();
        let indented = line.starts_with([' ', '\t', '#', ')', ']', '}']) || line.trim().is_empty();
        (!indented).then_some((index + 1, here))
    });
    let starts: Vec<(usize, usize)> = starts.collect();
    starts.into_iter().rev().find(|(_, start)| is_valid(&source[..*start])).map_or(1, |(line, _)| line)
}

fn signature(function: &StmtFunctionDef, source: &str) -> String {
    let text = |range: TextRange| source.get(Range::<usize>::from(range)).unwrap_or_default();
    let plain = |given: &Parameter| match &given.annotation {
        Some(annotation) => format!("{}: {}", given.name, text(annotation.range())),
        None => given.name.to_string(),
    };
    let with_default = |given: &ParameterWithDefault| {
        let annotation = if given.parameter.annotation.is_none() { ": Any" } else { "" };
        match &given.default {
            Some(default) => format!("{}{annotation} = {}", plain(&given.parameter), text(default.range())),
            None => plain(&given.parameter),
        }
    };
    let given = &function.parameters;
    let mut parameters: Vec<String> = given.posonlyargs.iter().chain(&given.args).map(with_default).collect();
    parameters.extend(given.vararg.iter().map(|given| format!("*{}", plain(given))));
    if !given.kwonlyargs.is_empty() {
        parameters.push("*".to_owned());
    }
    parameters.extend(given.kwonlyargs.iter().map(with_default));
    parameters.extend(given.kwarg.iter().map(|given| format!("**{}", plain(given))));
    let returns = function.returns.as_ref().map(|returns| format!(" -> {}", text(returns.range())));
    format!("({}){}", parameters.join(", "), returns.unwrap_or_default())
}

/// As Python's `inspect.cleandoc` shows it.
fn docstring(function: &StmtFunctionDef) -> String {
    let Some(Stmt::Expr(first)) = function.body.first() else { return String::new() };
    let Expr::StringLiteral(literal) = &*first.value else { return String::new() };
    let text = literal.value.to_str().replace('\t', "        ");
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let margin = rest.lines().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    let lines = rest.lines().map(|line| line.get(margin..).unwrap_or_default().trim_end());
    let lines: Vec<&str> = std::iter::once(first.trim()).chain(lines).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_functions_are_described_as_written() {
        let source = "import re\n\ndef find(text: str, flags=re.I, *, limit: int = 3) -> list:\n    \
            '''Find.\n\n    More.'''\n\ndef _private(): ...\n";
        let [find] = &public_functions(source).unwrap()[..] else { unreachable!() };
        assert_eq!(find.docstring, "Find.\n\nMore.");
        assert_eq!(find.signature, "(text: str, flags: Any = re.I, *, limit: int = 3) -> list");
    }

    #[test]
    fn a_docstring_keeps_the_indentation_of_its_parts() {
        let source = "def f():\n    \"\"\"\n    Parts:\n        a: one\n\n        b: two\n    \"\"\"\n";
        let [f] = &public_functions(source).unwrap()[..] else { unreachable!() };
        assert_eq!(f.docstring, "Parts:\n    a: one\n\n    b: two");
    }

    #[test]
    fn a_source_that_does_not_parse_names_its_line() {
        let line = |source: &str| public_functions(source).unwrap_err().to_string();
        assert!(line("x = 1\ndef f(:\n").starts_with("line 2: "));
        assert!(line("def f():\n    return 1\n\ny = (1\n\ndef g(): ...\n").starts_with("line 4: "));
        assert!(line("if x:\n    pass\nelse:\n    y = 1 +\n").starts_with("line 4: "));
        assert!(line("if x:\n    pass\nelse:\n    pass\nz = 'a\n").starts_with("line 5: "));
    }

    #[test]
    fn a_source_too_deep_to_be_read_is_refused() {
        let source = format!("x = {}1{}\n", "[".repeat(10_000), "]".repeat(10_000));
        assert!(public_functions(&source).unwrap_err().to_string().contains("nested deeper than"));
    }
}

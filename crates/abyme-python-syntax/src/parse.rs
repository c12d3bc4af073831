//! The one parse of Python, which no input can turn into a stack overflow, and what it tells about a text.

mod nesting;

#[cfg(test)]
mod tests;

use ruff_python_ast::{Expr, Stmt, Suite};
use ruff_python_parser::{ParseError, parse_module};
use ruff_text_size::Ranged;

/// What [`parse`] found.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Valid Python, statement by statement.
    Module(Suite),
    /// Not Python; running it yields a `SyntaxError` and nothing else. The parser's error is missing where
    /// the lexer refused the text already.
    Invalid(Option<ParseError>),
    /// Nested or chained deeper than [`MAX_DEPTH`], or larger than [`MAX_BYTES`]: not looked at.
    TooDeep,
}

/// Parses `code` as a module.
///
/// The parser grows its own stack, but the tree it returns is dropped and walked recursively. So the depth is
/// bounded from the tokens first, and text the lexer already refuses never reaches the parser: error recovery
/// builds trees whose shape the bound does not cover.
pub(crate) fn parse(code: &str) -> Parsed {
    if code.len() > MAX_BYTES {
        return Parsed::TooDeep;
    }
    match nesting::depth(code) {
        None => Parsed::Invalid(None),
        Some(depth) if depth > MAX_DEPTH => Parsed::TooDeep,
        Some(_) => match parse_module(code) {
            Ok(module) => Parsed::Module(module.into_suite()),
            Err(error) => Parsed::Invalid(Some(error)),
        },
    }
}

/// Whether `code` is valid Python.
pub(crate) fn is_valid(code: &str) -> bool {
    matches!(parse(code), Parsed::Module(_))
}

/// Whether text that nothing marks as code is code all the same: valid Python that does something.
///
/// A single word, a number, `yes, no` and `Answer: 42` (an annotation, to Python) are valid Python too, and
/// are prose. So is `Paris (France)`, which parses as a call: a call counts only where its parenthesis
/// touches the name.
pub(crate) fn is_program(text: &str) -> bool {
    match parse(text) {
        Parsed::Module(suite) => suite.iter().any(statement_acts),
        Parsed::Invalid(_) | Parsed::TooDeep => false,
    }
}

/// Whether the content of a fence without a tag is code: valid Python that is not merely data.
pub(crate) fn is_code(text: &str) -> bool {
    match parse(text) {
        Parsed::Module(suite) => suite.iter().any(|statement| match statement {
            Stmt::Expr(it) => !is_data(&it.value),
            Stmt::AnnAssign(it) => it.value.is_some(),
            _ => true,
        }),
        Parsed::Invalid(_) | Parsed::TooDeep => false,
    }
}

/// Whether the content of a fence without a tag is Python, or so close to it that the syntax error is the
/// answer the model needs.
pub(crate) fn looks_like_code(code: &str) -> bool {
    is_code(code) || code.lines().any(is_line_of_code)
}

/// The same for text that a fence does not mark: a word is not enough.
pub(crate) fn looks_like_program(text: &str) -> bool {
    is_program(text) || text.lines().any(is_line_of_code)
}

fn is_line_of_code(line: &str) -> bool {
    let line = line.trim();
    let is_header =
        ["def ", "for ", "while ", "if ", "with ", "class "].iter().any(|word| line.starts_with(word));
    let is_import = line.starts_with("import ") || line.starts_with("from ") && line.contains(" import ");
    is_header && line.ends_with(':') || line.starts_with("print(") || is_import && is_valid(line)
}

fn statement_acts(statement: &Stmt) -> bool {
    match statement {
        Stmt::Expr(it) => expression_acts(&it.value),
        Stmt::AnnAssign(it) => it.value.is_some(),
        Stmt::Raise(it) => it.exc.as_deref().is_some_and(expression_acts),
        Stmt::Assert(it) => !it.test.is_name_expr(),
        Stmt::Return(_)
        | Stmt::Pass(_)
        | Stmt::Break(_)
        | Stmt::Continue(_)
        | Stmt::Global(_)
        | Stmt::Nonlocal(_)
        | Stmt::IpyEscapeCommand(_) => false,
        _ => true,
    }
}

fn expression_acts(expression: &Expr) -> bool {
    match expression {
        Expr::Call(it) => it.func.end() == it.arguments.range.start(),
        Expr::Await(it) => expression_acts(&it.value),
        Expr::Attribute(it) => expression_acts(&it.value),
        Expr::Subscript(it) => expression_acts(&it.value) || it.value.end() == bracket_start(it),
        Expr::BinOp(it) => expression_acts(&it.left) || expression_acts(&it.right),
        Expr::UnaryOp(it) => expression_acts(&it.operand),
        Expr::Compare(it) => expression_acts(&it.left) || it.comparators.iter().any(expression_acts),
        Expr::BoolOp(it) => it.values.iter().any(expression_acts),
        Expr::Tuple(it) => it.elts.iter().any(expression_acts),
        Expr::List(it) => it.elts.iter().any(expression_acts),
        Expr::Dict(it) => it.items.iter().any(|item| expression_acts(&item.value)),
        Expr::If(it) => expression_acts(&it.body) || expression_acts(&it.orelse),
        Expr::FString(_)
        | Expr::ListComp(_)
        | Expr::SetComp(_)
        | Expr::DictComp(_)
        | Expr::Generator(_)
        | Expr::Named(_) => true,
        _ => false,
    }
}

/// Where a plain index would open its bracket if nothing stood between it and its value: `docs[0]`, not
/// `docs [0]`.
fn bracket_start(subscript: &ruff_python_ast::ExprSubscript) -> ruff_text_size::TextSize {
    subscript.slice.start().checked_sub(1.into()).unwrap_or_default()
}

/// Literals, displays of literals, and JSON's own words.
fn is_data(expression: &Expr) -> bool {
    match expression {
        Expr::Name(it) => matches!(it.id.as_str(), "true" | "false" | "null"),
        Expr::UnaryOp(it) => is_data(&it.operand),
        Expr::List(it) => it.elts.iter().all(is_data),
        Expr::Tuple(it) => it.elts.iter().all(is_data),
        Expr::Set(it) => it.elts.iter().all(is_data),
        Expr::Dict(it) => {
            it.items.iter().all(|item| item.key.as_ref().is_none_or(is_data) && is_data(&item.value))
        }
        other => other.is_literal_expr(),
    }
}

/// Deepest tree that is parsed. Measured to need well under a quarter of a 2 MiB thread stack in a debug
/// build.
pub(crate) const MAX_DEPTH: usize = 200;

/// Largest source that is parsed.
pub(crate) const MAX_BYTES: usize = 64 << 20;

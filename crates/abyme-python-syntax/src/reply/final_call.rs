//! Submissions outside of code: `FINAL(...)` in prose, and the literals of a submission that nothing runs.

use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::Ranged;

use super::marks::is_mentioned;
use crate::parse::{self, Parsed};

/// A call of `SUBMIT`, `FINAL` or `FINAL_VAR` that stands in prose.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProseCall {
    /// It is the reply's last word, or has a line of its own, or all of it is spelled out: the model means
    /// it.
    Meant { code: String, end: usize },
    /// It cannot be read, or it may be one that the model only speaks of.
    Unclear(&'static str),
}

/// Finds the first such call in the text of a reply without code.
pub(super) fn prose_call(text: &str) -> Option<ProseCall> {
    let mut at = 0;
    for _ in 0..MAX_CALLS {
        let (start, name) = NAMES
            .iter()
            .filter_map(|name| Some((at + text.get(at..)?.find(&format!("{name}("))?, *name)))
            .min()?;
        at = start + name.len();
        let before = text[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(end) = end_of_call(text, start) else {
            return Some(ProseCall::Unclear(name));
        };
        if is_mentioned(text.as_bytes(), start, end) {
            at = end;
            continue;
        }
        let code = &text[start..end];
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let leads = text[line_start..start].trim_matches([' ', '\t', '*', '>']).is_empty();
        let is_last = text[end..].trim_matches([' ', '\n', '\r', '.', '*', '`']).is_empty();
        let meant = match submitted_literals(code) {
            Some(_) => true,
            None => (leads || is_last) && !code.contains("..."),
        };
        return Some(match meant {
            true => ProseCall::Meant { code: code.to_owned(), end },
            false => ProseCall::Unclear(name),
        });
    }
    None
}

/// Where the call that starts at `start` ends: the first parenthesis with which it is an expression.
fn end_of_call(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    for _ in 0..MAX_ENDS {
        at += text.get(at..)?.find(')')? + 1;
        if parse::is_valid(&text[start..at]) {
            return Some(at);
        }
    }
    None
}

/// What a submission that nothing runs says: for each argument its name, if it has one, and the source of a
/// literal.
///
/// It is the last call of `SUBMIT`, `FINAL` or `FINAL_VAR` among the statements of `code`. A name counts as
/// the literal that the code assigns to it. `None` if there is no such call, or if its arguments are anything
/// but literals.
///
/// ```
/// use abyme_python_syntax::submitted_literals;
///
/// let code = "names = ['a']\nSUBMIT(names=names, total=1)";
/// let literals = submitted_literals(code).unwrap_or_default();
/// assert_eq!(literals[0], (Some("names".to_owned()), "['a']".to_owned()));
/// assert_eq!(literals[1], (Some("total".to_owned()), "1".to_owned()));
/// assert_eq!(submitted_literals("SUBMIT(total=len(x))"), None);
/// ```
#[must_use]
pub fn submitted_literals(code: &str) -> Option<Vec<(Option<String>, String)>> {
    let Parsed::Module(suite) = parse::parse(code) else { return None };
    let source = |expression: &Expr| code[expression.range()].to_owned();
    let assigned = |name: &str| {
        suite.iter().rev().find_map(|statement| match statement {
            Stmt::Assign(it) => match &it.targets[..] {
                [Expr::Name(target)] if target.id == name => Some(&*it.value),
                _ => None,
            },
            Stmt::AnnAssign(it) => match &*it.target {
                Expr::Name(target) if target.id == name => it.value.as_deref(),
                _ => None,
            },
            _ => None,
        })
    };
    let literal = |expression: &Expr| match expression {
        Expr::Name(name) => assigned(name.id.as_str()).filter(|value| is_literal(value)).map(source),
        other => is_literal(other).then(|| source(other)),
    };
    let call = suite.iter().rev().find_map(|statement| match statement {
        Stmt::Expr(it) => match &*it.value {
            Expr::Call(call) => match &*call.func {
                Expr::Name(name) if NAMES.contains(&name.id.as_str()) => Some((name.id.as_str(), call)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let (name, call) = call?;
    let mut literals = Vec::new();
    for argument in &call.arguments.args {
        let value = match (name, argument) {
            // The name of a variable is not the value.
            ("FINAL_VAR", Expr::StringLiteral(text)) => {
                assigned(text.value.to_str()).filter(|value| is_literal(value)).map(source)
            }
            _ => literal(argument),
        };
        literals.push((None, value?));
    }
    for keyword in &call.arguments.keywords {
        literals.push((Some(keyword.arg.as_ref()?.to_string()), literal(&keyword.value)?));
    }
    (!literals.is_empty()).then_some(literals)
}

fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::UnaryOp(it) => is_literal(&it.operand),
        Expr::List(it) => it.elts.iter().all(is_literal),
        Expr::Tuple(it) => it.elts.iter().all(is_literal),
        Expr::Dict(it) => {
            it.items.iter().all(|item| item.key.as_ref().is_some_and(is_literal) && is_literal(&item.value))
        }
        Expr::EllipsisLiteral(_) => false,
        other => other.is_literal_expr(),
    }
}

const NAMES: &[&str] = &["SUBMIT", "FINAL_VAR", "FINAL"];
/// Calls that are looked at in one reply.
const MAX_CALLS: usize = 8;
/// Parentheses that are tried as the end of a call.
const MAX_ENDS: usize = 16;

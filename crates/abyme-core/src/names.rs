//! Which names inputs, outputs and tools may have: Python's rules, and the names a session needs for itself.
//!
//! Inputs and tools become global variables of a session, so they must be names of Python that nothing else
//! there depends on. Outputs are keywords of `SUBMIT(name=...)` and never variables, so an output may be
//! called `list`.

use std::fmt;

use unicode_ident::{is_xid_continue, is_xid_start};
use unicode_normalization::{UnicodeNormalization, is_nfkc};

use crate::error::{Error, ErrorKind};

#[cfg(test)]
mod tests;

/// Python's keywords, 3.9 to 3.14. `match`, `case`, `type` and `_` are keywords in places only, and legal
/// names.
pub const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// The names a session provides, and restores after every cell.
pub const RESERVED: &[&str] = &[
    "FINAL",
    "FINAL_VAR",
    "SHOW_VARS",
    "SUBMIT",
    "answer",
    "llm_batch",
    "llm_query",
    "llm_query_batched",
    "rlm_query",
    "rlm_query_batched",
];

/// What Python itself keeps in a module, under names that code cannot do without or cannot set.
const OF_MODULES: &[&str] = &[
    "__annotations__",
    "__build_class__",
    "__builtins__",
    "__cached__",
    "__debug__",
    "__dict__",
    "__doc__",
    "__file__",
    "__import__",
    "__loader__",
    "__name__",
    "__package__",
    "__path__",
    "__spec__",
];

/// Names of Python that almost every cell relies on, so that an input or tool of that name would break cell
/// after cell with messages such as `'str' object is not callable`.
///
/// The list is short on purpose: an input may be called `input`, `id`, `type`, `format`, `hash`, `map` or
/// `copy`, which are natural names for data and hide something that cells can do without.
pub const RELIED_ON: &[&str] = &[
    "all",
    "any",
    "bool",
    "datetime",
    "dict",
    "enumerate",
    "float",
    "int",
    "isinstance",
    "json",
    "len",
    "list",
    "math",
    "max",
    "min",
    "open",
    "print",
    "range",
    "re",
    "repr",
    "set",
    "sorted",
    "str",
    "sum",
    "tuple",
    "zip",
];

/// Whether a name is in one of these lists, asked while compiling, where `contains` cannot be called.
pub(crate) const fn listed(names: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < names.len() {
        if is_same(names[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether two texts are the same, asked while compiling.
pub(crate) const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameUse {
    /// An input of a signature.
    Input,
    /// An output of a signature.
    Output,
    /// A tool: a host function of the user's.
    Tool,
    /// A variable that a program puts into a session of its own.
    Variable,
}

impl fmt::Display for NameUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameUse::Input => "input",
            NameUse::Output => "output",
            NameUse::Tool => "tool",
            NameUse::Variable => "variable",
        })
    }
}

/// Why a name cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameProblem {
    message: String,
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NameProblem {}

impl From<NameProblem> for Error {
    fn from(problem: NameProblem) -> Self {
        Error::new(ErrorKind::InvalidInput, problem.message)
    }
}

/// Whether an input, output or tool may have this name.
///
/// All must be [identifiers](check_identifier). No name of what a session provides may be
/// taken ([`RESERVED`]), with one exception: all but a tool may be called `answer`, as in
/// `question -> answer` and `question, answer -> grade`. Such an input takes the place of the session's
/// `answer` dict. Inputs and tools may not take a name that cells rely on ([`RELIED_ON`]). A variable of a
/// program's own session may hide what it likes of Python.
///
/// ```
/// use abyme_core::names::{NameUse, check_name};
///
/// assert!(check_name("docs", NameUse::Input).is_ok());
/// assert_eq!(
///     check_name("my docs", NameUse::Input).unwrap_err().to_string(),
///     "`my docs` is not a Python name: ` ` cannot be part of one; `my_docs` can be used"
/// );
/// ```
///
/// # Errors
/// A [`NameProblem`] that says what to do.
pub fn check_name(name: &str, usage: NameUse) -> Result<(), NameProblem> {
    check_identifier(name)?;
    let problem = |why: &str| Err(refuse(name, usage, why));
    let listed = |names: &[&str]| names.binary_search(&name).is_ok();
    match usage {
        NameUse::Input | NameUse::Output | NameUse::Variable if name == "answer" => Ok(()),
        _ if listed(RESERVED) => problem("the session provides something of that name"),
        NameUse::Input | NameUse::Tool if listed(RELIED_ON) => {
            problem("it would hide the Python name that the model's code relies on")
        }
        _ => Ok(()),
    }
}

fn refuse(name: &str, usage: NameUse, why: &str) -> NameProblem {
    let article = if matches!(usage, NameUse::Tool | NameUse::Variable) { "a" } else { "an" };
    let other = match usage {
        NameUse::Input => format!("{name}_text"),
        NameUse::Output | NameUse::Variable => format!("{name}_value"),
        NameUse::Tool => format!("my_{name}"),
    };
    NameProblem {
        message: format!("`{name}` cannot be {article} {usage}: {why}; use another name, such as `{other}`"),
    }
}

/// Whether Python takes this as the name of a variable.
///
/// That is `str.isidentifier()` and not a [keyword](KEYWORDS). Two things Python would accept are refused: a
/// name that Python reads as a different one (identifiers are NFKC-normalised, so `ﬁle` means `file`), and
/// the names that Python itself has in every module, such as `__name__`.
///
/// # Errors
/// A [`NameProblem`] that says what to do.
pub fn check_identifier(name: &str) -> Result<(), NameProblem> {
    let problem = |message: String| Err(NameProblem { message });
    let shown = ticked(name);
    let Some(first) = name.chars().next() else {
        return problem("a name is missing: write a Python name, such as `docs`".to_owned());
    };
    if !starts_name(first) && !is_xid_continue(first) || !name.chars().skip(1).all(is_xid_continue) {
        let wrong = name.chars().find(|&char| !is_xid_continue(char)).unwrap_or(first);
        let advice = advice(name);
        return problem(format!(
            "{shown} is not a Python name: {} cannot be part of one{advice}",
            ticked_char(wrong)
        ));
    }
    if !starts_name(first) {
        let advice = advice(name);
        return problem(format!(
            "{shown} is not a Python name: {} cannot start one{advice}",
            ticked_char(first)
        ));
    }
    if KEYWORDS.binary_search(&name).is_ok() {
        return problem(format!("`{name}` is a keyword of Python; use another name, such as `{name}_`"));
    }
    if !is_nfkc(name) {
        let normal: String = name.nfkc().collect();
        return problem(format!(
            "Python reads the name {shown} as {} (NFKC); write it that way",
            ticked(&normal)
        ));
    }
    if OF_MODULES.binary_search(&name).is_ok() {
        return problem(format!("the name {shown} belongs to Python, in every module; use another name"));
    }
    Ok(())
}

fn starts_name(char: char) -> bool {
    char == '_' || is_xid_start(char)
}

/// A usable name that looks like the unusable one, as the end of a message.
fn advice(name: &str) -> String {
    let mut other: String = name
        .trim()
        .chars()
        .take(40)
        .nfkc()
        .map(|char| if is_xid_continue(char) { char } else { '_' })
        .collect();
    if !other.starts_with(starts_name) {
        other.insert(0, '_');
    }
    match check_identifier(&other) {
        Ok(()) if other.chars().any(char::is_alphanumeric) => format!("; `{other}` can be used"),
        _ => "; use letters, digits and `_`".to_owned(),
    }
}

/// A name as messages show it: between backticks, of bounded length, control characters escaped.
pub(crate) fn ticked(name: &str) -> String {
    let mut shown: String = name.chars().take(60).flat_map(shown_char).collect();
    if name.chars().nth(60).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

fn ticked_char(char: char) -> String {
    format!("`{}`", shown_char(char).collect::<String>())
}

fn shown_char(char: char) -> Box<dyn Iterator<Item = char>> {
    if char.is_control() { Box::new(char.escape_default()) } else { Box::new(std::iter::once(char)) }
}

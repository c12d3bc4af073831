//! What a policy found.

use std::error::Error;
use std::fmt;

use crate::python::MAX_DEPTH;

/// The first thing in a cell that its policy denies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The line of the cell, from 1.
    pub line: usize,
    /// The character of that line, from 1.
    pub column: usize,
    /// The rule, as in the policy's configuration: `deny_imports: socket`.
    pub rule: String,
    /// What the cell does there: ``import of `socket` ``.
    pub what: String,
}

impl Violation {
    pub(super) fn new(code: &str, offset: usize, rule: String, what: String) -> Self {
        let before = code.get(..offset).unwrap_or(code);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Self { line, column, rule, what }
    }

    pub(super) fn too_deep() -> Self {
        let what = format!("code nested deeper than {MAX_DEPTH} levels");
        Self { line: 1, column: 1, rule: "nesting".to_owned(), what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocked: line {}: {} is denied by the code policy", self.line, self.what)
    }
}

impl Error for Violation {}

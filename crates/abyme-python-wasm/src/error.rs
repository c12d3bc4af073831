//! What can be wrong with the data.

use std::fmt;

/// A file in this crate is damaged: it does not hold what it held when the crate was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataError {
    file: &'static str,
    problem: String,
}

impl DataError {
    pub(crate) fn new(file: &'static str, problem: impl fmt::Display) -> Self {
        Self { file, problem: problem.to_string() }
    }

    /// The damaged file's name, such as `python.wasm.zst`.
    pub fn file(&self) -> &str {
        self.file
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in this program is damaged ({}): build or install the program again, from a fresh copy of \
             the crate abyme-python-wasm; in a checkout of abyme, restore crates/abyme-python-wasm/data or \
             run `cargo xtask python-wasm`",
            self.file, self.problem
        )
    }
}

impl std::error::Error for DataError {}

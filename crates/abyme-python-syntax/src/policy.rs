//! An optional look at a cell's syntax tree before it runs. A guard rail, never the security boundary.

mod code_policy;
mod environment;
mod guard_rail;
mod names;
mod rules;
#[cfg(test)]
mod tests;

pub use self::code_policy::{CodePolicy, Violation};

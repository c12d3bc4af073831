//! Attributes for Abyme: a struct as the signature of a task, a function as a tool of its cells.
//!
//! Programs use them through the crate `abyme`.

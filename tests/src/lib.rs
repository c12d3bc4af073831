//! Whole runs over several crates live in `tests/` of this package.

//! What the files in `data/` hold. Written by `cargo xtask python-wasm`; not edited by hand.

/// The version of CPython.
pub const PYTHON_VERSION: &str = "3.13.5";

/// The sha256 of [`python_wasm`](crate::python_wasm), in hexadecimal.
pub const PYTHON_WASM_SHA256: &str = "1508676a63f72ec0e449d690ea511e3174cd479af40352397856e1048af798c7";

/// The sha256 of [`stdlib_tar`](crate::stdlib_tar), in hexadecimal.
pub const STDLIB_SHA256: &str = "5b389f6e2bc9ad2cd96f6c598993cb878a86ab897ddef54845028d9a4bbd905f";

pub(crate) const PYTHON_WASM_SIZE: usize = 6679230;

pub(crate) const STDLIB_SIZE: usize = 9482240;

//! CPython for WASI with its standard library, as data.
//!
//! [`python_wasm`] is CPython as one core WebAssembly module for WASI preview 1, with the host calls of
//! `guest/GUEST.md` built in. [`stdlib_tar`] is its standard library as sources. Both are in this crate,
//! compressed; there is no code here that runs them. Building them from pinned sources gives the same bytes
//! again: `build.sh`, or in a checkout of Abyme `cargo xtask python-wasm --check`.
//!
//! ```
//! let module = abyme_python_wasm::python_wasm()?;
//! assert!(module.starts_with(b"\0asm"));
//! # Ok::<(), abyme_python_wasm::DataError>(())
//! ```

mod data;
mod digests;
mod error;
mod licenses;

pub use self::{
    data::{python_wasm, stdlib_tar},
    digests::{PYTHON_VERSION, PYTHON_WASM_SHA256, STDLIB_SHA256},
    error::DataError,
    licenses::LICENSES,
};

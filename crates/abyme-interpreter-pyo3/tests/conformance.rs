//! The shared conformance suite over the pyo3 backend. All sessions of a process share its modules, so each
//! case has a process of its own.

use std::process::ExitCode;

use abyme_conformance::{FactoryHarness, Suite};
use abyme_interpreter_pyo3::Pyo3;

fn main() -> ExitCode {
    Suite::new(FactoryHarness::new(Pyo3::new())).process_per_case().main()
}

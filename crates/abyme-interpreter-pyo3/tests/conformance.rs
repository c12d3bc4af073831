//! The shared conformance suite over the pyo3 backend.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_pyo3::Pyo3;

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(Pyo3::new()),
    xfail: []
}

//! The shared conformance suite over the pyo3 backend.

use droste_conformance::FactoryHarness;
use droste_interpreter_pyo3::Pyo3Factory;

droste_conformance::interpreter_suite! {
    harness: FactoryHarness::new(Pyo3Factory::default()),
    xfail: []
}

//! The shared conformance suite over the subprocess backend.

use droste_conformance::FactoryHarness;
use droste_interpreter_subprocess::SubprocessFactory;

droste_conformance::interpreter_suite! {
    harness: FactoryHarness::new(SubprocessFactory::default()),
    xfail: []
}

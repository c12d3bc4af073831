//! The shared conformance suite over the subprocess backend.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_subprocess::Subprocess;

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(Subprocess::new()),
    xfail: []
}

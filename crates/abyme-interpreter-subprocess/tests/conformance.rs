//! The shared conformance suite over the subprocess backend.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_subprocess::SubprocessFactory;

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(SubprocessFactory::default()),
    xfail: []
}

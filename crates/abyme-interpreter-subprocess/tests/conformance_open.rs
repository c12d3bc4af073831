//! The shared conformance suite over sessions without isolation, which start processes.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(Subprocess::new().isolation(IsolationMode::Off)),
    xfail: []
}

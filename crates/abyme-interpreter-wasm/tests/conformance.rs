//! The shared conformance suite over the wasm backend, as it is by default.

use abyme_conformance::FactoryHarness;
use abyme_interpreter_wasm::Wasm;

abyme_conformance::interpreter_suite! {
    harness: FactoryHarness::new(Wasm::new()),
    xfail: []
}

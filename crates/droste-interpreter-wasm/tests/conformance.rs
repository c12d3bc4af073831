//! The shared conformance suite over the wasm backend, as it is by default.

use droste_conformance::FactoryHarness;
use droste_interpreter_wasm::WasmFactory;

droste_conformance::interpreter_suite! {
    harness: FactoryHarness::new(WasmFactory::default()),
    xfail: []
}

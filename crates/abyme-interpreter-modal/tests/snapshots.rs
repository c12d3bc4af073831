//! The cases of the conformance suite about sessions that are saved, with a Modal on loopback that restores a
//! sandbox by doing again what was done in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

fn main() -> std::process::ExitCode {
    let harness = common::FakeHarness::with(|modal| modal.snapshots(true));
    abyme_conformance::Suite::new(harness).only("c16_snapshots").main()
}

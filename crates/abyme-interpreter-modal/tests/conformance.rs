//! The shared conformance suite over the Modal backend, with a Modal on loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

abyme_conformance::interpreter_suite! {
    harness: common::FakeHarness::default(),
    xfail: []
}

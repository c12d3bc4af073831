//! The suites that certify an interpreter backend or a language model: one case per promise.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend_tests;
mod case;
mod harness;
mod host;
mod job;
mod machine;
pub mod memory;
pub mod model;
mod observed;
pub mod prerequisite;
mod result;
mod runner;
mod session;
mod suite;
mod themes;

pub use self::{
    backend_tests::BackendTests,
    case::{Case, Need},
    harness::{FactoryHarness, Harness},
    result::CaseResult,
    suite::{Suite, Verdict, run_all, run_case},
    themes::{case_names, cases},
};

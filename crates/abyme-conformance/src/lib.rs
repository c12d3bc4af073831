//! The suite that certifies an interpreter backend: one case per promise, clause by clause.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend_tests;
mod case;
mod harness;
mod host;
mod machine;
pub mod memory;
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

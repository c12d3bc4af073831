//! The suite that certifies an interpreter backend: one case per promise, clause by clause.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend_tests;
mod case;
mod cases;
mod harness;
mod host;
mod machine;
mod outcome;
mod prerequisite;
mod runner;
mod seen;
mod subject;
mod suite;

pub use self::{
    backend_tests::BackendTests,
    case::{Case, Need},
    harness::{FactoryHarness, Harness},
    outcome::Outcome,
    suite::{Suite, Verdict},
};

/// Every case of the suite, in the order of the contract's clauses.
pub fn cases() -> Vec<&'static Case> {
    cases::all()
}

/// The full name of every case, such as `c07_submission::the_first_one_wins`.
pub fn case_names() -> Vec<&'static str> {
    cases::all().into_iter().map(Case::name).collect()
}

/// Runs one case against a fresh session and tells how it ended. Nothing is expected to fail here: this is for tests
/// of the suite itself, such as an interpreter with a planted fault.
///
/// `name` is a full name or the part after `::`; an unknown one is a failure. Works on any executor.
pub async fn run_case(harness: impl Harness, name: &str) -> Outcome {
    Suite::new(harness).run_case(name).await
}

/// Runs every case, as many at a time as the machine has cores, and tells how each ended.
pub async fn run_all(harness: impl Harness) -> Vec<(&'static str, Outcome)> {
    Suite::new(harness).run_all().await
}

/// Makes the `main` of a `[[test]]` target with `harness = false` that runs every case against a backend.
///
/// `harness` is an expression: a [`Harness`] of your own, or a [`FactoryHarness`] around an
/// [`InterpreterFactory`](abyme_core::InterpreterFactory). `xfail` lists the cases known to fail, each with the
/// reason. They run all the same: one that passes fails the target, and so does a name that is no case.
///
/// ```
/// # mod example {
/// # use abyme_core::{Capabilities, CodeInterpreter, InterpreterFactory};
/// # #[derive(Debug)] struct TheirFactory(Capabilities);
/// # impl TheirFactory { fn new() -> Self { Self(Capabilities::new(abyme_core::Isolation::None)) } }
/// # #[async_trait::async_trait]
/// # impl InterpreterFactory for TheirFactory {
/// #     fn name(&self) -> &str { "theirs" }
/// #     fn capabilities(&self) -> &Capabilities { &self.0 }
/// #     async fn create(&self) -> abyme_core::Result<Box<dyn CodeInterpreter>> {
/// #         Err(abyme_core::Error::new(abyme_core::ErrorKind::Unavailable, "only an example"))
/// #     }
/// # }
/// abyme_conformance::interpreter_suite! {
///     harness: abyme_conformance::FactoryHarness::new(TheirFactory::new()),
///     xfail: [("c10_time_limits::a_loop_is_interrupted", "signals do not reach the guest yet")],
/// }
/// # }
/// ```
#[macro_export]
macro_rules! interpreter_suite {
    (harness: $harness:expr $(, xfail: [$(($case:expr, $reason:expr)),* $(,)?])? $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::Suite::new($harness)$($(.xfail($case, $reason))*)?.main()
        }
    };
}

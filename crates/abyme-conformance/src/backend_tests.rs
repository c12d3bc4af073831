//! Tests of a backend besides the suite.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Arc,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    harness::{AnyHarness, Harness},
    job::CaseFuture,
    prerequisite::{Prerequisite, obstacle, required_but},
    result::{CaseResult, of_panic},
};

/// Tests of a backend besides the suite, for a target with `harness = false`. As with the suite's cases, they
/// show as ignored with the reason where the backend cannot run, and fail if `ABYME_REQUIRE` names the
/// backend.
///
/// ```no_run
/// # use abyme_conformance::{BackendTests, Harness};
/// # fn example(harness: impl Harness) -> std::process::ExitCode {
/// async fn it_starts() {}
///
/// BackendTests::new(harness).test("it_starts", it_starts).main()
/// # }
/// ```
pub struct BackendTests {
    harness: Arc<dyn AnyHarness>,
    tests: Vec<(String, Option<String>, Test)>,
}

type Test = Box<dyn FnOnce() -> CaseFuture<'static> + Send>;

impl fmt::Debug for BackendTests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendTests").field("harness", &self.harness.name()).finish_non_exhaustive()
    }
}

impl BackendTests {
    /// An empty set of tests for the backend of `harness`.
    pub fn new(harness: impl Harness) -> Self {
        Self { harness: Arc::new(harness), tests: Vec::new() }
    }

    /// Adds a test. It gets a multi-threaded runtime of its own, and fails by panicking.
    pub fn test<T: Future<Output = ()> + Send + 'static>(
        self,
        name: impl Into<String>,
        test: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        self.test_unless(None, name, test)
    }

    /// Adds a test that needs more of the machine than the backend itself. `obstacle` says what is missing.
    pub fn test_unless<T: Future<Output = ()> + Send + 'static>(
        mut self,
        obstacle: Option<String>,
        name: impl Into<String>,
        test: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        self.tests.push((name.into(), obstacle, Box::new(|| Box::pin(test()))));
        self
    }

    /// The `main` of a test target.
    pub fn main(self) -> ExitCode {
        Self::main_of(vec![self], true)
    }

    /// The `main` of a test target whose tests must not run side by side.
    pub fn main_in_turn(self) -> ExitCode {
        Self::main_of(vec![self], false)
    }

    /// The `main` of a target with the tests of several backends.
    pub fn main_of(backends: Vec<Self>, side_by_side: bool) -> ExitCode {
        let mut arguments = Arguments::from_args();
        if !side_by_side {
            arguments.test_threads = Some(1);
        }
        let trials = backends.into_iter().flat_map(Self::trials).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn trials(self) -> Vec<Trial> {
        let Self { harness, tests } = self;
        let name = harness.name().to_owned();
        let ask = move || obstacle(harness.name(), harness.prerequisite());
        let prerequisite = Arc::new(Prerequisite::new(&name, ask));
        let trial = |(name, own_obstacle, test): (String, Option<String>, Test)| {
            let prerequisite = prerequisite.clone();
            Trial::ignorable_test(name, move || {
                match own_obstacle.as_deref().or_else(|| prerequisite.obstacle()) {
                    Some(reason) if prerequisite.is_required => Err(Failed::from(required_but(reason))),
                    Some(reason) => Ok(Completion::ignored_with(reason)),
                    None => run(test).map_err(|problem| prerequisite.explain(problem).into()),
                }
            })
        };
        tests.into_iter().map(trial).collect()
    }
}

/// Runs a test, which fails by panicking.
fn run(test: Test) -> Result<Completion, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    match catch_unwind(AssertUnwindSafe(|| runtime.block_on(test()))).map_err(of_panic) {
        Ok(()) | Err(CaseResult::Passed) => Ok(Completion::Completed),
        Err(CaseResult::Skipped(reason)) => Ok(Completion::ignored_with(reason)),
        Err(CaseResult::Failed(problem)) => Err(problem),
    }
}

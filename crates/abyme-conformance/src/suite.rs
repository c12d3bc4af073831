//! The suite over one backend or model: which cases run, which are expected to fail, and what the results
//! mean.

use std::{
    num::NonZero,
    process::{Command, ExitCode},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    harness::{AnyHarness, Harness},
    job::Job,
    model::{self, ModelHarness},
    prerequisite::{self, Prerequisite},
    result::CaseResult,
    runner,
    themes::cases,
};

/// The suite over one backend or model.
pub struct Suite {
    name: String,
    jobs: Vec<Arc<Job>>,
    prerequisite: Prerequisite,
    expected: Vec<(String, String)>,
    limit: Option<Duration>,
    process_per_case: bool,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").field("harness", &self.name).finish_non_exhaustive()
    }
}

/// What the result of a case means, given the expected failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The case passed, or failed as expected.
    Fine,
    /// The case failed, or passed although it was expected to fail. The message says which.
    Bad(String),
    /// The case did not run, for this reason.
    Ignored(String),
}

impl Suite {
    /// A suite that runs every case for interpreters against the sessions of `harness`.
    pub fn new(harness: impl Harness) -> Self {
        let harness: Arc<dyn AnyHarness> = Arc::new(harness);
        let jobs = cases().into_iter().map(|case| Arc::new(case.job(harness.clone()))).collect();
        let name = harness.name().to_owned();
        Self::of(name, jobs, move || prerequisite::obstacle(harness.name(), harness.prerequisite()))
    }

    /// A suite that runs every case for language models against the models of `harness`.
    pub fn of_model(harness: impl ModelHarness) -> Self {
        let harness: Arc<dyn ModelHarness> = Arc::new(harness);
        let jobs = model::cases().into_iter().map(|case| Arc::new(case.job(harness.clone()))).collect();
        let name = harness.name().to_owned();
        Self::of(name, jobs, move || prerequisite::obstacle(harness.name(), harness.prerequisite()))
    }

    fn of(
        name: String,
        jobs: Vec<Arc<Job>>,
        obstacle: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let prerequisite = Prerequisite::new(&name, obstacle);
        Self { name, jobs, prerequisite, expected: Vec::new(), limit: None, process_per_case: false }
    }

    /// Expects a case to fail, for a reason. It runs nevertheless, and must not pass.
    pub fn xfail(mut self, case: impl Into<String>, reason: impl Into<String>) -> Self {
        self.expected.push((case.into(), reason.into()));
        self
    }

    /// Replaces the time limit of every case, for backends on far or slow machines.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Leaves out all cases but those of one theme, such as `c16_snapshots`: for a further configuration of a
    /// backend that passes the whole suite with another one.
    pub fn only(mut self, theme: &str) -> Self {
        self.jobs.retain(|job| job.name.split("::").next() == Some(theme));
        self
    }

    /// Runs each case of [`main`](Self::main) in a process of its own: for backends whose sessions share the
    /// process, in which what one case breaks on purpose would be broken for all others.
    pub fn process_per_case(mut self) -> Self {
        self.process_per_case = true;
        self
    }

    /// Checks the list of expected failures.
    ///
    /// # Errors
    /// A name that is no case, a name given twice, or a missing reason.
    pub fn check(&self) -> Result<(), String> {
        let mut names = Vec::new();
        for (name, reason) in &self.expected {
            let Some(job) = self.find(name) else {
                return Err(format!("xfail names `{name}`, which is no case of the suite"));
            };
            if names.contains(&job.name) {
                return Err(format!("xfail names `{}` twice", job.name));
            }
            if reason.trim().is_empty() {
                return Err(format!("xfail gives no reason for `{name}`"));
            }
            names.push(job.name);
        }
        Ok(())
    }

    /// Runs one case by name. Ignores expected failures. Works on any executor.
    pub async fn run_case(&self, name: &str) -> CaseResult {
        let Some(job) = self.find(name).cloned() else {
            return CaseResult::Failed(format!("`{name}` is no case of the suite"));
        };
        let limit = self.limit_of(&job);
        in_thread(move || runner::run(&job, limit))
            .await
            .unwrap_or_else(|| CaseResult::Failed("no thread to run the case in".to_owned()))
    }

    /// Runs every case, as many at a time as the machine has cores. Ignores expected failures.
    pub async fn run_all(&self) -> Vec<(&'static str, CaseResult)> {
        let jobs: Vec<_> = self.jobs.iter().map(|job| (job.clone(), self.limit_of(job))).collect();
        in_thread(move || run_jobs(&jobs)).await.unwrap_or_default()
    }

    /// What the result of a case means. `name` is its full name, or the part after `::`.
    pub fn judge(&self, name: &str, result: CaseResult) -> Verdict {
        match (result, self.find(name).and_then(|job| self.excuse(job))) {
            (CaseResult::Passed, None) => Verdict::Fine,
            (CaseResult::Failed(message), None) => Verdict::Bad(message),
            (CaseResult::Passed, Some(reason)) => {
                Verdict::Bad(format!("expected to fail ({reason}), but passed: take it off the xfail list"))
            }
            (CaseResult::Failed(_), Some(_)) => Verdict::Fine,
            (CaseResult::Skipped(reason), _) => Verdict::Ignored(reason),
        }
    }

    /// The `main` of a test target: takes the arguments of `cargo test`, runs the cases, reports the results.
    pub fn main(self) -> ExitCode {
        Self::main_of(vec![self])
    }

    /// The `main` of a test target over several suites. Where there is more than one, the name of each case
    /// begins with that of its harness.
    pub fn main_of(suites: Vec<Self>) -> ExitCode {
        for suite in &suites {
            if let Err(problem) = suite.check() {
                prerequisite::complain(&problem);
                return ExitCode::FAILURE;
            }
        }
        let arguments = Arguments::from_args();
        let is_alone = suites.len() == 1;
        let trials = suites.into_iter().flat_map(|suite| suite.trials(&arguments, is_alone)).collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn trials(self, arguments: &Arguments, is_alone: bool) -> Vec<Trial> {
        let is_for_one = arguments.exact && arguments.filter.is_some();
        let in_processes = self.process_per_case && !is_for_one;
        let prefix = if is_alone { String::new() } else { format!("{}::", self.name) };
        let suite = Arc::new(self);
        suite.jobs.iter().map(|job| suite.trial(job, &prefix, in_processes)).collect()
    }

    fn trial(self: &Arc<Self>, job: &Arc<Job>, prefix: &str, in_process: bool) -> Trial {
        let (suite, job) = (self.clone(), job.clone());
        let kind = match (&job.lacks, self.excuse(&job)) {
            (Some(need), _) => format!("lacks {need}"),
            (None, Some(_)) => "xfail".to_owned(),
            (None, None) => String::new(),
        };
        let name = format!("{prefix}{}", job.name);
        let full_name = name.clone();
        let trial = Trial::ignorable_test(name, move || {
            if job.lacks.is_none()
                && let Some(reason) = suite.prerequisite.obstacle()
            {
                return Ok(Completion::ignored_with(reason));
            }
            if in_process {
                return in_process_of_its_own(&full_name);
            }
            let result = runner::run(&job, suite.limit_of(&job));
            match suite.judge(job.name, result) {
                Verdict::Fine => Ok(Completion::Completed),
                Verdict::Bad(message) => {
                    let message = format!("{}\n\n{message}\n", job.doc);
                    Err(Failed::from(suite.prerequisite.explain(message)))
                }
                Verdict::Ignored(reason) => Ok(Completion::ignored_with(reason)),
            }
        });
        trial.with_kind(kind)
    }

    fn find(&self, name: &str) -> Option<&Arc<Job>> {
        self.jobs.iter().find(|job| job.is_called(name))
    }

    fn excuse(&self, job: &Job) -> Option<&str> {
        self.expected.iter().find(|(name, _)| job.is_called(name)).map(|(_, reason)| reason.as_str())
    }

    fn limit_of(&self, job: &Job) -> Duration {
        self.limit.unwrap_or(job.limit)
    }
}

/// Runs a case in another process of this program, which says what came of it.
fn in_process_of_its_own(name: &str) -> Result<Completion, Failed> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).args([name, "--exact", "--color", "never"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ignored = text.lines().find_map(|line| line.split_once(" ... ignored"));
    match (output.status.success(), ignored) {
        (true, Some((_, reason))) => Ok(Completion::ignored_with(reason.trim().trim_matches(['(', ')']))),
        (true, None) if text.contains("1 passed") => Ok(Completion::Completed),
        _ => Err(Failed::from(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// Runs one case against a new session. It ignores expected failures: this is for tests of the suite itself,
/// such as an interpreter with a deliberate fault.
///
/// `name` is a full name or the part after `::`; an unknown one is a failure. Works on any executor.
pub async fn run_case(harness: impl Harness, name: &str) -> CaseResult {
    Suite::new(harness).run_case(name).await
}

/// Runs every case, as many at a time as the machine has cores.
pub async fn run_all(harness: impl Harness) -> Vec<(&'static str, CaseResult)> {
    Suite::new(harness).run_all().await
}

/// Makes the `main` of a `[[test]]` target with `harness = false` that runs every case against a backend.
///
/// `harness` is an expression: a [`Harness`](crate::Harness) of your own, or a
/// [`FactoryHarness`](crate::FactoryHarness) around an
/// [`InterpreterFactory`](abyme_core::InterpreterFactory). `xfail` lists the cases known to fail, each with
/// the reason. They run all the same: the target fails if one of them passes, and if a name is no case.
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

/// Makes the `main` of a `[[test]]` target with `harness = false` that runs every case against a language
/// model: a client, or a wrapper around other models.
///
/// `harness` is an expression: a [`ServerHarness`](crate::model::ServerHarness) for a client, a
/// [`WrapperHarness`](crate::model::WrapperHarness) for a wrapper, or a
/// [`ModelHarness`](crate::model::ModelHarness) of your own. `xfail` is as in
/// [`interpreter_suite!`](crate::interpreter_suite).
///
/// ```
/// # mod example {
/// use abyme_conformance::model::WrapperHarness;
/// use abyme_core::{LanguageModelExt, RetryPolicy};
///
/// abyme_conformance::model_suite! {
///     harness: WrapperHarness::new("retrying", |model| {
///         model.with_retry(RetryPolicy::default().max_retries(0))
///     }),
///     xfail: [],
/// }
/// # }
/// ```
#[macro_export]
macro_rules! model_suite {
    (harness: $harness:expr $(, xfail: [$(($case:expr, $reason:expr)),* $(,)?])? $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::Suite::of_model($harness)$($(.xfail($case, $reason))*)?.main()
        }
    };
}

/// Runs blocking work in a thread of its own, because the executor may be of any kind.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, done) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name("conformance".to_owned())
        .spawn(move || {
            let _ = send.send(work());
        })
        .ok()?;
    done.await.ok()
}

fn run_jobs(jobs: &[(Arc<Job>, Duration)]) -> Vec<(&'static str, CaseResult)> {
    let results = Mutex::new(Vec::from_iter(jobs.iter().map(|_| CaseResult::Skipped("not run".to_owned()))));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, NonZero::get) {
            scope.spawn(|| {
                while let Some((index, (job, limit))) = take(&next, jobs) {
                    let result = runner::run(job, *limit);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = result;
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    jobs.iter().map(|(job, _)| job.name).zip(results).collect()
}

fn take<'a, T>(next: &AtomicUsize, jobs: &'a [T]) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}

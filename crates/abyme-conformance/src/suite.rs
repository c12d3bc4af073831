//! The suite over one backend: which cases run, which are expected to fail, and what that makes of the whole.

use std::{
    io::Write,
    num::NonZero,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    case::Case,
    cases,
    harness::{AnyHarness, Harness},
    outcome::Outcome,
    prerequisite, runner,
};

/// The suite over one backend.
pub struct Suite {
    harness: Arc<dyn AnyHarness>,
    expected: Vec<(String, String)>,
    limit: Option<Duration>,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").field("harness", &self.harness.name()).finish_non_exhaustive()
    }
}

/// What a case's outcome means, given what was expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be: passed, or failed as expected.
    Fine,
    /// Failed, or passed although it was expected to fail.
    Bad(String),
    /// Nothing was examined; the reason.
    Ignored(String),
}

impl Suite {
    /// Every case against the sessions of `harness`.
    pub fn new(harness: impl Harness) -> Self {
        Self { harness: Arc::new(harness), expected: Vec::new(), limit: None }
    }

    /// Expects a case to fail, for a reason. It runs all the same, and must not pass.
    pub fn xfail(mut self, case: impl Into<String>, reason: impl Into<String>) -> Self {
        self.expected.push((case.into(), reason.into()));
        self
    }

    /// Replaces the time limit of every case, for backends on far or slow machines.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Checks the list of expected failures.
    ///
    /// # Errors
    /// A name that is no case, a name given twice, or a missing reason.
    pub fn check(&self) -> Result<(), String> {
        let all = cases::all();
        let mut known = Vec::new();
        for (name, reason) in &self.expected {
            let Some(case) = all.iter().find(|case| case.is_called(name)) else {
                return Err(format!("xfail names `{name}`, which is no case of the suite"));
            };
            if known.contains(&case.name()) {
                return Err(format!("xfail names `{}` twice", case.name()));
            }
            if reason.trim().is_empty() {
                return Err(format!("xfail gives no reason for `{name}`"));
            }
            known.push(case.name());
        }
        Ok(())
    }

    /// Runs one case by name, whatever is expected of it. Works on any executor.
    pub async fn run_case(&self, name: &str) -> Outcome {
        let Some(case) = cases::all().into_iter().find(|case| case.is_called(name)) else {
            return Outcome::Failed(format!("`{name}` is no case of the suite"));
        };
        let (harness, limit) = (self.harness.clone(), self.limit_of(case));
        in_thread(move || runner::run(harness, case, limit))
            .await
            .unwrap_or_else(|| Outcome::Failed("no thread to run the case in".to_owned()))
    }

    /// Runs every case, as many at a time as the machine has cores, whatever is expected of them.
    pub async fn run_all(&self) -> Vec<(&'static str, Outcome)> {
        let jobs: Vec<_> = cases::all().into_iter().map(|case| (case, self.limit_of(case))).collect();
        let harness = self.harness.clone();
        in_thread(move || run_jobs(&harness, &jobs)).await.unwrap_or_default()
    }

    /// What the outcome of a case means.
    pub fn judge(&self, case: &Case, outcome: Outcome) -> Verdict {
        match (outcome, self.excuse(case)) {
            (Outcome::Passed, None) => Verdict::Fine,
            (Outcome::Failed(message), None) => Verdict::Bad(message),
            (Outcome::Passed, Some(reason)) => {
                Verdict::Bad(format!("expected to fail ({reason}), but passed: take it off the xfail list"))
            }
            (Outcome::Failed(_), Some(_)) => Verdict::Fine,
            (Outcome::Skipped(reason), _) => Verdict::Ignored(reason),
        }
    }

    /// The `main` of a test target: takes the arguments of `cargo test`, runs, reports.
    pub fn main(self) -> ExitCode {
        if let Err(problem) = self.check() {
            complain(&problem);
            return ExitCode::FAILURE;
        }
        let arguments = Arguments::from_args();
        // Listing must not depend on what this machine has.
        let obstacle = if arguments.list { None } else { prerequisite::obstacle(&*self.harness) };
        let suite = Arc::new(self);
        let mut trials: Vec<Trial> =
            cases::all().into_iter().map(|case| suite.trial(case, obstacle.as_deref())).collect();
        if let Some(reason) = obstacle {
            complain(&format!("{} cannot run here: {reason}", suite.harness.name()));
            if prerequisite::is_required(suite.harness.name()) {
                let problem = prerequisite::required_but(&reason);
                trials.push(Trial::test("prerequisite", move || Err(Failed::from(problem))));
            }
        }
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn trial(self: &Arc<Self>, case: &'static Case, obstacle: Option<&str>) -> Trial {
        let suite = self.clone();
        let kind = match (obstacle, case.lacking(self.harness.capabilities()), self.excuse(case)) {
            (Some(_), _, _) => "unavailable".to_owned(),
            (None, Some(need), _) => format!("lacks {need}"),
            (None, None, Some(_)) => "xfail".to_owned(),
            (None, None, None) => String::new(),
        };
        let obstacle = obstacle.map(str::to_owned);
        let trial = Trial::ignorable_test(case.name(), move || {
            if let Some(reason) = obstacle {
                return Ok(Completion::ignored_with(reason));
            }
            let outcome = runner::run(suite.harness.clone(), case, suite.limit_of(case));
            match suite.judge(case, outcome) {
                Verdict::Fine => Ok(Completion::Completed),
                Verdict::Bad(message) => Err(Failed::from(format!("{}\n\n{message}\n", case.doc()))),
                Verdict::Ignored(reason) => Ok(Completion::ignored_with(reason)),
            }
        });
        trial.with_kind(kind)
    }

    fn excuse(&self, case: &Case) -> Option<&str> {
        self.expected.iter().find(|(name, _)| case.is_called(name)).map(|(_, reason)| reason.as_str())
    }

    fn limit_of(&self, case: &Case) -> Duration {
        self.limit.unwrap_or(case.limit())
    }
}

/// Runs blocking work in a thread of its own. The executor may be any, so its own way to do this is out of reach.
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

fn run_jobs(
    harness: &Arc<dyn AnyHarness>,
    jobs: &[(&'static Case, Duration)],
) -> Vec<(&'static str, Outcome)> {
    let outcomes = Mutex::new(Vec::from_iter(jobs.iter().map(|_| Outcome::Skipped("not run".to_owned()))));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, NonZero::get) {
            scope.spawn(|| {
                while let Some((index, (case, limit))) = take(&next, jobs) {
                    let outcome = runner::run(harness.clone(), case, *limit);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner)[index] = outcome;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    jobs.iter().map(|(case, _)| case.name()).zip(outcomes).collect()
}

fn take<'a, T>(next: &AtomicUsize, jobs: &'a [T]) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}

fn complain(problem: &str) {
    // Standard error may be closed; there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "abyme-conformance: {problem}");
}

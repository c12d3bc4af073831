//! What a backend needs of the machine. Where it is missing, tests show as ignored, unless the backend is
//! required.

use std::{io::Write, sync::OnceLock, time::Duration};

/// The environment variable that lists, with commas, the backends which must be able to run.
const REQUIRE: &str = "ABYME_REQUIRE";
/// The environment variable that names a file, to which all that was ignored is appended with its reason,
/// because some test runners do not show it.
const IGNORED: &str = "ABYME_IGNORED";
/// The most time a backend may take to say whether it can run.
const PREREQUISITE_TIMEOUT: Duration = Duration::from_secs(120);

/// Whether a backend or model can run on this machine. That is asked once, and where it is needed: a test
/// runner may have a process for each test, and to ask takes as long as most tests.
pub(crate) struct Prerequisite {
    pub(crate) is_required: bool,
    ask: Box<dyn Fn() -> Option<String> + Send + Sync>,
    answer: OnceLock<Option<String>>,
}

impl Prerequisite {
    /// The one of `name`. `ask` returns what is missing.
    pub(crate) fn new(name: &str, ask: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self { is_required: is_required(name), ask: Box::new(ask), answer: OnceLock::new() }
    }

    /// The reason why nothing can run. Of what is required none is known before something failed.
    pub(crate) fn obstacle(&self) -> Option<&str> {
        if self.is_required { None } else { self.missing() }
    }

    /// The message of a failure: where the backend is required and cannot run, this is what it says.
    pub(crate) fn explain(&self, failure: String) -> String {
        match self.missing() {
            Some(reason) if self.is_required => required_but(reason),
            _ => failure,
        }
    }

    fn missing(&self) -> Option<&str> {
        self.answer.get_or_init(&self.ask).as_deref()
    }
}

/// The reason why `name` cannot run here; `None` if it can. `asked` is its answer.
pub(crate) fn obstacle(name: &str, asked: impl Future<Output = Result<(), String>>) -> Option<String> {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Some(format!("no runtime to ask it: {error}")),
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PREREQUISITE_TIMEOUT, asked).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let reason = match answer {
        Ok(Ok(())) => return None,
        Ok(Err(reason)) => reason,
        Err(_) => format!("it did not say whether it can within {} s", PREREQUISITE_TIMEOUT.as_secs()),
    };
    complain(&format!("{name} cannot run here: {reason}"));
    note_ignored(name, &reason);
    Some(reason)
}

/// Tells `cargo xtask test` that the tests of `name` were ignored, and why.
pub fn note_ignored(name: &str, reason: &str) {
    // In one write, because other test programs may write to the same file.
    if let Some(path) = std::env::var_os(IGNORED)
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = file.write_all(format!("{name}: {reason}\n").as_bytes());
    }
}

/// Whether `ABYME_REQUIRE` names this, so that its tests fail where they cannot run.
#[must_use]
pub fn is_required(name: &str) -> bool {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    required.split(',').any(|one| one.trim() == name)
}

/// The message of that failure.
pub(crate) fn required_but(reason: &str) -> String {
    format!("{REQUIRE} asks for this backend, which cannot run here: {reason}")
}

pub(crate) fn complain(problem: &str) {
    // Standard error may be closed. There is no other way to report.
    let _ = writeln!(std::io::stderr(), "abyme-conformance: {problem}");
}

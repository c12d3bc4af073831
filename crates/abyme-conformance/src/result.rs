//! The result of a case, and the functions that end a case from any depth.

use std::{any::Any, fmt::Display, panic::Location};

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseResult {
    /// The backend does what the clause asks.
    Passed,
    /// The backend does not, or did not answer in time. The message shows the cell and its observation.
    Failed(String),
    /// The case does not apply to this backend or cannot run on this machine, for this reason.
    Skipped(String),
}

impl CaseResult {
    /// Whether the case passed.
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// Whether the case failed.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// Ends the running case as failed, from any depth.
///
/// This unwinds without calling the panic hook: only the runner reports the failure, and the process keeps
/// its hook.
#[track_caller]
pub(crate) fn fail(message: impl Display) -> ! {
    let at = Location::caller();
    fail_at(at, message)
}

/// Ends the running case as failed, with `at` as the position of the failure.
pub(crate) fn fail_at(at: &Location<'_>, message: impl Display) -> ! {
    let message = format!("{message}\n  at {}:{}", at.file(), at.line());
    std::panic::resume_unwind(Box::new(CaseResult::Failed(message)))
}

/// Ends the running case as not applicable.
pub(crate) fn skip(reason: impl Display) -> ! {
    std::panic::resume_unwind(Box::new(CaseResult::Skipped(reason.to_string())))
}

/// The result of a case that unwound: by one of the functions above, or by a panic of the backend.
pub(crate) fn of_panic(payload: Box<dyn Any + Send>) -> CaseResult {
    let payload = match payload.downcast::<CaseResult>() {
        Ok(result) => return *result,
        Err(payload) => payload,
    };
    let text = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is no text");
    CaseResult::Failed(format!("panicked: {text}"))
}

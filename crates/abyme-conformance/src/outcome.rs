//! How a case ends, and how code deep inside one ends it.

use std::{any::Any, fmt::Display, panic::Location};

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend does what the clause asks.
    Passed,
    /// It does not, or did not answer in time. The message shows the cell and what was seen.
    Failed(String),
    /// The case does not apply to this backend or cannot run on this machine; the reason.
    Skipped(String),
}

impl Outcome {
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
/// This unwinds without calling the panic hook, so that a failure is reported once, by the runner, and the process
/// keeps its hook.
#[track_caller]
pub(crate) fn fail(message: impl Display) -> ! {
    let at = Location::caller();
    fail_at(at, message)
}

/// The same, on behalf of the code at `at`.
pub(crate) fn fail_at(at: &Location<'_>, message: impl Display) -> ! {
    let message = format!("{message}\n  at {}:{}", at.file(), at.line());
    std::panic::resume_unwind(Box::new(Outcome::Failed(message)))
}

/// Ends the running case as not applicable.
pub(crate) fn skip(reason: impl Display) -> ! {
    std::panic::resume_unwind(Box::new(Outcome::Skipped(reason.to_string())))
}

/// What an unwound case amounts to: one of the above, or a panic of the backend.
pub(crate) fn of_panic(payload: Box<dyn Any + Send>) -> Outcome {
    let payload = match payload.downcast::<Outcome>() {
        Ok(outcome) => return *outcome,
        Err(payload) => payload,
    };
    let text = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is no text");
    Outcome::Failed(format!("panicked: {text}"))
}

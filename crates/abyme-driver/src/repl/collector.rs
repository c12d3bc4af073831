//! Builds an observation from what arrives while a cell runs.

use std::time::Instant;

use abyme_core::{Captured, Interruption, Observation, PythonError, Submission, Value, Via};
use indexmap::IndexMap;

use crate::repl::done::{Done, StreamRemainder, ValueRepr};

/// Characters above the cap that a driver may send, for its notes on what is missing.
const MARGIN: usize = 1000;

/// One of the two streams a cell writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// `sys.stdout`.
    Stdout,
    /// `sys.stderr`.
    Stderr,
}

/// What has arrived of a cell. Its size is bounded, whatever the driver sends.
#[derive(Debug)]
pub struct Collector {
    start: Instant,
    max_chars: usize,
    stdout: StreamHead,
    stderr: StreamHead,
    submission: Option<Submission>,
    /// Why a submission could not be taken.
    refused: Option<PythonError>,
}

/// The head of a stream, as it was sent while the cell ran.
#[derive(Debug, Default)]
struct StreamHead {
    text: String,
    chars: usize,
}

impl Collector {
    /// A collector for a cell that starts now, with its
    /// [`max_output_chars`](abyme_core::Cell::max_output_chars).
    pub fn new(max_chars: usize) -> Self {
        Self {
            start: Instant::now(),
            max_chars,
            stdout: StreamHead::default(),
            stderr: StreamHead::default(),
            submission: None,
            refused: None,
        }
    }

    /// Takes the next piece of the head of a stream.
    pub fn output(&mut self, stream: Stream, text: &str) {
        let streamed = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = self.max_chars.saturating_sub(streamed.chars);
        streamed.text.extend(text.chars().take(room));
        streamed.chars += text.chars().count();
    }

    /// Keeps the first submission.
    pub fn submit(&mut self, submission: Submission) {
        self.submission.get_or_insert(submission);
    }

    /// Notes that a submission was too large to be taken. The cell may have stopped because it counts on it,
    /// so this is an error of the cell, unless another submission is taken.
    pub fn refuse_submission(&mut self, problem: impl std::fmt::Display) {
        let message = format!("the submission was too large to be taken: {problem}");
        self.refused.get_or_insert(PythonError::new("ValueError", message));
    }

    /// The observation of a cell that came to its end. `interrupted_by_limit` says that the host interrupted
    /// it at its time limit, which counts if the interrupt reached the cell ([`Done::interrupted`]).
    pub fn finish(self, done: Done, interrupted_by_limit: bool) -> Observation {
        let mut observation = Observation::default();
        let max_chars = self.max_chars;
        observation.stdout = bounded(self.stdout.finish(done.stdout), max_chars);
        observation.stderr = bounded(self.stderr.finish(done.stderr), max_chars);
        observation.value = done.value.map(|repr| value(repr, max_chars));
        let refused = self.refused.filter(|_| self.submission.is_none());
        observation.error = done.error.or(refused).or_else(|| unreadable(&done.unreadable));
        observation.submission = self.submission;
        observation.changed = done.changed;
        observation.changed_total = done.changed_total.max(observation.changed.len());
        observation.variables = done.variables;
        observation.interruption =
            (interrupted_by_limit && done.interrupted).then_some(Interruption::Interrupted);
        observation.duration = self.start.elapsed();
        observation
    }

    /// The observation of a cell that came to its end with an answer that was too large to be taken: what it
    /// printed since, its error and its variables are lost.
    pub fn finish_unanswered(self, problem: impl std::fmt::Display) -> Observation {
        let mut observation = self.finish(Done::default(), false);
        let message = format!("the cell ended, but its results were too large to be taken: {problem}");
        observation.error = Some(PythonError::new("ValueError", message));
        observation
    }

    /// The observation of a cell in which the session ended for `reason`. `killed` says that it was killed at
    /// the cell's time limit.
    pub fn lost(self, reason: impl Into<String>, killed: bool) -> Observation {
        let mut observation = Observation::default();
        observation.stdout = self.stdout.cut_off();
        observation.stderr = self.stderr.cut_off();
        observation.submission = self.submission;
        observation.interruption = killed.then_some(Interruption::Killed);
        observation.session_ended = Some(reason.into());
        observation.duration = self.start.elapsed();
        observation
    }
}

impl StreamHead {
    fn finish(self, remainder: StreamRemainder) -> Captured {
        Captured::cut(self.text + &remainder.head, remainder.tail, remainder.total)
    }

    /// The head of a stream whose end was lost with the session.
    fn cut_off(self) -> Captured {
        Captured::cut(self.text, "", self.chars)
    }
}

/// A variable that the host reads and Python cannot convert is an error of the cell.
fn unreadable(variables: &IndexMap<String, String>) -> Option<PythonError> {
    let (name, reason) = variables.first()?;
    Some(PythonError::new("ValueError", format!("the variable `{name}` cannot be read: {reason}")))
}

/// A value that was cut arrives in two parts, with its true length.
fn value(repr: ValueRepr, max_chars: usize) -> Captured {
    let value = match repr.total {
        Some(total) if !repr.tail.is_empty() => Captured::cut(repr.head, repr.tail, total),
        _ => Captured::whole(repr.head + &repr.tail),
    };
    bounded(value, max_chars)
}

/// Cuts what a driver sent beyond the cap. Its notes on what is missing may take some more room.
fn bounded(text: Captured, max_chars: usize) -> Captured {
    text.shortened(max_chars.saturating_add(MARGIN))
}

/// What `host.submit(via, fields, value)` submits: the outputs by name, or one value where `fields` is
/// `None`.
///
/// # Errors
/// What is wrong with the submission, for a message to its sender.
pub fn submission(via: &str, fields: Option<Value>, value: Value) -> Result<Submission, String> {
    let via = match via {
        "SUBMIT" => Via::Submit,
        "FINAL" => Via::Final,
        "FINAL_VAR" => Via::FinalVar,
        "answer" => Via::Answer,
        _ => return Err(format!("`{}` is not a way to submit", via.escape_debug())),
    };
    match fields {
        None | Some(Value::None) => Ok(Submission::value(via, value)),
        Some(Value::Dict(fields)) => Ok(Submission::fields(via, fields)),
        Some(other) => Err(format!("submitted fields are of type {}, not dict", other.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_fields_or_a_value() {
        let fields = Value::dict([("a", 1)]);
        assert_eq!(
            submission("SUBMIT", Some(fields.clone()), Value::None),
            Ok(Submission::fields(Via::Submit, fields.as_dict().unwrap().clone()))
        );
        for none in [None, Some(Value::None)] {
            assert_eq!(submission("answer", none, 1.into()), Ok(Submission::value(Via::Answer, 1)));
        }
        assert_eq!(
            submission("FINAL_VAR", None, Value::None),
            Ok(Submission::value(Via::FinalVar, Value::None))
        );
        assert!(submission("final", None, Value::None).unwrap_err().contains("`final`"));
        assert!(
            submission("FINAL", Some(1.into()), Value::None).unwrap_err().contains("of type int, not dict")
        );
    }
}

//! What a cell produced, and the expectations that a case has of it.

use std::{fmt::Write, ops::Deref, panic::Location, time::Duration};

use abyme_core::{Captured, Interruption, Observation, PythonError, Submission, Submitted, Value, Via};

use crate::result::{fail, fail_at};

/// What C10 allows beyond a time limit.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// What a loaded machine may need on top of a limit.
pub(crate) const SLACK: Duration = Duration::from_secs(3);

/// An observation and its cell. An expectation that does not hold fails the case with a message that shows
/// both.
#[derive(Debug)]
pub(crate) struct Observed {
    code: String,
    pub(crate) observation: Observation,
    duration: Duration,
}

impl Deref for Observed {
    type Target = Observation;

    fn deref(&self) -> &Observation {
        &self.observation
    }
}

impl Observed {
    pub(crate) fn new(code: String, observation: Observation, duration: Duration) -> Self {
        Self { code, observation, duration }
    }

    /// Fails unless `holds`.
    #[track_caller]
    pub(crate) fn expect(&self, holds: bool, what: &str) -> &Self {
        if !holds {
            fail(self.complaint(what));
        }
        self
    }

    /// Expects that the cell ran to its end, or to its submission.
    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        self.expect(self.is_ok(), "expected no exception")
    }

    /// Expects this `repr` of the last expression.
    #[track_caller]
    pub(crate) fn value_is(&self, repr: &str) -> &Self {
        self.expect(self.whole_value() == Some(repr), &format!("expected the value {}", clip(repr)))
    }

    #[track_caller]
    pub(crate) fn no_value(&self) -> &Self {
        self.expect(self.value.is_none(), "expected no value")
    }

    #[track_caller]
    pub(crate) fn stdout_is(&self, text: &str) -> &Self {
        self.expect(is_whole(&self.stdout, text), &format!("expected stdout {}", clip(text)))
    }

    #[track_caller]
    pub(crate) fn stderr_is(&self, text: &str) -> &Self {
        self.expect(is_whole(&self.stderr, text), &format!("expected stderr {}", clip(text)))
    }

    #[track_caller]
    pub(crate) fn stdout_has(&self, text: &str) -> &Self {
        self.expect(self.stdout.to_string().contains(text), &format!("expected {text:?} in stdout"))
    }

    #[track_caller]
    pub(crate) fn stderr_has(&self, text: &str) -> &Self {
        self.expect(self.stderr.to_string().contains(text), &format!("expected {text:?} in stderr"))
    }

    /// Expects an exception of this class. Its module may be part of the name.
    #[track_caller]
    pub(crate) fn raises(&self, type_name: &str) -> &Self {
        let holds = self.error.as_ref().is_some_and(|error| {
            error.type_name == type_name || error.type_name.ends_with(&format!(".{type_name}"))
        });
        self.expect(holds, &format!("expected a {type_name}"))
    }

    #[track_caller]
    pub(crate) fn message_is(&self, text: &str) -> &Self {
        let holds = self.error.as_ref().is_some_and(|error| error.message == text);
        self.expect(holds, &format!("expected the exception's message {text:?}"))
    }

    #[track_caller]
    pub(crate) fn message_has(&self, text: &str) -> &Self {
        let holds = self.error.as_ref().is_some_and(|error| error.message.contains(text));
        self.expect(holds, &format!("expected {text:?} in the exception's message"))
    }

    #[track_caller]
    pub(crate) fn traceback_has(&self, text: &str) -> &Self {
        let holds = self.error.as_ref().is_some_and(|error| error.traceback.contains(text));
        self.expect(holds, &format!("expected {text:?} in the traceback"))
    }

    #[track_caller]
    pub(crate) fn line_is(&self, line: u32) -> &Self {
        let holds = self.error.as_ref().is_some_and(|error| error.line == Some(line));
        self.expect(holds, &format!("expected the exception to point at line {line}"))
    }

    /// The exception. Fails if there is none.
    #[track_caller]
    pub(crate) fn exception(&self) -> &PythonError {
        match &self.error {
            Some(error) => error,
            None => fail(self.complaint("expected an exception")),
        }
    }

    /// The submission. Fails if there is none.
    #[track_caller]
    pub(crate) fn submitted(&self) -> &Submission {
        match &self.submission {
            Some(submission) => submission,
            None => fail(self.complaint("expected a submission")),
        }
    }

    #[track_caller]
    pub(crate) fn nothing_submitted(&self) -> &Self {
        self.expect(self.submission.is_none(), "expected no submission")
    }

    /// Expects that one value was submitted, in this way.
    #[track_caller]
    pub(crate) fn submitted_value(&self, via: Via, value: impl Into<Value>) -> &Self {
        let (submission, value) = (self.submitted(), value.into());
        let holds = match &submission.submitted {
            Submitted::Value(actual) => submission.via == via && same(actual, &value),
            Submitted::Fields(_) => false,
        };
        self.expect(holds, &format!("expected {} to be submitted by {via}", clip(&format!("{value:?}"))))
    }

    /// Expects that exactly these outputs were submitted with `SUBMIT`.
    #[track_caller]
    pub(crate) fn submitted_fields(&self, fields: serde_json::Value) -> &Self {
        let expected = plain(fields);
        let holds = match &self.submitted().submitted {
            Submitted::Fields(actual) => {
                self.submitted().via == Via::Submit && same(&Value::Dict(actual.clone()), &expected)
            }
            Submitted::Value(_) => false,
        };
        self.expect(holds, &format!("expected the outputs {}", clip(&format!("{expected:?}"))))
    }

    /// Expects this value of a variable that the cell reads.
    #[track_caller]
    pub(crate) fn variable_is(&self, name: &str, value: impl Into<Value>) -> &Self {
        let value = value.into();
        let holds = self.variables.get(name).is_some_and(|actual| same(actual, &value));
        self.expect(holds, &format!("expected `{name}` to be {}", clip(&format!("{value:?}"))))
    }

    /// Expects that the time limit ended the cell, by interrupt or kill, and in time.
    #[track_caller]
    pub(crate) fn stopped_within(&self, limit: Duration) -> &Self {
        self.expect(self.interruption.is_some(), "expected the time limit to end the cell");
        let allowed = limit + GRACE + SLACK;
        self.expect(self.duration <= allowed, &format!("expected the end within {allowed:?}"))
    }

    /// Expects that the time limit interrupted the cell in time, and that the session was kept.
    #[track_caller]
    pub(crate) fn interrupted_within(&self, limit: Duration) -> &Self {
        self.stopped_within(limit);
        let holds = self.interruption == Some(Interruption::Interrupted)
            && self.session_ended.is_none()
            && self.restored.is_none();
        self.expect(holds, "expected an interrupt that keeps the session")
    }

    /// The text of the value, if no character is omitted.
    pub(crate) fn whole_value(&self) -> Option<&str> {
        self.value.as_ref().filter(|value| value.omitted_chars == 0).map(|value| value.head.as_str())
    }

    /// Expects the answer to the probe of `SessionUnderTest::in_step`.
    pub(crate) fn answers_probe(&self, at: &Location<'_>, step: u32) {
        let own = self.whole_value() == Some(&format!("'step {step}'"))
            && self.is_ok()
            && self.submission.is_none();
        if !own {
            fail_at(
                at,
                self.complaint("the next cell did not get its own answer: the session is out of step"),
            );
        }
    }

    /// The message of a failure: what was expected, the cell, and the whole observation.
    pub(crate) fn complaint(&self, expected: &str) -> String {
        let mut text = format!("{expected}{}\n  seen:", Self::listing(&self.code));
        let mut row = |name: &str, what: String| {
            let _ = write!(text, "\n    {name}: {}", what.replace('\n', "\n      "));
        };
        for (name, captured) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !captured.is_empty() {
                row(name, describe(captured));
            }
        }
        if let Some(value) = &self.value {
            row("value", describe(value));
        }
        if let Some(error) = &self.error {
            let line = error.line.map_or(String::new(), |line| format!(", line {line}"));
            row(
                "error",
                format!("{} ({:?}{line})\n{}", clip(&error.to_string()), error.stage, clip(&error.traceback)),
            );
        }
        if let Some(submission) = &self.submission {
            row("submission", clip(&format!("{submission:?}")));
        }
        if !self.variables.is_empty() {
            row("variables", clip(&format!("{:?}", self.variables)));
        }
        if !self.changed.is_empty() {
            let names: Vec<&str> = self.changed.iter().map(|variable| variable.name.as_str()).collect();
            row("changed", format!("{} of {}", clip(&names.join(", ")), self.changed_total));
        }
        if let Some(interruption) = self.interruption {
            row("interruption", format!("{interruption:?}"));
        }
        if let Some(reason) = &self.restored {
            row("restored", reason.clone());
        }
        if let Some(reason) = &self.session_ended {
            row("session ended", reason.clone());
        }
        row("took", format!("{:?}", self.duration));
        text
    }

    /// The cell's source, numbered.
    pub(crate) fn listing(code: &str) -> String {
        const MOST: usize = 25;
        let mut text = String::from("\n  cell:");
        for (index, line) in code.lines().take(MOST).enumerate() {
            let _ = write!(text, "\n    {:>2} | {}", index + 1, clip(line));
        }
        if let more @ 1.. = code.lines().count().saturating_sub(MOST) {
            let _ = write!(text, "\n       | ... {more} more lines");
        }
        text
    }
}

/// A value from JSON, for what cases expect.
#[track_caller]
pub(crate) fn plain(json: serde_json::Value) -> Value {
    match Value::from_serialize(&json) {
        Ok(value) => value,
        Err(error) => fail(format!("the case's own value cannot be made: {error}")),
    }
}

/// Equality with NaN equal to itself and 0.0 different from -0.0.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Dict(left), Value::Dict(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

/// Fails unless the values are the same.
#[track_caller]
pub(crate) fn assert_same(actual: &Value, expected: &Value, what: &str) {
    if !same(actual, expected) {
        fail(format!(
            "{what}: expected {}, found {}",
            clip(&format!("{expected:?}")),
            clip(&format!("{actual:?}"))
        ));
    }
}

fn is_whole(captured: &Captured, text: &str) -> bool {
    captured.omitted_chars == 0 && captured.head == text
}

fn describe(captured: &Captured) -> String {
    let head = clip(&captured.head);
    match captured.omitted_chars {
        0 => format!("{head:?}"),
        omitted => format!(
            "{head:?} ... {omitted} of {} omitted ... {:?}",
            captured.total_chars,
            clip(&captured.tail)
        ),
    }
}

fn clip(text: &str) -> String {
    const MOST: usize = 1500;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} bytes in all)", &text[..end], text.len()),
    }
}

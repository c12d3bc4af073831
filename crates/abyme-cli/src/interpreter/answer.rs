//! The lines that go out, as JSON that Python reads.

use std::time::Duration;

use abyme::{HostCall, Interruption, Observation, PythonError, Submission, Submitted, Value};
use indexmap::IndexMap;

use crate::json::{self, NonFinite};

/// Asks the host to run a tool.
pub(super) fn tool_call(id: u64, call: HostCall) -> String {
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let fields = [
        ("id", Value::from(id)),
        ("name", call.name.into()),
        ("args", Value::List(call.args)),
        ("kwargs", Value::Dict(call.kwargs)),
    ];
    line(Value::dict([("tool_call", Value::dict(fields))]))
}

/// What a cell produced. `outputs` are the names that the cell's line declared.
pub(super) fn cell(observation: Observation, outputs: &[String], limit: Duration) -> String {
    let interrupted = (observation.interruption == Some(Interruption::Interrupted))
        .then(|| format!("the cell was interrupted at its time limit of {} s", limit.as_secs_f64()));
    let error = match (observation.session_ended, observation.error) {
        (Some(reason), _) => Some(error("SessionEnded", &reason, "")),
        _ if observation.restored.is_some() => {
            let reason = observation.restored.unwrap_or_default();
            Some(error(
                "SessionRestored",
                &format!("{reason}; the session is as it was before this cell"),
                "",
            ))
        }
        (None, Some(PythonError { type_name, message, traceback, .. })) => {
            let message = interrupted.filter(|_| message.is_empty()).unwrap_or(message);
            Some(error(&type_name, &message, &traceback))
        }
        // The cell caught the interrupt; its host should know all the same.
        (None, None) => interrupted.map(|message| error("KeyboardInterrupt", &message, "")),
    };
    end([
        observation.stdout.to_string().into(),
        observation.stderr.to_string().into(),
        observation.submission.map_or(Value::None, |submission| submitted(submission, outputs)),
        observation.value.map_or(Value::None, |value| value.to_string().into()),
        error.unwrap_or_default(),
    ])
}

/// An error that no Python code raised.
pub(super) fn problem(type_name: &str, message: &str) -> String {
    end(["".into(), "".into(), Value::None, Value::None, error(type_name, message, "")])
}

fn end(values: [Value; 5]) -> String {
    let fields = ["stdout", "stderr", "final", "value", "error"].into_iter().zip(values);
    line(Value::dict(fields))
}

/// The outputs by name. A single value has the name of the only output, or `output`.
fn submitted(submission: Submission, outputs: &[String]) -> Value {
    let value = match submission.submitted {
        Submitted::Fields(fields) => return Value::Dict(fields),
        Submitted::Value(value) => value,
    };
    let holds_all = |fields: &IndexMap<String, Value>| {
        fields.len() == outputs.len() && outputs.iter().all(|name| fields.contains_key(name))
    };
    match (outputs, value) {
        ([_, ..], Value::Dict(fields)) if holds_all(&fields) => Value::Dict(fields),
        ([name], value) => Value::dict([(name.clone(), value)]),
        (_, value) => Value::dict([("output", value)]),
    }
}

fn error(type_name: &str, message: &str, traceback: &str) -> Value {
    Value::dict([("type", type_name), ("message", message), ("traceback", traceback)])
}

fn line(value: Value) -> String {
    let mut line = String::new();
    json::write(&mut line, &value, NonFinite::Python);
    line
}

#[cfg(test)]
mod tests {
    use abyme::Via;

    use super::*;

    fn finals(submission: Submission, outputs: &[&str]) -> String {
        let outputs: Vec<_> = outputs.iter().map(|name| (*name).to_owned()).collect();
        line(submitted(submission, &outputs))
    }

    #[test]
    fn a_submission_is_an_object() {
        let value = |value: Value| Submission::value(Via::Final, value);
        assert_eq!(finals(value(1.into()), &[]), r#"{"output": 1}"#);
        assert_eq!(finals(value(1.into()), &["a"]), r#"{"a": 1}"#);
        assert_eq!(finals(value(1.into()), &["a", "b"]), r#"{"output": 1}"#);
        let both = Value::dict([("b", 1), ("a", 2)]);
        assert_eq!(finals(value(both.clone()), &["a", "b"]), r#"{"b": 1, "a": 2}"#);
        assert_eq!(finals(value(both), &[]), r#"{"output": {"b": 1, "a": 2}}"#);
    }

    #[test]
    fn an_end_has_all_its_keys() {
        let mut observation = Observation::default();
        observation.stdout = "é\n".into();
        observation.value = Some("7".into());
        assert_eq!(
            cell(observation, &[], Duration::ZERO),
            r#"{"stdout": "é\n", "stderr": "", "final": null, "value": "7", "error": null}"#
        );
        assert_eq!(
            problem("BadInput", "no"),
            r#"{"stdout": "", "stderr": "", "final": null, "value": null, "error": {"type": "BadInput", "message": "no", "traceback": ""}}"#
        );
    }
}

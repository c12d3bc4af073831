//! The lines that go out, as values.

use std::time::Duration;

use abyme::{HostCall, Interruption, Observation, PythonError, Submission, Submitted, Value};
use indexmap::IndexMap;

/// Asks the host to run a tool.
pub(super) fn tool_call(id: u64, call: HostCall) -> Value {
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let fields = [
        ("id", Value::from(id)),
        ("name", call.name.into()),
        ("args", Value::List(call.args)),
        ("kwargs", Value::Dict(call.kwargs)),
    ];
    Value::dict([("tool_call", Value::dict(fields))])
}

/// What a cell produced. `outputs` are the names that the cell's line declared.
pub(super) fn cell(observation: Observation, outputs: &[String], limit: Duration) -> Value {
    let interrupted = (observation.interruption == Some(Interruption::Interrupted))
        .then(|| format!("the cell was interrupted at its time limit of {} s", limit.as_secs_f64()));
    let error = match (observation.session_ended, observation.error) {
        (Some(reason), _) => Some(PythonError::new("SessionEnded", reason).traceback("")),
        _ if observation.restored.is_some() => {
            let reason = observation.restored.unwrap_or_default();
            let message = format!("{reason}; the session is as it was before this cell");
            Some(PythonError::new("SessionRestored", message).traceback(""))
        }
        (None, Some(mut error)) => {
            error.message = interrupted.filter(|_| error.message.is_empty()).unwrap_or(error.message);
            Some(error)
        }
        // The cell caught the interrupt; its host should know all the same.
        (None, None) => {
            interrupted.map(|message| PythonError::new("KeyboardInterrupt", message).traceback(""))
        }
    };
    end(
        observation.stdout.to_string(),
        observation.stderr.to_string(),
        observation.submission.map_or(Value::None, |submission| submitted(submission, outputs)),
        observation.value.map_or(Value::None, |value| value.to_string().into()),
        error,
    )
}

/// An error that no Python code raised.
pub(super) fn problem(type_name: &str, message: &str) -> Value {
    let error = PythonError::new(type_name, message).traceback("");
    end(String::new(), String::new(), Value::None, Value::None, Some(error))
}

/// The line that ends a cell. The error stands at the end of `stderr` too, where hosts that know nothing of
/// `error` show it to their model.
fn end(
    stdout: String,
    mut stderr: String,
    submitted: Value,
    value: Value,
    error: Option<PythonError>,
) -> Value {
    if let Some(error) = &error {
        if !stderr.is_empty() && !stderr.ends_with('\n') {
            stderr.push('\n');
        }
        match error.traceback.trim_end() {
            "" if error.message.is_empty() => stderr.push_str(&error.type_name),
            "" => stderr.push_str(&format!("{}: {}", error.type_name, error.message)),
            traceback => stderr.push_str(traceback),
        }
        stderr.push('\n');
    }
    let error = error.map(|PythonError { type_name, message, traceback, .. }| {
        Value::dict([("type", type_name), ("message", message), ("traceback", traceback)])
    });
    let values = [stdout.into(), stderr.into(), submitted, value, error.unwrap_or_default()];
    Value::dict(["stdout", "stderr", "final", "value", "error"].into_iter().zip(values))
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

#[cfg(test)]
mod tests {
    use abyme::Via;

    use super::*;
    use crate::json::python;

    fn finals(submission: Submission, outputs: &[&str]) -> String {
        let outputs: Vec<_> = outputs.iter().map(|name| (*name).to_owned()).collect();
        python(&submitted(submission, &outputs))
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
            python(&cell(observation, &[], Duration::ZERO)),
            r#"{"stdout": "é\n", "stderr": "", "final": null, "value": "7", "error": null}"#
        );
        assert_eq!(
            python(&problem("BadInput", "no")),
            r#"{"stdout": "", "stderr": "BadInput: no\n", "final": null, "value": null, "error": {"type": "BadInput", "message": "no", "traceback": ""}}"#
        );
    }
}

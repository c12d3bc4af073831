//! Answers of `Repl.run`, and values that it never answers.

use proptest::prelude::*;

use super::*;
use crate::testing::any_value;

fn remainder(head: &str, tail: &str, total: i64) -> Value {
    Value::dict([("head", Value::from(head)), ("tail", tail.into()), ("total", total.into())])
}

/// An answer with everything in it.
fn full() -> Value {
    let repr = Value::dict([("text", Value::from("[1")), ("tail", "9]".into()), ("total", 40.into())]);
    let error = Value::dict([
        ("type", Value::from("KeyError")),
        ("message", "'a'".into()),
        ("traceback", "Traceback ...".into()),
        ("stage", "scope".into()),
        ("line", 3.into()),
    ]);
    let changed = Value::dict([("name", "x"), ("type", "list"), ("summary", "list[3]")]);
    Value::dict([
        ("stdout", remainder("a", "b", 7)),
        ("stderr", remainder("", "", 0)),
        ("value", repr),
        ("error", error),
        ("changed", Value::list([changed])),
        ("changed_total", 31.into()),
        ("variables", Value::dict([("x", Value::list([1, 2, 3]))])),
        ("missing", Value::list(["y"])),
        ("unreadable", Value::dict([("z", "it contains itself")])),
        ("interrupted", true.into()),
    ])
}

/// The full answer with another value in a field, named as in `stdout.head`. `None` removes the field.
fn with(field: &str, value: Option<Value>) -> Value {
    let mut answer = full();
    let mut at = &mut answer;
    let (parents, last) = field.rsplit_once('.').unwrap_or(("", field));
    for key in parents.split('.').filter(|key| !key.is_empty()) {
        at = match at {
            Value::Dict(entries) => &mut entries[key],
            Value::List(items) => &mut items[0],
            _ => panic!("{field} does not exist"),
        };
    }
    match (at, value) {
        (Value::Dict(entries), Some(value)) => drop(entries.insert(last.to_owned(), value)),
        (Value::Dict(entries), None) => drop(entries.shift_remove(last)),
        _ => panic!("{field} does not exist"),
    }
    answer
}

#[test]
fn everything_is_read() {
    let done = Done::from_value(full()).unwrap();
    assert_eq!(done.stdout, StreamRemainder { head: "a".into(), tail: "b".into(), total: 7 });
    assert_eq!(done.value, Some(ValueRepr { head: "[1".into(), tail: "9]".into(), total: Some(40) }));
    let error =
        PythonError::new("KeyError", "'a'").traceback("Traceback ...").stage(Stage::Scope).line(Some(3));
    assert_eq!(done.error, Some(error));
    assert_eq!(done.changed, [ChangedVariable::new("x", "list", "list[3]")]);
    assert_eq!(done.changed_total, 31);
    assert_eq!(done.variables["x"], Value::list([1, 2, 3]));
    assert_eq!(done.unreadable["z"], "it contains itself");
    assert!(done.interrupted);
}

#[test]
fn only_the_streams_must_be_there() {
    let least = Value::dict([("stdout", remainder("", "", 0)), ("stderr", remainder("", "", 0))]);
    assert_eq!(Done::from_value(least).unwrap(), Done::default());
    let none = Value::dict([
        ("stdout", remainder("", "", 0)),
        ("stderr", remainder("", "", 0)),
        ("value", Value::None),
        ("error", Value::None),
    ]);
    assert_eq!(Done::from_value(none).unwrap(), Done::default());
    for field in ["value.tail", "value.total", "error.stage", "error.line"] {
        assert!(Done::from_value(with(field, None)).is_ok(), "{field}");
    }
    for field in ["stdout", "stdout.head", "stderr.tail", "stdout.total", "value.text", "error.traceback"] {
        let problem = Done::from_value(with(field, None)).unwrap_err();
        let key = field.rsplit('.').next().unwrap();
        assert!(problem.ends_with(&format!("has no `{key}`")), "{field}: {problem}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let wrong = [
        ("stdout", Value::from("text"), "stdout is of type str, not dict"),
        ("stdout.head", 1.into(), "`head` of stdout is of type int, not str"),
        ("stderr.total", (-1).into(), "`total` of stderr cannot be -1"),
        ("stderr.total", true.into(), "`total` of stderr is of type bool, not int"),
        ("stderr.total", u64::MAX.into(), "`total` of stderr cannot be 18446744073709551615"),
        ("value.total", 1.5.into(), "`total` of value is of type float, not int"),
        ("error", "boom".into(), "error is of type str, not dict"),
        ("error.stage", "policy".into(), "`policy` is not a stage of a cell"),
        ("error.line", (1_i64 << 40).into(), "the line of an error is too large"),
        ("changed", 1.into(), "`changed` of the answer is of type int, not list"),
        ("changed", Value::list([1]), "a changed variable is of type int, not dict"),
        ("variables", Value::list(["x"]), "variables is of type list, not dict"),
        ("unreadable.z", 1.into(), "an entry of `unreadable` is of type int, not str"),
        ("interrupted", 1.into(), "`interrupted` of the answer is of type int, not bool"),
    ];
    for (field, value, message) in wrong {
        assert_eq!(Done::from_value(with(field, Some(value))).unwrap_err(), message, "{field}");
    }
    assert_eq!(Done::from_value(Value::None).unwrap_err(), "the answer is of type NoneType, not dict");
}

#[test]
fn it_says_what_the_message_of_the_wire_says() {
    use crate::protocol::{DriverMessage, Frame};
    let mut json = serde_json::to_value(full()).unwrap();
    let object = json.as_object_mut().unwrap();
    object.insert("type".to_owned(), "done".into());
    object.insert("run".to_owned(), 1.into());
    let frame = Frame { header: serde_json::to_vec(&json).unwrap(), blobs: Vec::new() };
    let Ok(DriverMessage::Done { run: 1, done }) = DriverMessage::from_frame(frame, 1 << 20) else {
        panic!("no `done`");
    };
    assert_eq!(*done, Done::from_value(full()).unwrap());
}

proptest! {
    #[test]
    fn any_value_is_an_answer_or_an_error(value in any_value()) {
        let _ = Done::from_value(value);
    }

    #[test]
    fn so_is_any_value_in_any_field(
        value in any_value(),
        field in prop::sample::select(vec![
            "stdout", "stdout.head", "stdout.tail", "stderr.total", "value", "value.text", "value.tail",
            "value.total",
            "error", "error.type", "error.stage", "error.line", "changed", "changed.0.name", "changed_total",
            "variables", "unreadable", "unreadable.z", "interrupted", "missing", "unknown",
        ]),
        cap in 0_usize..20,
    ) {
        if let Ok(done) = Done::from_value(with(field, Some(value))) {
            let mut collector = crate::repl::Collector::new(cap);
            collector.output(crate::repl::Stream::Stdout, "ab");
            let _ = collector.finish(done, true);
        }
    }
}

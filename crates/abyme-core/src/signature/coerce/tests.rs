//! Tests of conversions, as tables: type, value, and what comes of it (as `repr`, or a message).

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::signature::tests::any_type;

fn coerce(ty: &str, value: impl Into<Value>) -> String {
    let ty: FieldType = ty.parse().unwrap();
    match ty.coerce(value.into()) {
        Ok(value) => value.repr(200),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn to_record() {
    let ty = "{'name': str, 'size': NotRequired[int]}";
    for (value, expected) in [
        (r#"{"name": "a", "size": "3"}"#, "{'name': 'a', 'size': 3}"),
        ("{'other': [1], 'name': 'a'}", "{'other': [1], 'name': 'a'}"),
        ("{'name': 'a', 'siz': 3}", "dict {'name': 'a', 'siz': 3}; the key 'siz' should be 'size'"),
        ("{'size': 3}", "dict {'size': 3}; the key 'name' is missing"),
        ("['a']", "str \"['a']\""),
    ] {
        let expected = match expected.starts_with('{') {
            true => expected.to_owned(),
            false => format!("! expected {ty}, got {expected}"),
        };
        assert_eq!(coerce(ty, value), expected);
    }
    let nested = Value::dict([("name", Value::from("a")), ("size", Value::from(1.5))]);
    assert!(coerce(ty, nested).starts_with(r#"! at ["size"]: expected int, got float 1.5"#));

    // The tag says which shape is meant, and the error is about that one.
    let shapes = "{'kind': Literal['a'], 'x': int} | {'kind': Literal['b'], 'y': int}";
    let tagged =
        |kind: &str, key: &str, value: &str| coerce(shapes, Value::dict([("kind", kind), (key, value)]));
    assert_eq!(tagged("b", "y", "1"), "{'kind': 'b', 'y': 1}");
    assert!(tagged("b", "y", "one").starts_with(r#"! at ["y"]: expected int, got str 'one'"#));
}

#[test]
fn to_str() {
    for (value, expected) in [
        (Value::from("a"), "'a'"),
        (Value::from(""), "''"),
        (Value::from(true), "'True'"),
        (Value::from(3), "'3'"),
        (Value::from(3.0), "'3.0'"),
        (Value::from(1e16), "'1e+16'"),
        (Value::None, "! expected str, got None; submit a text, which may be empty"),
        (
            Value::from(["a"]),
            "! expected str, got list ['a']; submit a text, e.g. \", \".join(value) or json.dumps(value)",
        ),
        (Value::dict([("a", 1)]), "! expected str, got dict {'a': 1}; submit a text, e.g. json.dumps(value)"),
        (Bytes::from_static(b"a").into(), "! expected str, got bytes b'a'; submit value.decode()"),
    ] {
        assert_eq!(coerce("str", value), expected);
    }
}

#[test]
fn to_int() {
    let round = "; submit round(value) or int(value) if a whole number is meant";
    for (value, expected) in [
        (Value::from(3), "3".to_owned()),
        (Value::from("3"), "3".to_owned()),
        (Value::from(" -3\n"), "-3".to_owned()),
        (Value::from("+1_000"), "1000".to_owned()),
        (Value::from("3.0"), "3".to_owned()),
        (Value::from("123456789012345678901"), "123456789012345678901".to_owned()),
        (Value::from(3.0), "3".to_owned()),
        (Value::from(-0.0), "0".to_owned()),
        (Value::from(1e20), "100000000000000000000".to_owned()),
        (Value::from(3.7), format!("! expected int, got float 3.7{round}")),
        (Value::from(f64::NAN), format!("! expected int, got float nan{round}")),
        (Value::from(f64::INFINITY), format!("! expected int, got float inf{round}")),
        (
            Value::from(true),
            "! expected int, got bool True; a bool is not counted as a number; submit int(value) if it is \
             meant as one"
                .to_owned(),
        ),
        (
            Value::from("1,000"),
            "! expected int, got str '1,000'; submit the number without separators".to_owned(),
        ),
        (Value::from("3.7"), "! expected int, got str '3.7'".to_owned()),
        (Value::from("3."), "! expected int, got str '3.'".to_owned()),
        (Value::from("1__0"), "! expected int, got str '1__0'".to_owned()),
        (Value::from("_1"), "! expected int, got str '_1'".to_owned()),
        (Value::from(""), "! expected int, got str ''".to_owned()),
        (Value::from("three"), "! expected int, got str 'three'".to_owned()),
        (Value::None, "! expected int, got None".to_owned()),
        (Value::from([1]), "! expected int, got list [1]".to_owned()),
    ] {
        assert_eq!(coerce("int", value), expected);
    }
}

#[test]
fn to_float() {
    for (value, expected) in [
        (Value::from(3.5), "3.5"),
        (Value::from(3), "3.0"),
        (Value::from(i64::MIN), "-9.223372036854776e+18"),
        (Value::from(1_i128 << 80), "1.2089258196146292e+24"),
        (Value::from("1e3"), "1000.0"),
        (Value::from(" .5 "), "0.5"),
        (Value::from("1_000.5"), "1000.5"),
        (Value::from("-0"), "0.0"),
        (Value::from("NaN"), "nan"),
        (Value::from("-inf"), "-inf"),
        (Value::from("1e999"), "! expected float, got str '1e999'; the number is too large for a float"),
        (Value::from("50%"), "! expected float, got str '50%'; submit the number without a unit"),
        (Value::from("1,5"), "! expected float, got str '1,5'; submit the number without separators"),
        (Value::from(""), "! expected float, got str ''"),
        (Value::None, "! expected float, got None"),
    ] {
        assert_eq!(coerce("float", value), expected);
    }
    let inexact = "the number has more digits than a float holds; declare it as int";
    assert_eq!(
        coerce("float", (1_i64 << 53) + 1),
        format!("! expected float, got int 9007199254740993; {inexact}")
    );
    assert_eq!(
        coerce("float", "9007199254740993"),
        format!("! expected float, got str '9007199254740993'; {inexact}")
    );
    assert!(coerce("float", false).starts_with("! expected float, got bool False; a bool is not"));
}

#[test]
fn to_bool() {
    for (words, expected) in [
        (["true", "True", " TRUE ", "yes", "y", "t", "on", "1"], "True"),
        (["false", "False", " FALSE", "no", "n", "f", "off", "0"], "False"),
    ] {
        for word in words {
            assert_eq!(coerce("bool", word), expected);
        }
    }
    assert_eq!(coerce("bool", 1), "True");
    assert_eq!(coerce("bool", 0.0), "False");
    assert_eq!(coerce("bool", 2), "! expected bool, got int 2; submit True or False");
    assert_eq!(coerce("bool", "maybe"), "! expected bool, got str 'maybe'; submit True or False");
    assert_eq!(coerce("bool", Value::None), "! expected bool, got None; submit True or False");
}

#[test]
fn to_bytes_dates_none_and_any() {
    for (ty, value, expected) in [
        ("bytes", Value::from("é"), r"b'\xc3\xa9'"),
        ("bytes", Value::from(1), "! expected bytes, got int 1; submit bytes"),
        ("None", "null".into(), "None"),
        ("None", "".into(), "! expected None, got str ''; submit None"),
        ("Any", Value::from([1]), "[1]"),
        ("date", "2024-02-29 00:00".into(), "'2024-02-29'"),
        ("date", "2024-02-30".into(), "! expected date, got str '2024-02-30'; there is no such day"),
        ("date", 1.into(), "! expected date, got int 1; submit value.isoformat()"),
        ("datetime", "2024-02-29".into(), "'2024-02-29T00:00:00'"),
        ("datetime", "2024-02-29 12:00Z".into(), "'2024-02-29T12:00:00+00:00'"),
        ("datetime", "now".into(), "! expected datetime, got str 'now'; write a date as 2024-12-31"),
    ] {
        assert_eq!(coerce(ty, value), expected);
    }
}

#[test]
fn to_lists_sets_and_tuples() {
    for (ty, value, expected) in [
        ("list[int]", Value::from(["1", "2"]), "[1, 2]"),
        ("list[int]", "[1, 2.0]".into(), "[1, 2]"),
        ("list[str]", " ['a', \"b\"] ".into(), "['a', 'b']"),
        ("list[str]", "('a',)".into(), "['a']"),
        ("list", "[1, null]".into(), "[1, None]"),
        (
            "list[int]",
            Value::from([1.5]),
            "! at [0]: expected int, got float 1.5; submit round(value) or int(value) if a whole number is \
             meant",
        ),
        ("list[str]", "a, b".into(), "! expected list[str], got str 'a, b'; submit a list of its items"),
        ("list[str]", "a".into(), "! expected list[str], got str 'a'; submit [value] for a list of one"),
        ("list[int]", "```json\n[1, 2]\n```".into(), "[1, 2]"),
        ("tuple[int, int]", "\n```\n(1, 2)\n```\n".into(), "[1, 2]"),
        ("dict[str, int]", "```python\n{'a': 1}\n```".into(), "{'a': 1}"),
        ("str", "```json\n[1]\n```".into(), r"'```json\n[1]\n```'"),
        (
            "list[int]",
            "```json\n[1, 2\n```".into(),
            "! expected list[int], got str '[1, 2\\n'; the text is not JSON: expected `,` or `]` at \
             character 6",
        ),
        ("list[int]", 1.into(), "! expected list[int], got int 1; submit [value] for a list of one"),
        ("list[int]", Value::None, "! expected list[int], got None"),
        (
            "list[int]",
            "[1, 2".into(),
            "! expected list[int], got str '[1, 2'; the text is not JSON: expected `,` or `]` at character 5",
        ),
        (
            "list[list[int]]",
            Value::list([Value::from([1]), Value::from(["x"])]),
            "! at [1][0]: expected int, got str 'x'",
        ),
        ("set[int]", Value::from(["1", "2", "1"]), "[1, 2]"),
        ("tuple[int, str]", Value::from(("1", 2)), "[1, '2']"),
        (
            "tuple[int, str]",
            Value::from([1, 2, 3]),
            "! expected tuple[int, str], got list [1, 2, 3]; that is 3 of 2 items",
        ),
        ("tuple[()]", Value::List(vec![]), "[]"),
        ("tuple[int, ...]", Value::from(["1", "2", "3"]), "[1, 2, 3]"),
    ] {
        assert_eq!(coerce(ty, value), expected);
    }
}

#[test]
fn to_dicts() {
    for (ty, value, expected) in [
        ("dict[str, int]", Value::dict([("a", "1")]), "{'a': 1}"),
        ("dict", "{'a': [1, None]}".into(), "{'a': [1, None]}"),
        ("dict[str, list[str]]", r#"{"a": ["b"]}"#.into(), "{'a': ['b']}"),
        ("dict[int, str]", Value::dict([(" 3 ", "x")]), "{'3': 'x'}"),
        ("dict[bool, str]", Value::dict([("yes", "x")]), "{'True': 'x'}"),
        ("dict[date, int]", Value::dict([("2024-01-02T00:00", 1)]), "{'2024-01-02': 1}"),
        ("dict[tuple[int, int], str]", Value::dict([("(1, 2)", "x")]), "{'(1, 2)': 'x'}"),
        ("dict[int, str]", Value::dict([("x", "y")]), "! expected keys of type int, got the key 'x'"),
        (
            "dict[int, str]",
            Value::dict([("3", "a"), ("03", "b")]),
            "! expected each key once in dict[int, str], got str '3'; two keys mean the same int",
        ),
        (
            "dict[str, int]",
            Value::dict([("time\"out", 1.5)]),
            r#"! at ["time\"out"]: expected int, got float 1.5; submit round(value) or int(value) if a whole number is meant"#,
        ),
        (
            "dict[Literal['a'], int]",
            Value::dict([("A", 1)]),
            "! expected keys of type Literal['a'], got the key 'A'; did you mean 'a'?",
        ),
        ("dict[str, int]", Value::from([1]), "! expected dict[str, int], got list [1]"),
        (
            "list[dict[str, int]]",
            Value::list([Value::dict([("name", Value::None)])]),
            r#"! at [0]["name"]: expected int, got None"#,
        ),
    ] {
        assert_eq!(coerce(ty, value), expected);
    }
}

#[test]
fn to_literals() {
    for (ty, value, expected) in [
        ("Literal['a', 'b']", Value::from("b"), "'b'"),
        ("Literal['1', 1]", 1.into(), "1"),
        ("Literal[1, '1']", "1".into(), "'1'"),
        ("Literal[1, 2]", "2".into(), "2"),
        ("Literal[1, 2]", 2.0.into(), "2"),
        ("Literal['1']", 1.into(), "'1'"),
        ("Literal[True]", "yes".into(), "True"),
        ("Literal['a', None]", "null".into(), "None"),
        (
            "Literal['positive', 'negative']",
            " Positive".into(),
            "! expected Literal['positive', 'negative'], got str ' Positive'; did you mean 'positive'?",
        ),
        (
            "Literal['a']",
            "xyz".into(),
            "! expected Literal['a'], got str 'xyz'; submit one of them as it is written there",
        ),
        (
            "Literal[1]",
            true.into(),
            "! expected Literal[1], got bool True; submit one of them as it is written there",
        ),
    ] {
        assert_eq!(coerce(ty, value), expected);
    }
}

#[test]
fn to_unions() {
    for (ty, value, expected) in [
        ("str | None", Value::from(""), "''"),
        ("str | None", "None".into(), "'None'"),
        ("int | None", "null".into(), "None"),
        ("int | None", "None".into(), "None"),
        ("int | None", "3".into(), "3"),
        ("int | None", "".into(), "! expected int | None, got str ''"),
        ("int | str", "3".into(), "'3'"),
        ("str | int", 3.into(), "3"),
        ("int | float", 3.5.into(), "3.5"),
        ("float | int", 3.into(), "3"),
        ("float | None", 3.into(), "3.0"),
        ("date | str", "2024-01-02 00:00".into(), "'2024-01-02'"),
        ("str | date", "2024-01-02 00:00".into(), "'2024-01-02 00:00'"),
        ("list[int] | str", "[1]".into(), "'[1]'"),
        ("list[int] | None", "[1, '2']".into(), "[1, 2]"),
        ("list[int] | None", Value::from(["x"]), "! at [0]: expected int, got str 'x'"),
        ("list[int] | dict[str, int]", Value::dict([("a", "x")]), r#"! at ["a"]: expected int, got str 'x'"#),
        ("int | bool", "maybe".into(), "! expected int | bool, got str 'maybe'"),
    ] {
        assert_eq!(coerce(ty, value), expected, "{ty}");
    }
}

#[test]
fn a_large_value_makes_a_short_message() {
    let error = coerce("int", "x".repeat(10_000_000));
    assert!(error.chars().count() < 100, "{error}");
    let error = coerce("list[int]", Value::dict([("k".repeat(10_000), 1)]));
    assert!(error.chars().count() < 120, "{error}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        any::<i128>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        r#"[\[\]{}()'":,0-9a-eTN .-]{0,10}"#.prop_map(Value::from),
        prop::sample::select(vec!["1", "1.0", "true", "[1]", "{'a': 1}", "2024-01-02", "null"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
            prop::collection::vec(("[a1 ]{0,2}", inner), 0..3).prop_map(Value::dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_converted_is_of_the_type_and_converts_to_itself(ty in any_type(), value in any_value()) {
        let ty = ty.normalized().unwrap();
        if let Ok(converted) = ty.coerce(value) {
            prop_assert!(ty.matches(&converted), "{ty}: {}", converted.repr(200));
            let again = ty.coerce(converted.clone()).unwrap();
            prop_assert_eq!(again.repr(200), converted.repr(200));
        }
    }

    #[test]
    fn what_is_of_the_type_is_accepted(ty in any_type(), value in any_value()) {
        let ty = ty.normalized().unwrap();
        if ty.matches(&value) {
            prop_assert!(ty.coerce(value).is_ok());
        }
    }
}

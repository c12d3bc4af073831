//! Tests of plain JSON.

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Value {
    Value::parse_json(text).unwrap()
}

#[test]
fn numbers_keep_their_kind_and_all_their_digits() {
    for (text, value) in [
        ("0", Value::Int(0)),
        ("-0", Value::Int(0)),
        ("1.0", Value::Float(1.0)),
        ("1e3", Value::Float(1000.0)),
        ("-1.5E-2", Value::Float(-0.015)),
        ("9223372036854775807", Value::Int(i64::MAX)),
        ("-9223372036854775808", Value::Int(i64::MIN)),
        ("9223372036854775808", Value::BigInt("9223372036854775808".into())),
        ("-123456789012345678901234567890", Value::BigInt("-123456789012345678901234567890".into())),
        ("1e999", Value::Float(f64::INFINITY)),
        ("Infinity", Value::Float(f64::INFINITY)),
        ("-Infinity", Value::Float(f64::NEG_INFINITY)),
    ] {
        assert_eq!(parse(text), value, "{text}");
    }
    assert!(parse("NaN").as_f64().unwrap().is_nan());
    assert!(parse("-0.0").as_f64().unwrap().is_sign_negative());
}

#[test]
fn the_rest_is_json() {
    assert_eq!(
        parse(
            "\u{feff} {\"a\" : [ null, true ,false], \"\\u00e9\\ud83d\\ude00\\n\\/\": {}, \"a\": \
             \"last\"}\r\n"
        ),
        Value::dict([("a", Value::from("last")), ("é😀\n/", Value::Dict(IndexMap::new()))])
    );
}

#[test]
fn errors_say_where() {
    for (text, message) in [
        ("", "expected a value, found the end at line 1, column 1"),
        ("[1,\n 2 3]", "expected `,` or `]` at line 2, column 4"),
        ("[1,]", "JSON has no comma after the last item at line 1, column 4"),
        ("{\"a\" 1}", "expected `:` after the key at line 1, column 6"),
        ("{\"é\": None}", "expected a value; JSON writes null, true, false at line 1, column 7"),
        ("'a'", "expected a value; JSON texts have double quotes at line 1, column 1"),
        ("\"abc", "a text that does not end at line 1, column 1"),
        ("\"a\nb\"", "a line break or control character inside a text; escape it at line 1, column 3"),
        ("01", "not a number at line 1, column 2"),
        ("1.", "expected a digit at line 1, column 3"),
        ("1 2", "unexpected text after the value at line 1, column 3"),
    ] {
        let error = Value::parse_json(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), format!("not JSON: {message}"), "{text}");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_a_question_mark() {
    for (text, read) in [
        (r#""\ud800""#, "?"),
        (r#""a\ud83d""#, "a?"),
        (r#""\udc00b""#, "?b"),
        (r#""\ud83d\u0041""#, "?A"),
        (r#""\ud83d\ud83d\ude00""#, "?😀"),
    ] {
        assert_eq!(parse(text), Value::from(read), "{text}");
    }
}

#[test]
fn what_serde_json_writes_is_read_the_same() {
    let plain = json!({"a": [1, -2.5, "x\u{1}\"\\", null, true], "b": {"c": u64::MAX, "d": 1e-300}});
    assert_eq!(parse(&plain.to_string()), Value::from(plain.clone()));
    assert_eq!(parse(&plain.to_string()).to_json(), plain);
}

#[test]
fn plain_json_states_its_losses() {
    let value = Value::list([
        Value::Float(f64::NAN),
        Value::Float(f64::NEG_INFINITY),
        Value::from(i128::MAX),
        Value::from(Bytes::from_static(b"\x00\x01")),
        Value::dict([("$int", 1.0)]),
    ]);
    assert_eq!(
        value.to_json().to_string(),
        r#"["NaN","-Infinity","170141183460469231731687303715884105727","AAE=",{"$int":1.0}]"#
    );
}

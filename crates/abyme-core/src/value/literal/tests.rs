//! Tests of the reader's Python side; JSON is tested where it is offered, in `value/json`.

use proptest::prelude::*;

use super::*;

fn python(text: &str) -> Result<Value> {
    Reader::new(text, 0, Dialect::Python).only_value()
}

#[test]
fn python_literals_are_read() {
    for (text, value) in [
        ("['a', \"b\"]", Value::from(["a", "b"])),
        ("('a', 1)", Value::from(("a", 1))),
        ("('a',)", Value::from(["a"])),
        ("('a')", Value::from("a")),
        ("()", Value::List(vec![])),
        ("[1, 2,]", Value::from([1, 2])),
        (
            "{'a': None, 1: True, 2.5: False}",
            Value::dict([("a", Value::None), ("1", true.into()), ("2.5", false.into())]),
        ),
        (r"'it\'s \x41\u00e9\U0001f600'", Value::from("it's Aé😀")),
        ("[inf, -inf, -1.5e-3]", Value::from([f64::INFINITY, f64::NEG_INFINITY, -0.0015])),
        ("-123456789012345678901", Value::from(-123_456_789_012_345_678_901_i128)),
    ] {
        assert_eq!(python(text), Ok(value), "{text}");
    }
}

#[test]
fn what_is_no_literal_is_refused() {
    for text in [
        "",
        "[",
        "[1",
        "[1 2]",
        "[,]",
        "{1}",
        "{'a'}",
        "{'a':}",
        "{[1]: 2}",
        "nope",
        "null",
        "true",
        "'a' 'b'",
        "'a",
        r"'\N{DASH}'",
        r"'\ud800'",
        r"'\x4'",
        "1_000",
        "1.2.3",
        "--1",
        "-None",
        "01",
        "b'a'",
        "print(1)",
        "'a\nb'",
    ] {
        assert!(python(text).is_err(), "{text}");
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(python(&nested(Value::MAX_LEVELS)).is_ok());
    assert_eq!(python(&nested(Value::MAX_LEVELS + 1)).unwrap_err().message, "nested too deeply");
    assert!(python(&"(".repeat(1_000_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = python(&text);
        let _ = Reader::new(&text, 0, Dialect::Json).only_value();
    }

    #[test]
    fn nor_does_near_python(text in r#"[\[\](){},:'"\\a-u0-9é .+-]{0,24}"#) {
        let _ = python(&text);
        let _ = Reader::new(&text, 0, Dialect::Json).only_value();
    }

    #[test]
    fn every_text_survives_repr(text in any::<String>()) {
        prop_assert_eq!(python(&Value::from(text.as_str()).repr(usize::MAX)), Ok(Value::from(text)));
    }
}

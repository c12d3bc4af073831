//! Tests of `repr`. The expectations were printed by CPython 3.11.

use bytes::Bytes;

use super::*;

#[test]
fn it_reads_like_python() {
    let value = Value::dict([
        ("none", Value::None),
        ("flags", Value::from([true, false])),
        ("text", Value::from("it's")),
        ("bytes", Value::from(Bytes::from_static(b"a\x00\xff'\"\n"))),
        ("empty", Value::List(vec![])),
    ]);
    assert_eq!(
        value.repr(1000),
        r#"{'none': None, 'flags': [True, False], 'text': "it's", 'bytes': b'a\x00\xff\'"\n', 'empty': []}"#
    );
}

#[test]
fn texts_are_quoted_and_escaped_as_python_does() {
    for (text, repr) in [
        ("plain", "'plain'"),
        ("it's", "\"it's\""),
        ("\"it's\"", r#"'"it\'s"'"#),
        ("tab\tnew\nline\r\\", r"'tab\tnew\nline\r\\'"),
        ("\0\x7f\u{85}\u{a0}", r"'\x00\x7f\x85\xa0'"),
        ("é漢😀", "'é漢😀'"),
        ("\u{200b}\u{feff}\u{2028}", r"'\u200b\ufeff\u2028'"),
        ("\u{f0000}", r"'\U000f0000'"),
    ] {
        assert_eq!(text_repr(text, 100), repr);
    }
}

#[test]
fn floats_are_written_as_python_does() {
    for (value, repr) in [
        (3.0, "3.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.000_01, "1e-05"),
        (5e-324, "5e-324"),
        (123_456_789.123, "123456789.123"),
        (f64::NAN, "nan"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        assert_eq!(float_repr(value), repr);
    }
}

#[test]
fn long_values_are_cut_to_the_very_length() {
    let value = Value::from(vec!["abc"; 1_000]);
    assert_eq!(value.repr(20), "['abc', 'abc', 'a...");
    for max in 0..30 {
        assert_eq!(value.repr(max).chars().count(), max);
    }
    assert_eq!(Value::from("12345678").repr(10), "'12345678'");
    assert_eq!(Value::from("123456789").repr(10), "'123456...");
}

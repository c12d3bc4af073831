//! Tests of conversions into values.

use serde_json::json;

use super::*;

#[test]
fn integers_of_every_size() {
    assert_eq!(Value::from(1_u8), Value::Int(1));
    assert_eq!(Value::from(i64::MIN), Value::Int(i64::MIN));
    assert_eq!(Value::from(u64::MAX), Value::BigInt("18446744073709551615".into()));
    assert_eq!(Value::from(i128::from(i64::MIN) - 1), Value::BigInt("-9223372036854775809".into()));
    for (text, value) in [
        ("007", Some(Value::Int(7))),
        ("-0", Some(Value::Int(0))),
        ("+5", Some(Value::Int(5))),
        ("-0009223372036854775809", Some(Value::BigInt("-9223372036854775809".into()))),
        ("", None),
        ("-", None),
        ("1.0", None),
        (" 1", None),
        ("é", None),
    ] {
        assert_eq!(Value::int_from_decimal(text), value, "{text}");
    }
}

#[test]
fn everyday_types() {
    assert_eq!(Value::from(Some("a")), Value::from('a'));
    assert_eq!(Value::from(None::<i32>), Value::None);
    assert_eq!(Value::from(vec![1_u8, 2]), Value::List(vec![Value::Int(1), Value::Int(2)]));
    assert_eq!(Value::from(&["a", "b"][..]), Value::from(("a", String::from("b"))));
    assert_eq!(Value::from((1, 2.5_f32, true, ())).repr(50), "[1, 2.5, True, None]");
    assert_eq!(Value::from(Bytes::from_static(b"a")).repr(50), "b'a'");
}

#[test]
fn maps_and_iterators() {
    let hash: HashMap<&str, i32> = (0..20).map(|n| (["b", "a", "c"][n % 3], 1)).collect();
    assert_eq!(Value::from(hash).repr(50), "{'a': 1, 'b': 1, 'c': 1}");
    assert_eq!(Value::from(BTreeMap::from([("x".to_owned(), vec![1])])).repr(50), "{'x': [1]}");
    assert_eq!([("b", 1), ("a", 2)].into_iter().collect::<Value>().repr(50), "{'b': 1, 'a': 2}");
    assert_eq!((0..3).map(Value::from).collect::<Value>().repr(50), "[0, 1, 2]");
}

#[test]
fn plain_json_is_taken_as_it_stands() {
    let value = Value::from(json!({"$int": "1", "big": u64::MAX, "float": 2.0, "null": null}));
    assert_eq!(value.repr(100), "{'$int': '1', 'big': 18446744073709551615, 'float': 2.0, 'null': None}");
}

#[test]
fn files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.json");
    std::fs::write(&path, "\u{feff}[1, 2.0]").unwrap();
    assert_eq!(Value::json_from_file(&path).unwrap().repr(20), "[1, 2.0]");
    assert_eq!(Value::bytes_from_file(&path).unwrap().as_bytes().unwrap().len(), 11);
    std::fs::write(&path, "[1, 2.0").unwrap();
    let error = Value::json_from_file(&path).unwrap_err().to_string();
    assert!(error.ends_with("a.json`: not JSON: expected `,` or `]` at line 1, column 8"), "{error}");
    assert!(
        Value::bytes_from_file(directory.path())
            .unwrap_err()
            .to_string()
            .ends_with("is a directory, not a file")
    );
}

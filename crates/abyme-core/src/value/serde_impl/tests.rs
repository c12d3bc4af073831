//! Tests of the encoding and of conversions between values and Rust types.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Equality that knows NaN.
fn same(a: &Value, b: &Value) -> bool {
    a.repr(usize::MAX) == b.repr(usize::MAX) && a.type_name() == b.type_name()
}

fn any_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![any::<String>(), r"\$(int|float|bytes|dict|x)?"];
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i128>().prop_map(Value::from),
        "-?[1-9][0-9]{50}".prop_map(Value::BigInt),
        any::<f64>().prop_map(Value::from),
        any::<f32>().prop_map(|value| Value::from(f64::from(value).trunc())),
        any::<String>().prop_map(Value::from),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(Value::dict),
        ]
    })
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    value: Value,
    more: Vec<Value>,
}

proptest! {
    #[test]
    fn json_loses_nothing(value in any_value()) {
        let text = serde_json::to_string(&value).unwrap();
        let back: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(same(&back, &value), "{text}");
        let tree: Value = serde_json::from_value(serde_json::to_value(&value).unwrap()).unwrap();
        prop_assert!(same(&tree, &value), "{text}");
    }

    #[test]
    fn a_value_inside_a_type_passes_through(value in any_value()) {
        let holder = Holder { value: value.clone(), more: vec![value.clone()] };
        let outer = Value::from_serialize(&holder).unwrap();
        prop_assert!(same(&outer.as_dict().unwrap()["value"], &value));
        let back: Holder = outer.to().unwrap();
        prop_assert!(same(&back.more[0], &value));
        prop_assert!(same(&value.to::<Value>().unwrap(), &value));
    }
}

#[test]
fn the_encoding_is_the_documented_one() {
    let value = Value::list([
        Value::from(i128::MAX),
        Value::Float(f64::NEG_INFINITY),
        Value::Bytes(Bytes::from_static(b"\xff")),
        Value::dict([("$a", 1), ("b", 2)]),
        Value::Float(1.0),
    ]);
    assert_eq!(
        serde_json::to_value(&value).unwrap(),
        json!([
            {"$int": "170141183460469231731687303715884105727"}, {"$float": "-inf"}, {"$bytes": "/w=="},
            {"$dict": [["$a", 1], ["b", 2]]}, 1.0
        ])
    );
}

#[test]
fn it_is_read_through_serdes_own_buffers_too() {
    #[derive(Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Inner {
        Value(Value),
    }
    let text = r#"{"value": [{"$int": "99999999999999999999"}, 18446744073709551615, {"$dict": [["$a", null]]}, -1.0]}"#;
    let Outer { inner: Inner::Value(value) } = serde_json::from_str(text).unwrap();
    assert_eq!(value.repr(100), "[99999999999999999999, 18446744073709551615, {'$a': None}, -1.0]");
}

#[test]
fn arbitrary_precision_in_some_other_crate_does_no_harm() {
    let number = |digits: &str| json!({"$serde_json::private::Number": digits});
    let value: Value = serde_json::from_value(json!([number("1"), number("1.0"), number("1e400")])).unwrap();
    assert_eq!(value.repr(100), "[1, 1.0, inf]");
}

#[test]
fn a_wrong_encoding_is_refused() {
    for (text, message) in [
        (r#"{"$int": "1.5"}"#, "a value tagged `$int` cannot be str '1.5'"),
        (r#"{"$float": 1}"#, "a value tagged `$float` cannot be int 1"),
        (r#"{"$bytes": "*"}"#, "a value tagged `$bytes` cannot be str '*'"),
        (
            r#"{"$dict": [["a"]]}"#,
            "a value tagged `$dict` must be a list of [key, value] pairs with text keys",
        ),
        (r#"{"$new": 1}"#, "unknown tag `$new` in a value; a dict with this key is written as `$dict`"),
        (r#"{"a": 1, "$int": "1"}"#, "a value has the key `$int` next to others"),
        (r#"{"$int": "1", "a": 1}"#, "a value has the key `$int` next to others"),
    ] {
        let error = serde_json::from_str::<Value>(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Box { width: u8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    id: Id,
    pair: (String, Option<bool>),
    none: Option<i32>,
    unit: (),
    letter: char,
    big: i128,
    counts: BTreeMap<i64, u32>,
    flags: HashMap<bool, f32>,
    text: Text,
    #[serde(default)]
    absent: Vec<u8>,
}

#[test]
fn rust_types_go_there_and_back() {
    let everything = Everything {
        shapes: vec![Shape::Point, Shape::Circle(2.5), Shape::Line(1, -1), Shape::Box { width: 7 }],
        id: Id(u64::MAX),
        pair: ("a".into(), Some(true)),
        none: None,
        unit: (),
        letter: 'é',
        big: i128::MIN,
        counts: BTreeMap::from([(-1, 2)]),
        flags: HashMap::from([(true, 0.5)]),
        text: "t".into(),
        absent: vec![1, 255],
    };
    let value = Value::from_serialize(&everything).unwrap();
    assert_eq!(
        value.repr(1000),
        "{'shapes': ['Point', {'Circle': 2.5}, {'Line': [1, -1]}, {'Box': {'width': 7}}], \
         'id': 18446744073709551615, 'pair': ['a', True], 'none': None, 'unit': None, 'letter': 'é', \
         'big': -170141183460469231731687303715884105728, 'counts': {'-1': 2}, 'flags': {'True': 0.5}, \
         'text': 't', 'absent': [1, 255]}"
    );
    assert_eq!(value.to::<Everything>().unwrap(), everything);
}

#[test]
fn numbers_convert_where_nothing_is_lost() {
    assert_eq!(Value::Int(3).to::<f64>().unwrap(), 3.0);
    assert_eq!(Value::from(u64::MAX).to::<u64>().unwrap(), u64::MAX);
    assert_eq!(Value::from(u128::MAX).to::<u128>().unwrap(), u128::MAX);
    assert_eq!(Value::BigInt("1".to_owned() + &"0".repeat(40)).to::<f64>().unwrap(), 1e40);
    assert!(Value::Float(f64::NAN).to::<f64>().unwrap().is_nan());
    assert_eq!(Value::Bytes(Bytes::from_static(b"ab")).to::<Vec<u8>>().unwrap(), b"ab");
}

#[test]
fn messages_name_the_place_what_was_expected_and_what_came() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Module {
        name: String,
        lines: u8,
    }
    let list = |name: Value, lines: Value| Value::list([Value::dict([("name", name), ("lines", lines)])]);
    let message = |value: Value| value.to::<Vec<Module>>().unwrap_err().to_string();
    assert_eq!(message(list(3.into(), 1.into())), r#"at [0]["name"]: expected a string, got int 3"#);
    assert_eq!(message(list("a".into(), 3.7.into())), r#"at [0]["lines"]: expected u8, got float 3.7"#);
    assert_eq!(message(list("a".into(), 300.into())), r#"at [0]["lines"]: expected u8, got int 300"#);
    assert_eq!(message(list("a".into(), Value::None)), r#"at [0]["lines"]: expected u8, got None"#);
    assert_eq!(message(Value::list([Value::dict([("name", "a")])])), "at [0]: missing key `lines`");
    assert_eq!(message("a".into()), "expected a sequence, got str 'a'");
    assert_eq!(Value::from([1, 2]).to::<(i32,)>().unwrap_err().to_string(), "expected 1 items, got 2");
    assert_eq!(
        Value::BigInt("9".repeat(45)).to::<i64>().unwrap_err().to_string(),
        format!("expected i64, got int {}", "9".repeat(45))
    );
    assert_eq!(
        Value::from([1, 2]).to::<Shape>().unwrap_err().to_string(),
        r#"expected one of ["Point", "Circle", "Line", "Box"] as str or as the only key of a dict, got list [1, 2]"#
    );
    assert_eq!(
        Value::from_serialize(&HashMap::from([(vec![1], 1)])).unwrap_err().to_string(),
        "list cannot be a dict's key"
    );
}

//! Tests of types from Rust's types, as `schemars` describes them.
#![allow(dead_code, reason = "the types are only described")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

use super::*;

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// As fast as it can
    Fast,
    Slow,
}

/// A place where someone lives
#[derive(JsonSchema)]
struct Address {
    /// Street and
    /// number
    street: String,
    #[schemars(length(min = 4, max = 10))]
    zip: Option<String>,
    #[serde(default)]
    floor: i8,
}

#[derive(JsonSchema)]
#[serde(tag = "kind")]
enum Shape {
    /// Round
    Circle {
        radius: f64,
    },
    Home(Address),
}

#[derive(JsonSchema)]
enum Event {
    Started,
    Ended { code: u8 },
    Said(String),
}

#[derive(JsonSchema)]
struct Tree {
    value: i64,
    /// Smaller ones
    children: Vec<Tree>,
}

#[derive(JsonSchema)]
struct Outer {
    #[serde(flatten)]
    address: Address,
    /// Which way
    mode: Mode,
}

#[derive(JsonSchema)]
#[serde(untagged)]
enum Either {
    One(u32),
    Many(Vec<u32>),
}

/// A number with a name
#[derive(JsonSchema)]
struct Id(#[schemars(range(min = 1, max = 99))] u32);

fn described<T: JsonSchema>() -> (String, Option<String>, Vec<String>) {
    let DescribedType { ty, description, notes } = DescribedType::of::<T>("x");
    // What is shown can be read again, as in a record of a run.
    assert_eq!(ty.to_string().parse::<FieldType>().unwrap().to_string(), ty.to_string());
    (ty.to_string(), description, notes)
}

#[test]
fn rust_types_in_pythons_words() {
    for (ty, annotation) in [
        (FieldType::of::<String>(), "str"),
        (FieldType::of::<char>(), "str"),
        (FieldType::of::<Option<u64>>(), "int | None"),
        (FieldType::of::<Vec<(String, f32)>>(), "list[tuple[str, float]]"),
        (FieldType::of::<BTreeSet<bool>>(), "set[bool]"),
        (FieldType::of::<HashMap<String, Vec<u8>>>(), "dict[str, list[int]]"),
        (FieldType::of::<BTreeMap<u32, String>>(), "dict[int, str]"),
        (FieldType::of::<serde_json::Value>(), "Any"),
        (FieldType::of::<()>(), "None"),
        (FieldType::of::<Mode>(), "Literal['slow', 'fast']"),
        (FieldType::of::<Option<Mode>>(), "Literal['slow', 'fast'] | None"),
        (FieldType::of::<Either>(), "int | list[int]"),
        (FieldType::of::<Id>(), "int"),
        (
            FieldType::of::<Vec<Option<Address>>>(),
            "list[{'street': str, 'zip': NotRequired[str | None], 'floor': NotRequired[int]} | None]",
        ),
        (
            FieldType::of::<Shape>(),
            "{'kind': Literal['Circle'], 'radius': float} | {'street': str, 'zip': NotRequired[str | None], \
             'floor': NotRequired[int], 'kind': Literal['Home']}",
        ),
        (FieldType::of::<Event>(), "Literal['Started'] | {'Ended': {'code': int}} | {'Said': str}"),
    ] {
        assert_eq!(ty.to_string(), annotation);
    }
}

#[test]
fn what_is_said_about_a_type_is_kept() {
    assert_eq!(described::<Mode>().2, ["x = 'fast': As fast as it can"]);
    let (_, description, notes) = described::<Address>();
    assert_eq!(description.as_deref(), Some("A place where someone lives"));
    assert_eq!(notes, ["x['street']: Street and number", "x['zip']: characters: 4 to 10"]);
    assert_eq!(described::<Id>().1.as_deref(), Some("A number with a name; 1 to 99"));
    assert_eq!(
        described::<Vec<Shape>>().2,
        [
            "x[...] = {'kind': 'Circle'}: Round",
            "x[...] = {'kind': 'Home'}: A place where someone lives",
            "x[...]['street']: Street and number",
            "x[...]['zip']: characters: 4 to 10",
        ]
    );
    let (ty, _, notes) = described::<Outer>();
    assert!(ty.starts_with("{'street': str,") && ty.ends_with("'mode': Literal['slow', 'fast']}"), "{ty}");
    for note in
        ["x['street']: Street and number", "x['mode']: Which way", "x['mode'] = 'fast': As fast as it can"]
    {
        assert!(notes.iter().any(|given| given == note), "{note} is not in {notes:?}");
    }
}

#[test]
fn a_type_that_contains_itself_ends() {
    let (ty, _, notes) = described::<Option<Tree>>();
    assert_eq!(ty, "{'value': int, 'children': list} | None");
    assert_eq!(notes, ["x['children']: Smaller ones", "x['children'][...]: what `x` is, again"]);
}

#[test]
fn limits_are_said_in_words() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2},
            "b": {
                "type": "array", "items": {"type": "string", "pattern": "^a+$"}, "minItems": 2, "maxItems": 2
            },
            "c": {"type": "string", "format": "uuid", "description": "Its id"},
            "d": {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255},
        },
    });
    assert_eq!(
        DescribedType::from_schema("x", &schema, &schema).notes,
        [
            "x['a']: at least 1; less than 10; a multiple of 2",
            "x['b']: items: 2",
            "x['b'][...]: matches the pattern ^a+$",
            "x['c']: Its id; format uuid",
        ]
    );
}

#[test]
fn limits_hold_with_the_place_inside() {
    let home =
        |zip: &str| Value::dict([("street", Value::from("a")), ("zip", zip.into()), ("floor", 1.into())]);
    let ty = FieldType::of::<Vec<Address>>();
    let [short, good] = [home("123"), home("1234")];
    assert!(ty.matches(&Value::list([&good])) && !ty.matches(&Value::list([&short])));
    ty.coerce(Value::list([&good])).unwrap();
    assert_eq!(
        ty.coerce(Value::list([good, short])).unwrap_err().to_string(),
        "at [1][\"zip\"]: expected str | None (characters: 4 to 10), got str '123'; that is 3"
    );
    let error = FieldType::of::<Vec<i8>>().coerce(Value::list([128])).unwrap_err();
    assert_eq!(error.to_string(), "at [0]: expected int (-128 to 127), got int 128");
    let error = FieldType::of::<Id>().coerce("100".into()).unwrap_err();
    assert_eq!(error.to_string(), "expected int (1 to 99), got int 100");
    // What a provider is asked to keep to is the same.
    assert_eq!(
        FieldType::of::<Id>().json_schema(),
        serde_json::json!({"type": "integer", "minimum": 1, "maximum": 99, "format": "uint32"})
    );
}

#[test]
fn a_type_is_read_from_an_annotation_a_dict_of_types_or_a_schema() {
    let parse = |json: serde_json::Value| DescribedType::parse("x", &json.clone().into());
    for (given, annotation, notes) in [
        (json!("dict[str, int]"), "dict[str, int]", vec![]),
        (json!(["int"]), "list[int]", vec![]),
        (json!({"type": "str", "items": "list[int]"}), "{'type': str, 'items': list[int]}", vec![]),
        (json!({"items": {"a": "int"}, "of": ["str"]}), "{'items': {'a': int}, 'of': list[str]}", vec![]),
        (json!({}), "dict", vec![]),
        (json!({"type": "string"}), "str", vec![]),
        (json!({"type": ["integer", "null"]}), "int | None", vec![]),
        (
            json!({"type": ["string", "number", "null"], "pattern": r"^-?\d+(\.\d+)?([eE]\d+)?$"}),
            "Decimal | None",
            vec![],
        ),
        (json!({"enum": ["a", "b"]}), "Literal['a', 'b']", vec![]),
        (
            json!({"properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}),
            "{'a': int}",
            vec!["x['a']: at least 1"],
        ),
        (
            json!({"tags": {
                "type": "array",
                "items": {"$ref": "#/$defs/Tag"},
                "$defs": {"Tag": {"type": "string", "pattern": "^a"}},
            }}),
            "{'tags': list[str]}",
            vec!["x['tags'][...]: matches the pattern ^a"],
        ),
    ] {
        let described = parse(given).unwrap();
        assert_eq!((described.ty.to_string().as_str(), described.notes), (annotation, vec_of(&notes)));
    }
    for (given, problem) in [
        (json!("list[in]"), "unknown type `in`, did you mean `int`?"),
        (json!({"a": {"b": "strin"}}), "unknown type `strin`; expected one of"),
        (json!(["int", "str"]), "`x`: a list of a type has one item, not 2"),
        (json!({"a": 3}), "`x['a']`: int 3 is no type: give a type such as `list[str]`"),
        (
            json!({"type": "array", "items": {"type": "strin"}}),
            "`x[...]`: \"strin\" is no type of JSON Schema",
        ),
        (json!({"$ref": "#/$defs/Tag"}), "`x`: the schema has nothing at \"#/$defs/Tag\""),
        (json!({"type": "string", "pattern": "("}), "`x`: the pattern \"(\" is no regular expression"),
    ] {
        let error = parse(given).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

fn vec_of(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

//! Tests of the check of inputs.

use super::*;

fn signature() -> TaskSignature {
    "docs, query: str, limit: int, tags: list[str] | None -> answer".parse().unwrap()
}

#[test]
fn all_wrong_names_are_listed_at_once() {
    let message = |names: &[&str]| signature().check_inputs(names).map_err(|error| error.to_string());
    let tail = "; the signature is `docs, query: str, limit: int, tags: list[str] | None -> answer`";
    assert_eq!(message(&["tags", "limit", "query", "docs"]), Ok(()));
    assert_eq!(message(&["docs", "limit", "tags"]), Err(format!("missing input: `query`{tail}")));
    assert_eq!(
        message(&["qurey", "SUBMIT", "limit"]),
        Err(format!(
            "missing inputs: `docs`, `query`, `tags`; unknown inputs: `qurey` (did you mean `query`?), \
             `SUBMIT`{tail}"
        ))
    );
    assert_eq!(
        message(&["docs", "query", "limit", "tags", "tools"]),
        Err(format!("unknown input: `tools`{tail}"))
    );
    assert!("-> numbers: list[int]".parse::<TaskSignature>().unwrap().check_inputs::<&str>([]).is_ok());
}

#[test]
fn declared_types_are_checked_and_undeclared_ones_are_not() {
    let signature = signature();
    for (name, value, message) in [
        ("docs", Value::from(["a", "b"]), None),
        ("docs", Value::None, None),
        ("query", Value::from("q"), None),
        ("query", Value::from(3), None),
        ("query", Value::from(["q"]), Some("input `query`: expected str, got list ['q']")),
        ("limit", Value::from("7"), None),
        ("limit", Value::from("abc"), Some("input `limit`: expected int, got str 'abc'")),
        ("tags", Value::None, None),
        ("tags", Value::list([Value::None]), Some("input `tags`: at [0]: expected str, got None")),
    ] {
        let result = signature.coerce_input(name, value).map_err(|error| error.to_string());
        assert_eq!(result.err().as_deref(), message, "{name}");
    }
    assert_eq!(signature.coerce_input("limit", "7".into()).unwrap(), Value::Int(7));
    let error = signature.coerce_input("limt", Value::None).unwrap_err().to_string();
    assert!(error.starts_with("unknown input `limt` (did you mean `limit`?); the signature is"), "{error}");
}

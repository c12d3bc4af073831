//! Tests of submissions.

use super::*;

fn signature(text: &str) -> TaskSignature {
    text.parse().unwrap()
}

fn fields(entries: &[(&str, Value)]) -> IndexMap<String, Value> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn all_problems_are_listed_for_the_model() {
    let signature = signature("docs -> modules: list[str], errors: dict[str, int], total: int, note");
    let errors = signature
        .coerce_outputs(fields(&[
            ("modules", Value::list([Value::from("a"), Value::from("b"), Value::dict([("name", "c")])])),
            ("errors", Value::dict([("timeout", 1.5)])),
            ("totl", 3.into()),
            ("extra", Value::None),
            ("note", Value::None),
        ]))
        .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "output `modules`: at [2]: expected str, got dict {'name': 'c'}; submit a text, e.g. \
         json.dumps(value)\n\
         output `errors`: at [\"timeout\"]: expected int, got float 1.5; submit round(value) or int(value) \
         if a whole number is meant\n\
         output `total` is missing: submit it as int\n\
         output `note`: expected str, got None; submit a text, which may be empty\n\
         `totl` is not an output, did you mean `total`?\n\
         `extra` is not an output: leave it out"
    );
    assert_eq!(errors.problems().len(), 6);
    let error = Error::from(errors);
    assert_eq!(error.kind(), ErrorKind::OutputType);
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn a_messages_size_is_bounded() {
    let signature = signature("-> total: int");
    let errors = signature.coerce_single("x".repeat(1_000_000).into()).unwrap_err();
    assert!(errors.to_string().len() < 200);
}

#[test]
fn one_value_for_one_output() {
    for (text, value, outputs) in [
        ("-> n: int", Value::from("3"), "{'n': 3}"),
        ("-> n: int", Value::dict([("n", 3)]), "{'n': 3}"),
        ("question -> answer", Value::dict([("answer", "a")]), "{'answer': 'a'}"),
        ("-> stats: dict[str, int]", Value::dict([("a", 3)]), "{'stats': {'a': 3}}"),
        ("-> stats: dict[str, int]", Value::dict([("stats", 3)]), "{'stats': {'stats': 3}}"),
        ("-> stats: dict", Value::dict([("stats", Value::dict([("a", 1)]))]), "{'stats': {'a': 1}}"),
        ("-> x: Any", Value::None, "{'x': None}"),
    ] {
        let found = signature(text).coerce_single(value).unwrap();
        assert_eq!(Value::Dict(found).repr(100), outputs, "{text}");
    }
    let errors = signature("-> n: int").coerce_single(Value::dict([("n", "x")])).unwrap_err();
    assert_eq!(errors.to_string(), "output `n`: expected int, got str 'x'");
}

#[test]
fn one_value_for_several_outputs_must_be_a_dict_of_them() {
    let signature = signature("-> a: int, b: str");
    let both = "{'a': 1, 'b': 'x'}";
    let as_dict = signature.coerce_single(Value::dict([("b", Value::from("x")), ("a", 1.into())])).unwrap();
    assert_eq!(Value::Dict(as_dict).repr(100), both);
    assert_eq!(Value::Dict(signature.coerce_single(both.into()).unwrap()).repr(100), both);

    let message = |value: Value| signature.coerce_single(value).unwrap_err().to_string();
    assert_eq!(
        message(Value::from([1, 2])),
        "2 outputs are expected, got one list [1, 2]; submit all by name: SUBMIT(a=..., b=...)"
    );
    assert_eq!(
        message(Value::from("done")),
        "2 outputs are expected, got one str 'done'; submit all by name: SUBMIT(a=..., b=...)"
    );
    assert_eq!(message(Value::dict([("a", 1)])), "output `b` is missing: submit it as str");
}

#[test]
fn an_output_that_no_record_could_hold_is_refused() {
    let signature = signature("docs -> rows: list");
    let nested = |levels: usize| (0..levels).fold(Value::None, |inner, _| Value::list([inner]));
    assert!(signature.coerce_outputs(fields(&[("rows", nested(Value::MAX_LEVELS))])).is_ok());
    let errors = signature.coerce_outputs(fields(&[("rows", nested(Value::MAX_LEVELS + 1))])).unwrap_err();
    assert_eq!(errors.to_string(), "output `rows`: it is nested more than 100 levels deep");
}

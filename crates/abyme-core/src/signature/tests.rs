//! Tests of signatures as a whole.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::value::Value;

#[test]
fn it_is_built_from_fields_or_text() {
    let built = TaskSignature::new(
        [Field::untyped("docs"), Field::new("limit", FieldType::Int)],
        [Field::new("tags", FieldType::list(FieldType::Str).optional()), Field::untyped("answer")],
    )
    .unwrap();
    let parsed = "docs, limit: int -> tags: list[str] | None, answer".into_signature().unwrap();
    assert_eq!(built, parsed);
    assert_eq!(built.output("answer").unwrap().ty(), &FieldType::Str);
    assert!(!built.output("answer").unwrap().has_explicit_type());
    assert_ne!(built, "docs: str, limit: int -> tags: list[str] | None, answer".into_signature().unwrap());
}

#[test]
fn what_cannot_be_a_signature_is_refused_without_a_text_too() {
    let message = |inputs: &[&str], outputs: Vec<Field>| {
        TaskSignature::new(inputs.iter().map(|name| Field::untyped(*name)), outputs).unwrap_err().to_string()
    };
    assert_eq!(message(&["a"], vec![]), "a signature needs at least one output");
    assert_eq!(message(&["a", "a"], vec![]), "the input `a` comes twice; give each its own name");
    assert!("question, answer -> grade, status, usage".into_signature().is_ok());
    assert!(message(&["SUBMIT"], vec![]).starts_with("`SUBMIT` cannot be an input: "));
    assert!(message(&[], vec![Field::untyped("FINAL")]).starts_with("`FINAL` cannot be an output: "));
    let of_type = |ty| message(&[], vec![Field::new("x", FieldType::list(ty))]);
    assert_eq!(of_type(FieldType::Union(vec![])), "output `x`: a union of no types");
    assert_eq!(of_type(FieldType::Literal(vec![])), "output `x`: Literal needs at least one option");
    assert_eq!(
        of_type(FieldType::Literal(vec![Value::Float(1.0)])),
        "output `x`: Literal takes str, int, bool and None, not float"
    );
}

#[test]
fn instructions_and_descriptions_are_added() {
    let signature = "docs -> answer".into_signature().unwrap().with_instructions("Answer.");
    let signature = signature.describe("answer", "one word").unwrap();
    assert_eq!(signature.instructions(), Some("Answer."));
    assert_eq!(signature.outputs()[0].description(), Some("one word"));
    assert_eq!(
        signature.describe("anser", "").unwrap_err().to_string(),
        "no input or output is called `anser` (did you mean `answer`?); the signature is `docs -> answer`"
    );
}

#[test]
fn serde_keeps_everything_and_checks_again() {
    let signature = "docs, n: int -> answer".into_signature().unwrap().describe("docs", "text").unwrap();
    let signature = signature.with_instructions("Do it.");
    let encoded = serde_json::to_value(&signature).unwrap();
    assert_eq!(
        encoded,
        json!({
            "instructions": "Do it.",
            "inputs": [{"name": "docs", "description": "text"}, {"name": "n", "type": "int"}],
            "outputs": [{"name": "answer"}],
        })
    );
    assert_eq!(serde_json::from_value::<TaskSignature>(encoded).unwrap(), signature);
    let wrong = json!({"outputs": [{"name": "FINAL"}]});
    assert!(
        serde_json::from_value::<TaskSignature>(wrong)
            .unwrap_err()
            .to_string()
            .contains("cannot be an output")
    );
    let wrong = json!({"outputs": [{"name": "x", "type": "lst"}]});
    assert!(
        serde_json::from_value::<TaskSignature>(wrong)
            .unwrap_err()
            .to_string()
            .contains("did you mean `list`?")
    );
}

pub(super) fn any_type() -> impl Strategy<Value = FieldType> {
    let option = prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i128>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::None),
    ];
    let leaf = prop_oneof![
        prop::sample::select(vec![
            FieldType::Any,
            FieldType::None,
            FieldType::Bool,
            FieldType::Int,
            FieldType::Float,
            FieldType::Str,
            FieldType::Bytes,
            FieldType::Date,
            FieldType::Time,
            FieldType::Datetime,
            FieldType::Timedelta,
            FieldType::Decimal,
        ]),
        prop::collection::vec(option, 1..4).prop_map(FieldType::Literal),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(FieldType::List),
            boxed.clone().prop_map(FieldType::Set),
            boxed.clone().prop_map(FieldType::TupleOf),
            (boxed.clone(), boxed).prop_map(|(key, value)| FieldType::Dict(key, value)),
            prop::collection::vec(inner.clone(), 0..3).prop_map(FieldType::Tuple),
            prop::collection::btree_map(any::<String>(), (inner.clone(), any::<bool>()), 1..3)
                .prop_map(record),
            prop::collection::vec(inner, 1..4).prop_map(FieldType::Union),
        ]
    })
}

fn record(fields: std::collections::BTreeMap<String, (FieldType, bool)>) -> FieldType {
    let fields = fields.into_iter().map(|(name, (ty, required))| RecordField { name, ty, required });
    FieldType::Record(fields.collect())
}

proptest! {
    #[test]
    fn parsing_what_is_displayed_is_the_identity(
        inputs in prop::collection::btree_map("in_[a-zé0-9]{0,5}", prop::option::of(any_type()), 0..4),
        outputs in prop::collection::btree_map("out_[a-zé0-9]{0,5}", prop::option::of(any_type()), 1..4),
    ) {
        let fields = |entries: std::collections::BTreeMap<String, Option<FieldType>>| {
            entries
                .into_iter()
                .map(|(name, ty)| match ty {
                    Some(ty) => Field::new(name, ty),
                    None => Field::untyped(name),
                })
                .collect::<Vec<_>>()
        };
        let signature = TaskSignature::new(fields(inputs), fields(outputs)).unwrap();
        let text = signature.to_string();
        prop_assert_eq!(text.parse::<TaskSignature>().unwrap(), signature.clone(), "{}", text);
        let encoded = serde_json::to_string(&signature).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaskSignature>(&encoded).unwrap(), signature);
    }
}

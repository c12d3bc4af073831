//! `#[derive(Signature)]` from end to end: what the model is shown, what goes back to it, and what a program
//! gets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

extern crate abyme_core as abyme;

mod common;

use std::collections::{BTreeMap, BTreeSet};

use abyme::{
    ErrorKind, Inputs, Observation, Rlm, Signature, Status, Submission, Text, Value, Via, signature,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::{cell, said};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Find and categorise error patterns.
///
/// Search for keywords first, then ask the sub-model about each hit.
#[derive(Signature)]
#[check(adds_up, "the total is the number of solutions")]
struct FindErrors {
    /// Documentation text
    #[input]
    docs: Text,
    #[input(object)]
    rows: Vec<Row>,
    /// Error types mapped to
    /// solutions
    #[output(non_empty)]
    categories: BTreeMap<String, Vec<String>>,
    #[output(range = 0..=100)]
    #[check(is_even)]
    total: u32,
}

#[derive(Clone, Serialize, JsonSchema)]
struct Row {
    /// As printed
    name: String,
    size: u8,
}

fn adds_up(found: &FindErrorsOutput) -> Result<(), String> {
    let solutions: usize = found.categories.values().map(Vec::len).sum();
    match solutions == found.total as usize {
        true => Ok(()),
        false => Err(format!("`total` is {}, and there are {solutions} solutions", found.total)),
    }
}

fn is_even(total: &u32) -> Result<(), String> {
    if total.is_multiple_of(2) { Ok(()) } else { Err(format!("{total} is odd")) }
}

/// Submits these fields, one set in each cell.
fn interpreter(submissions: Vec<IndexMap<String, Value>>) -> ScriptedInterpreter {
    ScriptedInterpreter::from_fn(move |cell| {
        let mut observation = Observation::default();
        if let Ok(index) = cell.code.parse::<usize>() {
            observation.submission = Some(Submission::fields(Via::Submit, submissions[index].clone()));
        }
        Ok(observation)
    })
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> IndexMap<String, Value> {
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

#[tokio::test]
async fn a_derived_task_is_typed_from_end_to_end() {
    let categories = || Value::dict([("io", vec!["retry", "wait"])]);
    let submissions = vec![
        fields([("categories", Value::dict([("io", 1); 0])), ("total", 300.into())]),
        fields([("categories", categories()), ("total", 3.into())]),
        fields([("categories", categories()), ("total", 4.into())]),
        fields([("categories", categories()), ("total", "2".into())]),
    ];
    let model = ScriptedModel::replies(["0", "1", "2", "3"].map(cell));
    let rlm = Rlm::of::<FindErrors>()
        .model(model.clone())
        .interpreter(interpreter(submissions).factory())
        .build()
        .unwrap();
    let rows = vec![Row { name: "a".to_owned(), size: 1 }];
    let found = rlm.run(FindErrorsInput { docs: Text::from("?"), rows }).await.unwrap();
    assert_eq!(found.output.total, 2);
    assert_eq!(found.output.categories["io"], ["retry", "wait"]);
    assert_eq!((found.turns(), found.status()), (4, Status::Submitted));
    assert_eq!(found.outputs()["total"], Value::Int(2));

    let first = &model.requests()[0].messages;
    let shown = "- categories: dict[str, list[str]] (Error types mapped to solutions; not empty)\n\
                 - total: int (0 to 100; passes the check `is_even`)\n\
                 - all of them together: the total is the number of solutions";
    assert!(first[1].content.contains(shown), "{}", first[1].content);
    for part in [
        "Find and categorise error patterns.\n\nSearch for keywords first, then ask the sub-model",
        "docs: str, rows: list[{'name': str, 'size': int}] -> categories",
        "`docs` (str, 1 characters)\nDocumentation text",
        "`rows` (list, 1 items)\nrows[...]['name']: As printed\nWhat is a dict below is an object here",
    ] {
        assert!(first[1].content.contains(part), "{}", first[1].content);
    }
    for (turn, problems) in [
        (
            1,
            "output `categories`: expected dict[str, list[str]] (not empty), got dict {}; that is 0\noutput \
             `total`: expected int (0 to 100), got int 300",
        ),
        (2, "output `total`: 3 is odd"),
        (3, "the outputs do not fit: `total` is 4, and there are 2 solutions"),
    ] {
        assert!(said(&model, turn).contains(problems), "{}", said(&model, turn));
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Spot {
    City { name: String, people: u64 },
    Sea,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
}

/// A day, as a crate for dates would have it: text for `serde`, a format in the schema.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Day(String);

impl JsonSchema for Day {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Day".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date"})
    }
}

/// Types of all kinds.
#[derive(Signature)]
struct Kinds {
    #[output]
    pair: (String, f64),
    #[output]
    place: Vec<Spot>,
    #[output]
    level: Option<Level>,
    #[output]
    big: i128,
    #[output]
    day: Day,
    #[output]
    by_number: BTreeMap<u32, BTreeSet<bool>>,
    #[output(pattern = "^[a-z]+$", length = 2..4)]
    r#type: String,
}

#[tokio::test]
async fn every_kind_of_type_goes_there_and_back() {
    let big = Value::int_from_decimal("-99999999999999999999").unwrap();
    let place = Value::dict([("kind", Value::from("city")), ("name", "x".into()), ("people", "3".into())]);
    let sea = Value::dict([("kind", "sea")]);
    let submitted = fields([
        ("pair", Value::list([Value::from("a"), 1.into()])),
        ("place", Value::list([place, sea])),
        ("level", Value::None),
        ("big", big),
        ("day", "2024-02-29".into()),
        ("by_number", Value::dict([("7", vec![true, true])])),
        ("type", "abc".into()),
    ]);
    let wrong = |name: &str, value: Value| {
        let mut fields = submitted.clone();
        fields.insert(name.to_owned(), value);
        fields
    };
    let submissions = vec![
        wrong("day", "2023-02-29".into()),
        wrong("type", "ab1".into()),
        wrong("place", Value::list([Value::dict([("kind", Value::from("city")), ("name", "x".into())])])),
        submitted.clone(),
    ];
    let model = ScriptedModel::replies(["0", "1", "2", "3"].map(cell));
    let rlm = Rlm::of::<Kinds>()
        .model(model.clone())
        .interpreter(interpreter(submissions).factory())
        .build()
        .unwrap();
    let output = rlm.run(KindsInput {}).await.unwrap().output;
    let expected = KindsOutput {
        pair: ("a".to_owned(), 1.0),
        place: vec![Spot::City { name: "x".to_owned(), people: 3 }, Spot::Sea],
        level: None,
        big: -99_999_999_999_999_999_999,
        day: Day("2024-02-29".to_owned()),
        by_number: BTreeMap::from([(7, BTreeSet::from([true]))]),
        r#type: "abc".to_owned(),
    };
    assert_eq!(output, expected);
    assert_eq!(output.clone(), expected);
    let again = Value::from_serialize(&output).unwrap();
    assert_eq!(again.to::<KindsOutput>().unwrap(), expected);
    assert_eq!(
        rlm.signature().to_string(),
        "-> pair: tuple[str, float], place: list[{'kind': Literal['city'], 'name': str, 'people': int} | \
         {'kind': Literal['sea']}], level: Literal['low', 'high'] | None, big: int, day: date, by_number: \
         dict[int, set[bool]], type: str"
    );
    for (turn, problem) in [
        (1, "output `day`: expected date, got str '2023-02-29'"),
        (2, "output `type`: expected str (matches the pattern ^[a-z]+$), got str 'ab1'"),
        (3, "output `place`: at [0]: expected {'kind': Literal['city'], 'name': str, 'people': int}"),
    ] {
        assert!(said(&model, turn).contains(problem), "{}", said(&model, turn));
    }
}

/// A bound that names a parameter of the inputs alone is not one of the outputs.
#[derive(Signature)]
#[allow(dead_code, reason = "only its signature is looked at")]
struct Convert<A, B: From<A>> {
    #[input]
    a: A,
    #[output]
    b: B,
}

/// Which label fits.
#[derive(Signature)]
#[check(all_are_labelled, "a label for each row")]
struct Classify<L, R, const N: usize>
where
    R: JsonSchema,
{
    #[input]
    rows: Vec<R>,
    #[input]
    limits: [u8; N],
    #[output]
    label: L,
    #[output(length = 1..)]
    by_row: BTreeMap<String, L>,
}

fn all_are_labelled<L>(output: &ClassifyOutput<L>) -> Result<(), String> {
    if output.by_row.len() == 1 { Ok(()) } else { Err("one row".to_owned()) }
}

#[tokio::test]
async fn a_signature_may_have_parameters() {
    let submitted =
        |label: &str| fields([("label", Value::from(label)), ("by_row", Value::dict([("a", label)]))]);
    let model = ScriptedModel::replies(["0", "1"].map(cell));
    let rlm = Rlm::of::<Classify<Level, Row, 1>>()
        .model(model.clone())
        .interpreter(interpreter(vec![submitted("middle"), submitted("high")]).factory())
        .build()
        .unwrap();
    let rows = vec![Row { name: "a".to_owned(), size: 1 }];
    let output = rlm.run(ClassifyInput { rows, limits: [7] }).await.unwrap().output;
    assert_eq!(
        output,
        ClassifyOutput { label: Level::High, by_row: BTreeMap::from([("a".to_owned(), Level::High)]) }
    );
    assert_eq!(
        rlm.signature().to_string(),
        "rows: list[{'name': str, 'size': int}], limits -> label: Literal['low', 'high'], by_row: dict[str, \
         Literal['low', 'high']]"
    );
    assert!(said(&model, 1).contains("expected Literal['low', 'high'], got str 'middle'"));
    // Nothing says that `A` has a schema.
    assert_eq!(<Convert<u8, i64> as Signature>::signature().unwrap().to_string(), "a -> b: int");
}

#[derive(Signature)]
struct Unserializable {
    #[input]
    map: BTreeMap<Option<u8>, u8>,
    #[output]
    total: u32,
}

#[tokio::test]
async fn an_input_that_is_no_value_ends_the_run_before_it_starts() {
    let model = ScriptedModel::replies([cell("0")]);
    let rlm = Rlm::of::<Unserializable>()
        .model(model.clone())
        .interpreter(interpreter(Vec::new()).factory())
        .build()
        .unwrap();
    let error = rlm.run(UnserializableInput { map: BTreeMap::from([(None, 1)]) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.message(), "input `map`: NoneType cannot be a dict's key");
    assert!(model.requests().is_empty());
}

#[derive(Signature)]
struct Misfit {
    #[output(range = 0..=1)]
    name: String,
}

#[test]
fn a_limit_that_a_type_does_not_have_is_an_error_of_the_build() {
    let error = Rlm::of::<Misfit>().build().unwrap_err();
    let message = "output `name`: `0 to 1` can be asked of an int or float, not of str";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Signature, message));
}

#[test]
fn long_texts_are_not_copied() {
    let docs = Text::from("x".repeat(1 << 16));
    let inputs = Inputs::try_from(FindErrorsInput { docs: docs.clone(), rows: Vec::new() }).unwrap();
    let Some(Value::Text(text)) = inputs.get("docs") else { unreachable!("{inputs:?}") };
    assert_eq!(text.as_ptr(), docs.as_ptr());
}

#[test]
fn a_checked_text_is_a_signature() {
    let model = ScriptedModel::replies([cell("0")]);
    let text = signature!("docs, limits: dict[str, Literal['a', 1]] -> tags: list[str] | None, answer");
    let rlm = Rlm::builder(text).model(model).interpreter(interpreter(Vec::new()).factory()).build().unwrap();
    assert_eq!(rlm.signature().outputs().len(), 2);
}

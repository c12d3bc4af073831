//! Outputs of Rust types: what the model is shown, and what goes back to it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use abyme_core::{
    Field, FieldType, Inputs, Observation, Result, Rlm, Signature, Status, Submission, TaskSignature, Value,
    Via, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::{cell, said};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
struct Module {
    /// As `import` takes it
    name: String,
    lines: u8,
}

/// Submits these values of `modules`, one in each cell.
fn interpreter(values: Vec<Value>) -> ScriptedInterpreter {
    ScriptedInterpreter::from_fn(move |cell| {
        let mut observation = Observation::default();
        if let Ok(index) = cell.code.parse::<usize>() {
            let fields = IndexMap::from([("modules".to_owned(), values[index].clone())]);
            observation.submission = Some(Submission::fields(Via::Submit, fields));
        }
        Ok(observation)
    })
}

fn module(name: &str, lines: impl Into<Value>) -> Value {
    Value::dict([("name", Value::from(name)), ("lines", lines.into())])
}

#[tokio::test]
async fn a_nested_output_that_does_not_fit_goes_back_to_the_model() {
    let values = vec![
        Value::list([module("a", 1), Value::dict([("name", "b")])]),
        Value::list([module("a", 1), module("b", 300)]),
        Value::list([module("a", "1"), module("b", 255)]),
    ];
    let model = ScriptedModel::replies([cell("0"), cell("1"), cell("2")]);
    let rlm = Rlm::builder("docs -> modules")
        .output::<Vec<Module>>("modules")
        .describe("modules", "All of them")
        .model(model.clone())
        .interpreter(interpreter(values).factory())
        .build()
        .unwrap();
    let run = rlm.run(inputs! { docs: "?" }).await.unwrap();
    assert_eq!(run.status(), Status::Submitted);
    let wanted = |name: &str, lines| Module { name: name.to_owned(), lines };
    assert_eq!(run.get::<Vec<Module>>("modules").unwrap(), [wanted("a", 1), wanted("b", 255)]);

    let task = &model.requests()[0].messages[1].content;
    let shown = "- modules: list[{'name': str, 'lines': int}] (All of them; modules[...]['name']: As \
                 `import` takes it)";
    assert!(task.contains(shown), "{task}");
    let missing = "output `modules`: at [1]: expected {'name': str, 'lines': int}, got dict {'name': 'b'}; \
                   the key 'lines' is missing";
    assert!(said(&model, 1).contains(missing), "{}", said(&model, 1));
    let too_large = r#"output `modules`: at [1]["lines"]: expected int (0 to 255), got int 300"#;
    assert!(said(&model, 2).contains(too_large), "{}", said(&model, 2));

    let json = serde_json::to_value(&run).unwrap();
    let outputs = serde_json::json!({"modules": [{"name": "a", "lines": 1}, {"name": "b", "lines": 255}]});
    assert_eq!(
        (&json["status"], &json["outputs"], &json["turns"]),
        (&"submitted".into(), &outputs, &3.into())
    );
    assert!(json["usage"].is_object(), "{json}");

    // The record has the shape too.
    let text = run.trajectory().to_jsonl();
    assert!(text.contains("list[{'name': str, 'lines': int}]"), "{text}");
}

#[derive(Debug, Deserialize)]
struct Output {
    modules: Vec<Module>,
}

impl Signature for Output {
    type Inputs = Inputs;
    type Outputs = Self;

    fn signature() -> Result<TaskSignature> {
        "docs -> modules: list[dict]".parse()
    }
}

#[tokio::test]
async fn the_outputs_of_a_signature_are_checked_as_a_whole() {
    let values = vec![Value::list([module("a", Value::None)]), Value::list([module("a", 1)])];
    let model = ScriptedModel::replies([cell("0"), cell("1")]);
    let rlm =
        Rlm::of::<Output>().model(model.clone()).interpreter(interpreter(values).factory()).build().unwrap();
    let run = rlm.run(inputs! { docs: "?" }).await.unwrap();
    assert_eq!(run.output.modules, [Module { name: "a".to_owned(), lines: 1 }]);
    let problem = r#"the outputs do not fit: at ["modules"][0]["lines"]: expected u8, got None"#;
    assert!(said(&model, 1).contains(problem), "{}", said(&model, 1));
}

#[tokio::test]
async fn an_extract_call_is_held_to_the_same_type() {
    let replies =
        [r#"{"modules": [{"name": "a", "lines": 300}]}"#, r#"{"modules": [{"name": "a", "lines": 3}]}"#];
    let model = ScriptedModel::replies(std::iter::once(cell("x")).chain(replies.map(str::to_owned)));
    let rlm = Rlm::builder("docs -> modules")
        .output::<Vec<Module>>("modules")
        .model(model.clone())
        .interpreter(interpreter(Vec::new()).factory())
        .limits(|limits| limits.max_iterations(1))
        .build()
        .unwrap();
    let run = rlm.run(inputs! { docs: "?" }).await.unwrap();
    assert_eq!(run.get::<Vec<Module>>("modules").unwrap()[0].lines, 3);
    assert!(said(&model, 2).contains("expected int (0 to 255), got int 300"), "{}", said(&model, 2));
}

#[test]
fn an_output_of_another_name_is_a_mistake_of_the_builder() {
    let error = Rlm::builder("docs -> modules").output::<Vec<Module>>("module").build().unwrap_err();
    assert_eq!(
        error.message(),
        "no output is called `module` (did you mean `modules`?); the signature is `docs -> modules`"
    );
}

/// On a runtime of one thread, a check that waited on the run's task would wait for ever for this program.
#[tokio::test]
async fn a_check_that_takes_its_time_holds_nothing_up() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let check = move |_: &String| -> std::result::Result<(), String> {
        let waited = wait.lock().unwrap().recv_timeout(std::time::Duration::from_secs(20));
        waited.map_err(|_| "nobody went on meanwhile".to_owned())
    };
    let answer = Field::new("answer", FieldType::Str).check("anything", check);
    let task = TaskSignature::new(vec![Field::new("docs", FieldType::Str)], vec![answer]).unwrap();
    let model = ScriptedModel::replies([cell("submit answer=42")]);
    let rlm = Rlm::builder(task).model(model).interpreter(common::interpreter().factory()).build().unwrap();
    let sent = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        go.send(()).unwrap();
    });
    let run = rlm.run(inputs! { docs: "?" }).await.unwrap();
    assert_eq!((run.status(), run.outputs()["answer"].as_text()), (Status::Submitted, Some("42")));
    sent.await.unwrap();
}

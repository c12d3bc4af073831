//! Tools: which functions can be one, what the model reads of them, and where they run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    fmt,
    sync::{Arc, Barrier},
};

use abyme_core::{
    ErrorKind, Event, HostCall, HostError, ParameterKind, ParameterSpec, Rlm, RlmBuilder, Serialized, Tool,
    Trajectory, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::cell;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Args {
    text: String,
}

/// The builder of a run whose one cell makes these calls.
fn builder(calls: Vec<HostCall>) -> (RlmBuilder, ScriptedModel) {
    let interpreter = ScriptedInterpreter::calling(move |cell| match cell.code.as_str() {
        "call" => calls.clone(),
        _ => Vec::new(),
    });
    let model = ScriptedModel::replies([cell("call"), "as text".into(), "as text".into()]);
    (Rlm::builder("q -> a").model(model.clone()).interpreter(interpreter.factory()), model)
}

/// Calls each tool once, with a `text` if it takes one, and gives what comes of it.
async fn called(tools: Vec<Tool>) -> Vec<String> {
    let call = |tool: &Tool| match tool.spec().parameters.is_empty() {
        true => HostCall::new(tool.name()),
        false => HostCall::new(tool.name()).argument("text", "abc"),
    };
    let calls = tools.iter().map(call).collect();
    let run = builder(calls).0.tools(tools).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap();
    value.to_string().lines().map(str::to_owned).collect()
}

/// An error of the kind that `anyhow` has: it can be shown, and is no `std::error::Error`.
struct Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if f.alternate() { "no file: disk on fire" } else { "no file" })
    }
}

#[derive(Serialize)]
struct Size {
    width: u32,
}

fn shout(Args { text }: Args) -> String {
    text.to_uppercase()
}

async fn whisper(Args { text }: Args) -> Result<String, HostError> {
    Ok(text.to_lowercase())
}

#[tokio::test]
async fn any_function_of_named_arguments_can_be_a_tool() {
    let tools = vec![
        Tool::new("plain", "", shout),
        Tool::new("later", "", whisper),
        Tool::new("closure", "", |args: Args| args.text.len()),
        Tool::new("block", "", |args: Args| async move { Some(args.text.len()) }),
        Tool::new("nothing", "", || ()),
        Tool::new("unit", "", |(): ()| async { vec![1, 2] }),
        Tool::new("no_arguments", "", || async { Ok::<_, HostError>(Value::from(3)) }),
        Tool::new("shape", "", || Serialized(Size { width: 4 })),
        Tool::new("fallible_shape", "", |_: Args| Ok::<_, String>(Size { width: 5 })),
        Tool::new("text_error", "", |_: Args| Err::<(), _>("as a text".to_owned())),
        Tool::new("boxed", "", |_: Args| async {
            Err::<(), Box<dyn std::error::Error + Send + Sync>>("in a box".into())
        }),
        Tool::new("report", "", |_: Args| Err::<(), _>(Report)),
        Tool::new("io", "", || Err::<(), _>(std::io::Error::other("of the disk"))),
        Tool::new("named", "", |_: Args| Err::<(), _>(HostError::new("KeyError", "abc"))),
        Tool::new("panics", "", |_: Args| -> u32 { panic!("at the disco") }),
    ];
    assert_eq!(
        called(tools).await,
        [
            "'ABC'",
            "'abc'",
            "3",
            "3",
            "None",
            "[1, 2]",
            "3",
            "{'width': 4}",
            "{'width': 5}",
            "RuntimeError: as a text",
            "RuntimeError: in a box",
            "RuntimeError: no file: disk on fire",
            "RuntimeError: of the disk",
            "KeyError: abc",
            "RuntimeError: tool `panics` panicked: at the disco",
        ]
    );
}

#[test]
fn a_tool_without_names_for_its_arguments_is_refused_when_building() {
    for (tool, ty) in [
        (Tool::new("f", "", |text: String| text), "str"),
        (Tool::new("f", "", |texts: Vec<String>| async { texts }), "list[str]"),
        (Tool::new("f", "", |pair: (u8, u8)| pair), "tuple[int, int]"),
        (Tool::new("f", "", |any: serde_json::Value| any), "Any"),
        (Tool::new("f", "", |args: Option<Vec<u8>>| args), "list[int] | None"),
    ] {
        let error = builder(Vec::new()).0.tool(tool).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let start =
            format!("tool `f`: its argument is of type {ty}, which has no names for parameters: take a");
        assert!(error.message().starts_with(&start), "{error}");
    }
}

/// Each of the calls waits for all others, so none of them returns if one holds up the rest.
#[tokio::test]
async fn a_function_that_blocks_does_not_hold_up_the_other_calls() {
    let calls = 8;
    let barrier = Arc::new(Barrier::new(calls));
    let tool = Tool::new("wait", "", move || barrier.wait().is_leader());
    let (builder, _) = builder(vec![HostCall::new("wait"); calls]);
    let run = builder.tool(tool).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
    assert_eq!(value.matches("True").count(), 1, "{value}");
    assert_eq!(value.matches("False").count(), calls - 1, "{value}");
}

#[derive(Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// As fast as it can
    #[default]
    Fast,
    Slow,
}

#[derive(Deserialize, JsonSchema)]
struct Address {
    /// Street and number
    street: String,
}

#[derive(Deserialize, JsonSchema)]
struct Go {
    #[serde(default)]
    mode: Mode,
    /// Where to
    address: Address,
    #[serde(default = "five")]
    most: Option<u32>,
    note: Option<String>,
}

fn five() -> Option<u32> {
    Some(5)
}

#[tokio::test]
async fn the_model_reads_what_arguments_mean() {
    let tool = Tool::new("go", "Goes somewhere.", |go: Go| {
        format!("{}, {}, {:?}, {:?}", go.address.street, go.mode as u8, go.most, go.note)
    })
    .returns("str");
    let call = |most: Value| {
        let address = Value::dict([("street", "Main St 1")]);
        HostCall::new("go")
            .argument("mode", "slow")
            .argument("address", address)
            .argument("most", most)
            .argument("note", Value::None)
    };
    let wrong =
        HostCall::new("go").argument("mode", "slow").argument("address", Value::dict([("street", 1)]));
    let (builder, model) = builder(vec![call(Value::None), call(7.into()), wrong]);
    let run = builder.tool(tool).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let task = &model.requests()[0].messages[1].content;
    let shown = "\nTools for this task:\n- `go(address: {'street': str}, mode: Literal['slow', 'fast'] = \
                 'fast', most: int | None = 5, note: str | None = None) -> str`\n  Goes somewhere.\n  \n  \
                 Args:\n      mode = 'fast': As fast as it can\n      address: Where to\n      \
                 address['street']: Street and number\n";
    assert!(task.contains(shown), "{task}");
    let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
    assert_eq!(
        value.lines().collect::<Vec<_>>(),
        [
            "'Main St 1, 1, None, None'",
            "'Main St 1, 1, Some(7), None'",
            r#"TypeError: at ["address"]["street"]: expected a string, got int 1"#,
        ],
        "a given None is not the default"
    );
}

/// Python's own signature of a tool checks the same before. These calls come without it, as forged ones do.
#[tokio::test]
async fn the_host_checks_the_arguments_of_every_call() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 1}, "tags": {"type": "array"}},
        "required": ["count"],
    });
    let by_schema =
        Tool::from_schema("by_schema", "", &schema, |arguments| async move { Ok(Value::Dict(arguments)) });
    let any = vec![
        ParameterSpec::new("args").kind(ParameterKind::VarPositional),
        ParameterSpec::new("kwargs").kind(ParameterKind::VarKeyword),
    ];
    let tools = vec![
        Tool::new("shout", "", shout),
        Tool::new("nothing", "", || ()),
        by_schema.unwrap(),
        Tool::from_parts("anything", "", any, |arguments| async move { Ok(Value::Dict(arguments)) }),
    ];
    let with_args = |name: &str, args: &[&str]| {
        let mut call = HostCall::new(name);
        call.args = args.iter().map(|&text| text.into()).collect();
        call
    };
    let calls = vec![
        HostCall::new("shout").argument("text", "a").argument("\u{1b}[2J", "b"),
        HostCall::new("shout"),
        with_args("shout", &["a"]),
        HostCall::new("nothing").argument("text", "a"),
        HostCall::new("by_schema").argument("count", "7").argument("tags", Value::None),
        HostCall::new("by_schema").argument("count", 2),
        HostCall::new("by_schema").argument("count", 0),
        HostCall::new("by_schema").argument("count", Value::dict([("deep", 1)])),
        HostCall::new("by_schema").argument("count", 1).argument("tags", "none"),
        with_args("anything", &["a", "b"]).argument("c", 1),
    ];
    let run = builder(calls).0.tools(tools).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
    assert_eq!(
        value.lines().collect::<Vec<_>>(),
        [
            r"TypeError: shout() got an unexpected keyword argument `\u{1b}[2J`",
            "TypeError: shout() misses the argument `text`",
            "TypeError: shout() takes its arguments by name, and got 1 without one",
            "TypeError: nothing() got an unexpected keyword argument `text`",
            "{'count': 7, 'tags': None}",
            "{'count': 2, 'tags': None}",
            "TypeError: at count: expected int (at least 1), got int 0",
            "TypeError: at count: expected int, got dict {'deep': 1}",
            "TypeError: at tags: expected list | None, got str 'none'",
            "{'c': 1, 'args': ['a', 'b']}",
        ]
    );
    let called = run.trajectory().events().filter(|event| matches!(event, Event::ToolCallStarted { .. }));
    assert_eq!(called.count(), 6, "what does not fit its tool is not a call of it");
}

#[tokio::test]
async fn what_a_record_could_not_be_read_with_stays_out_of_a_run() {
    // Each is three levels of JSON.
    fn nested(dicts: usize) -> Value {
        (0..dicts).fold(Value::None, |inner, _| Value::dict([("$", inner)]))
    }
    let most = Value::MAX_LEVELS / 3;
    let tools =
        vec![Tool::new("fits", "", move || nested(most)), Tool::new("deep", "", move || nested(most + 1))];
    let calls = vec![HostCall::new("fits"), HostCall::new("deep")];
    let rlm = builder(calls).0.tools(tools).build().unwrap();
    let error = rlm.run(inputs! { q: nested(most + 1) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("input `q` is nested more than 100 levels deep"), "{error}");
    let run = rlm.run(inputs! { q: nested(most) }).await.unwrap();
    let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap();
    assert!(value.to_string().contains("what `deep` returned is nested more than 100 levels"), "{value}");
    let read = Trajectory::from_jsonl(&run.trajectory().to_jsonl()).unwrap();
    assert_eq!(read.records().count(), run.trajectory().records().count());
}

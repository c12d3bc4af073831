//! `#[tool]` and `#[tools]`: what the model reads of the functions, and what calls of them do.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

extern crate abyme_core as abyme;

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use abyme::{
    Effect, FnTool, HostCall, HostError, Rlm, Text, Tool, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
    tool, tools,
};
use common::cell;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Finds the lines of a text that hold a needle.
///
/// Looks at each line once.
#[tool]
fn grep(
    /// Text to search
    text: &str,
    #[arg(default = "a")] needle: &str,
    /// Lines to give
    /// at most
    #[arg(default = 20)]
    limit: usize,
    skip: Option<usize>,
) -> Vec<String> {
    let found = text.lines().filter(|line| line.contains(needle));
    found.skip(skip.unwrap_or(0)).take(limit).map(str::to_owned).collect()
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Up,
    /// The largest first
    Down,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Range {
    /// The first
    from: i64,
    to: i64,
}

#[derive(Serialize, JsonSchema)]
struct Page {
    /// In order
    numbers: Vec<i64>,
    more: bool,
}

#[derive(Serialize)]
struct NoSchema {
    x: u8,
}

/// Numbers of a range.
#[tool(name = "numbers", timeout = "1.5s", max_calls = 3, max_concurrent_calls = 2, effects(write, read))]
async fn numbers_in(
    ranges: Vec<Range>,
    #[arg(default)] order: Order,
    #[arg(name = "most", description = "Numbers to give at most")] r#type: Option<u32>,
) -> Result<Page, HostError> {
    let mut numbers: Vec<i64> = ranges.iter().flat_map(|range| range.from..range.to).collect();
    if matches!(order, Order::Down) {
        numbers.reverse();
    }
    let most = r#type.map_or(usize::MAX, |most| most as usize);
    if numbers.is_empty() {
        return Err(HostError::new("LookupError", "no number"));
    }
    let more = numbers.len() > most;
    numbers.truncate(most);
    tokio::task::yield_now().await;
    Ok(Page { numbers, more })
}

#[tool(description = "Says how long it is.", returns = "float")]
async fn length(text: &Text, rest: &[Value]) -> usize {
    text.chars_len() + rest.len()
}

#[tool]
fn plain() -> NoSchema {
    NoSchema { x: 1 }
}

#[tool]
fn fails(map: BTreeMap<String, u8>) -> Result<(), String> {
    Err(format!("{} of no use", map.len()))
}

#[tool]
fn nothing() {}

async fn called(tool: impl Into<Tool>, arguments: &[(&str, Value)]) -> Result<Value, HostError> {
    let arguments: IndexMap<_, _> =
        arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    tool.into().call(arguments).await
}

#[test]
fn the_model_reads_the_functions_parameters_and_doc_comments() {
    let shown = |tool: Tool| format!("{}\n{}", tool.spec(), tool.spec().description);
    let grep_docs = "Finds the lines of a text that hold a needle.\n\nLooks at each line once.\n\nArgs:\n    \
                     text: Text to search\n    limit: Lines to give at most";
    assert_eq!(
        shown(grep.tool()),
        format!(
            "grep(text: str, needle: str = 'a', limit: int = 20, skip: int | None = None) -> list[str]\n\
             {grep_docs}"
        )
    );
    assert_eq!(
        shown(numbers_in.tool()),
        "numbers(ranges: list[{'from': int, 'to': int}], order: Literal['up', 'down'] = 'up', most: int | \
         None = None) -> {'numbers': list[int], 'more': bool}\nNumbers of a range.\n\nArgs:\n    \
         ranges[...]['from']: The first\n    order = 'down': The largest first\n    most: Numbers to give \
         at most\n\nReturns:\n    result['numbers']: In order\n\nMay be called 3 times. At most 2 calls run \
         at the same time; others wait. Raises TimeoutError when a call takes more than 1.5 s."
    );
    assert_eq!(shown(length.tool()), "length(text: str, rest: list) -> float\nSays how long it is.");
    assert_eq!(shown(plain.tool()), "plain()\n");
    assert_eq!(shown(fails.tool()), "fails(map: dict[str, int]) -> None\n");
    assert_eq!(shown(nothing.tool()), "nothing() -> None\n");
}

#[tokio::test]
async fn calls_bring_typed_arguments_and_results() {
    let text = || ("text", Value::from("a1\nb\na2\na3"));
    let found = called(grep, &[text(), ("limit", 1.into()), ("skip", 1.into())]).await.unwrap();
    assert_eq!(found.repr(99), "['a2']");
    let found = called(grep, &[text(), ("needle", "b".into()), ("skip", Value::None)]).await.unwrap();
    assert_eq!(found.repr(99), "['b']");
    let range = || Value::dict([("from", 1), ("to", 4)]);
    let arguments = [("ranges", Value::List(vec![range()])), ("order", "down".into()), ("most", 2.into())];
    let page = called(numbers_in, &arguments).await.unwrap();
    assert_eq!(page.repr(99), "{'numbers': [3, 2], 'more': True}");
    let arguments = [("text", Value::from("äb")), ("rest", Value::List(vec![Value::None]))];
    assert_eq!(called(length, &arguments).await.unwrap(), Value::from(3));
    assert_eq!(called(plain, &[]).await.unwrap().repr(99), "{'x': 1}");
    assert_eq!(called(nothing, &[]).await.unwrap(), Value::None);
}

#[tokio::test]
async fn what_does_not_fit_and_what_fails_raises() {
    let bad = Value::List(vec![Value::dict([("from", Value::from(1)), ("to", "x".into())])]);
    let cases = [
        (
            called(numbers_in, &[("ranges", bad)]).await,
            r#"TypeError: at ranges[0]["to"]: expected i64, got str 'x'"#,
        ),
        (called(numbers_in, &[("ranges", Value::List(vec![]))]).await, "LookupError: no number"),
        (called(grep, &[]).await, "TypeError: at text: expected a string, got None"),
        (called(fails, &[("map", Value::dict([("a", 1)]))]).await, "RuntimeError: 1 of no use"),
    ];
    for (result, expected) in cases {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn an_annotated_function_can_be_called_as_before() {
    assert_eq!(grep("a\nb", "b", 3, None), ["b"]);
    let text = Text::from("abc");
    assert_eq!(length(&text, &[]).await, 3);
    let again: FnTool<fn()> = nothing;
    again();
}

#[derive(Default)]
struct Shop {
    sold: Mutex<Vec<String>>,
}

#[tools]
impl Shop {
    /// Sells a thing.
    #[tool]
    fn sell(&self, thing: String) -> usize {
        let mut sold = self.sold.lock().unwrap();
        sold.push(thing);
        sold.len()
    }

    /// What was sold, joined.
    #[tool(name = "joined", max_calls = 1)]
    async fn sold(&self, #[arg(default = ", ")] between: &str) -> String {
        self.joined(between)
    }

    #[tool]
    fn version() -> &'static str {
        "2"
    }

    fn joined(&self, between: &str) -> String {
        self.sold.lock().unwrap().join(between)
    }
}

#[tokio::test]
async fn methods_share_their_state() {
    let shop = Arc::new(Shop::default());
    let [sell, sold, version] = shop.tools().try_into().unwrap();
    assert_eq!(sell.spec().to_string(), "sell(thing: str) -> int");
    assert_eq!(sold.spec().to_string(), "joined(between: str = ', ') -> str");
    assert_eq!(sold.spec().description, "What was sold, joined.\n\nMay be called once.");
    assert_eq!(called(sell.clone(), &[("thing", "a pen".into())]).await.unwrap(), Value::from(1));
    assert_eq!(shop.sell("a cup".to_owned()), 2);
    assert_eq!(called(sold, &[]).await.unwrap(), Value::from("a pen, a cup"));
    assert_eq!(called(version, &[]).await.unwrap(), Value::from("2"));
}

/// Two runs with one `Rlm`: each counts its own calls.
#[tokio::test]
async fn limits_are_those_of_one_run() {
    let interpreter = ScriptedInterpreter::calling(|cell| match cell.code.as_str() {
        "call" => vec![HostCall::new("joined"); 3],
        _ => Vec::new(),
    });
    let text = || "as text".to_owned();
    let model = ScriptedModel::replies([cell("call"), text(), text(), cell("call"), text(), text()]);
    let shop = Arc::new(Shop::default());
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter.factory()).tools(shop.tools());
    let rlm = rlm.build().unwrap();
    for _ in 0..2 {
        let run = rlm.run(inputs! { q: "?" }).await.unwrap();
        let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
        let refused =
            "RuntimeError: call limit of `joined`: 0 of 1 calls left. Go on with what it returned before.";
        assert_eq!(value.lines().collect::<Vec<_>>(), ["''", refused, refused]);
    }
}

/// Each call takes two thirds of its time-out, and all but the first wait longer than it.
#[tokio::test(start_paused = true)]
async fn waiting_for_others_is_not_the_tools_time() {
    let at_work = Arc::new(AtomicUsize::new(0));
    let function = move || {
        let at_work = at_work.clone();
        async move {
            let others = at_work.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(2)).await;
            at_work.fetch_sub(1, Ordering::Relaxed);
            others
        }
    };
    let tool = Tool::new("slow", "", function).timeout(Duration::from_secs(3)).max_concurrent_calls(2);
    let late = Tool::new("late", "", || tokio::time::sleep(Duration::from_secs(4)));
    let late = late.timeout(Duration::from_secs(3));
    let interpreter = ScriptedInterpreter::calling(|cell| match cell.code.as_str() {
        "call" => {
            let mut calls = vec![HostCall::new("slow"); 6];
            calls.push(HostCall::new("late"));
            calls
        }
        _ => Vec::new(),
    });
    let model = ScriptedModel::replies([cell("call"), "as text".into(), "as text".into()]);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter.factory()).tools([tool, late]);
    let run = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let value = run.trajectory().turns()[0].observation.clone().unwrap().value.unwrap().to_string();
    let lines: Vec<_> = value.lines().collect();
    assert_eq!(lines[6], "TimeoutError: `late` took more than 3 s");
    assert!(lines[..6].iter().all(|line| ["0", "1"].contains(line)), "{value}");
}

#[test]
fn limits_under_which_no_call_could_work_are_refused_when_building() {
    let refused = |tool: Tool| {
        let (model, interpreter) = (ScriptedModel::replies(["x"]), ScriptedInterpreter::calling(|_| vec![]));
        let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter.factory()).tool(tool);
        rlm.build().unwrap_err().to_string()
    };
    assert!(refused(nothing.tool().max_calls(0)).contains("tool `nothing`: `max_calls` is 0"));
    assert!(nothing.tool().effects().is_empty());
    assert_eq!(numbers_in.tool().effects(), [Effect::Read, Effect::Write]);
    assert!(refused(nothing.tool().max_concurrent_calls(0)).contains("`max_concurrent_calls` is 0"));
    assert!(refused(nothing.tool().timeout(Duration::ZERO)).contains("its time-out is 0"));
}

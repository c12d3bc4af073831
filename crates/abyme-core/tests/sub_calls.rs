//! Sub-calls with options: typed replies, prompts that are asked once for all, limits, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use abyme_core::{
    Error, ErrorKind, Event, HostCall, LanguageModel, LanguageModelExt, Prediction, Request, Response,
    Result, Rlm, RlmBuilder, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::{cell, said, transcript};

fn query(prompt: &str) -> HostCall {
    HostCall::new("llm_query").argument("prompt", prompt)
}

fn batch(prompts: &[&str]) -> HostCall {
    HostCall::new("llm_query_batched").argument("prompts", Value::list(prompts.iter().copied()))
}

/// Answers by what the prompt begins with: the rest of `say` is the reply, `fail` fails, `count` counts.
fn model() -> ScriptedModel {
    let sub = ScriptedModel::from_fn(|request: &Request| {
        let prompt = request.messages[0].content.as_str();
        let is_repair = request.messages.len() > 1;
        let line = prompt.lines().next().unwrap_or_default();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("say", rest) => Ok(rest.into()),
            ("mend", rest) if is_repair => Ok(rest.into()),
            ("mend", _) => Ok("I would rather not.".into()),
            ("long", _) => Err(Error::new(ErrorKind::ContextTooLong, "at most 10 tokens")),
            _ => Err(Error::new(ErrorKind::ContentRefused, "the model refused")),
        }
    });
    sub.with_name("small")
}

/// Runs one cell that makes these calls, on the sub-model `sub`: what came of them, and what the root read.
async fn calls(
    calls: Vec<HostCall>,
    sub: impl LanguageModel + 'static,
    change: impl FnOnce(RlmBuilder) -> RlmBuilder,
) -> (Vec<String>, Prediction, String) {
    let interpreter = ScriptedInterpreter::calling(move |cell| match cell.code.as_str() {
        "call" => calls.clone(),
        _ => Vec::new(),
    });
    let root = ScriptedModel::replies([cell("call"), "as text".into(), "as text".into()]);
    let builder =
        Rlm::builder("q -> a").model(root.clone()).sub_model(sub).interpreter(interpreter.factory());
    let prediction = change(builder).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let turns = prediction.trajectory().turns();
    let value = turns[0].observation.clone().unwrap().value.unwrap().to_string();
    (value.lines().map(str::to_owned).collect(), prediction, said(&root, 1))
}

/// `(call, repairs)` of the calls that were made.
fn made(prediction: &Prediction) -> Vec<(u32, Option<u32>)> {
    let events = prediction.trajectory().events();
    let made = events.filter_map(|event| match event {
        Event::SubCallStarted { call, repairs, .. } => Some((*call, *repairs)),
        _ => None,
    });
    made.collect()
}

/// `(call, the call that answered it)` of the calls that another one answered.
fn shared(prediction: &Prediction) -> Vec<(u32, u32)> {
    let events = prediction.trajectory().events();
    let shared = events.filter_map(|event| match event {
        Event::SubCallFinished { call, answered_by: Some(by), .. } => Some((*call, by.call)),
        _ => None,
    });
    shared.collect()
}

#[tokio::test]
async fn a_typed_reply_is_a_value() {
    let types = Value::dict([("names", "list[str]"), ("total", "int | None")]);
    let typed = query("say So: {'names': ['a'], 'total': None}").argument("schema", types);
    let number = query("say **41**.").argument("schema", "int");
    let sub = model();
    let (results, ..) = calls(vec![typed, number], sub.clone(), |rlm| rlm).await;
    assert_eq!(results, ["{'names': ['a'], 'total': None}", "41"]);
    let request = &sub.requests()[0];
    insta::assert_snapshot!(transcript(request), @r"
    === user ===
    say So: {'names': ['a'], 'total': None}

    Reply with one JSON value and nothing else, of this type (in Python's notation):
    {'names': list[str], 'total': int | None}
    ");
    assert_eq!(request.schema.as_ref().unwrap()["required"], serde_json::json!(["names", "total"]));
}

#[tokio::test]
async fn what_a_json_schema_says_is_told_checked_and_sent() {
    let schema = r#"{"type": "integer", "minimum": 1, "description": "How many"}"#;
    let schema = Value::parse_json(schema).unwrap();
    let all =
        vec![query("say 3").argument("schema", schema.clone()), query("say 0").argument("schema", schema)];
    let sub = model();
    let (results, ..) = calls(all, sub.clone(), |rlm| rlm).await;
    assert_eq!(results[0], "3");
    assert!(results[1].contains("corrected or not: expected int (at least 1), got int 0"), "{}", results[1]);
    assert!(said(&sub, 0).ends_with("notation):\nint\n- reply: How many; at least 1"), "{}", said(&sub, 0));
    assert_eq!(sub.requests()[0].schema, Some(serde_json::json!({"type": "integer", "minimum": 1})));
}

#[tokio::test]
async fn a_reply_that_does_not_fit_is_corrected_once() {
    let mended = query("mend [1, 2]").argument("schema", "list[int]");
    let (results, prediction, _) = calls(vec![mended.clone()], model(), |rlm| rlm).await;
    assert_eq!(results, ["[1, 2]"]);
    assert_eq!(made(&prediction), [(1, None), (2, Some(1))]);
    let sub = model();
    let lost = query("mend [1, 'x']").argument("schema", "list[int]");
    let (results, ..) = calls(vec![lost], sub.clone(), |rlm| rlm).await;
    assert_eq!(
        results,
        ["ValueError: the reply does not fit the schema, corrected or not: at [1]: expected int, got str \
             'x'; \
          it begins \"[1, 'x']\""]
    );
    insta::assert_snapshot!(transcript(&sub.requests()[1]), @r"
    === user ===
    mend [1, 'x']

    Reply with one JSON value and nothing else, of this type (in Python's notation):
    list[int]

    === assistant ===
    I would rather not.

    === user ===
    That reply cannot be used: the reply holds no value of the type list[int]
    Reply again, with nothing but one JSON value of the type that was asked for.
    ");
    let (results, prediction, _) =
        calls(vec![mended], model(), |rlm| rlm.limits(|limits| limits.max_llm_calls(1))).await;
    assert!(results[0].contains("no sub-call is left to have it corrected: the reply holds no value"));
    assert_eq!(made(&prediction).len(), 1);
}

#[tokio::test]
async fn the_failed_places_of_a_typed_batch_hold_none_and_the_model_reads_why() {
    let prompts = ["say [1]", "fail a", "", "fail b"];
    let typed = batch(&prompts).argument("schema", "list[int]");
    let (results, _, read) = calls(vec![typed.clone()], model(), |rlm| rlm).await;
    assert_eq!(results, ["[[1], None, None, None]"]);
    let note = "(llm_query_batched: 3 of 4 prompts failed and gave None: \
                prompts[1], [3]: the model refused; prompts[2]: the prompt is empty)";
    assert!(read.contains(note), "{read}");
    let raising = typed.argument("on_error", "raise");
    let empty = batch(&["", "say x"]).argument("on_error", "raise");
    let (results, ..) = calls(vec![raising, empty], model(), |rlm| rlm).await;
    assert!(
        results[0].starts_with(
            "RuntimeError: 3 of 4 prompts failed, 1 worked: prompts[1], [3]: the model refused; prompts[2]: "
        ),
        "{}",
        results[0]
    );
    assert!(results[1].starts_with("ValueError: 1 of 2 prompts failed, 1 worked"), "{}", results[1]);
}

#[tokio::test]
async fn identical_prompts_in_flight_go_out_once() {
    let sub = model();
    let all = vec![batch(&["say a", "say b", "say a", "say a"]), query("say b")];
    let (results, prediction, read) =
        calls(all, sub.clone(), |rlm| rlm.limits(|limits| limits.max_llm_calls(10))).await;
    assert_eq!(results, ["['a', 'b', 'a', 'a']", "'b'"]);
    assert!(sub.requests().len() <= 3, "one for each, and one for the query if it came too late");
    assert_eq!(made(&prediction).len(), 5, "each is in the record");
    let answered = shared(&prediction);
    assert!(answered.len() >= 2 && answered.iter().all(|(call, by)| call != by), "{answered:?}");
    assert!(read.contains(&format!("{} of 10 sub-calls left", 10 - sub.requests().len())), "{read}");
}

#[tokio::test]
async fn a_temperature_above_0_asks_for_draws_of_their_own() {
    for (temperature, sent) in [(Value::None, 1), (0.into(), 1), (0.5.into(), 3)] {
        let sub = model();
        let call = batch(&["say a"; 3]).argument("temperature", temperature);
        calls(vec![call], sub.clone(), |rlm| rlm).await;
        assert_eq!(sub.requests().len(), sent);
    }
}

/// Answers after a second.
#[derive(Debug)]
struct Slow(ScriptedModel);

#[async_trait::async_trait]
impl LanguageModel for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.complete(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_and_its_child_share_an_answer() {
    let quick = ScriptedModel::from_fn(|request: &Request| match request.messages.len() {
        2 => Ok(cell("child").into()),
        _ => Ok("done".into()),
    });
    let sub = ScriptedModel::from_fn(|_| Ok("the answer".into()));
    let root = ScriptedModel::replies([cell("parent"), "as text".into(), "as text".into()]);
    let interpreter = ScriptedInterpreter::calling(move |cell| match cell.code.as_str() {
        "parent" => {
            let child =
                HostCall::new("rlm_query").argument("prompt", "Ask it too").argument("model", "quick");
            vec![query("same"), child]
        }
        "child" => vec![query("same").argument("model", "slow")],
        _ => Vec::new(),
    });
    let builder = Rlm::builder("q -> a").model(root).sub_model(Slow(sub.clone())).named_model("quick", quick);
    let rlm = builder.interpreter(interpreter.factory()).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(sub.requests().len(), 1, "one question, asked by both");
    assert_eq!(shared(&prediction), [(1, 1)], "the child's first call, by the parent's first");
}

#[tokio::test]
async fn options_reach_the_model() {
    let sub = model();
    let call = query("say a").argument("max_tokens", 7).argument("temperature", 1).argument("timeout", 2.5);
    calls(vec![call], sub.clone(), |rlm| rlm).await;
    let request = &sub.requests()[0];
    assert_eq!((request.max_tokens, request.temperature), (Some(7), Some(1.0)));
    assert!(request.timeout.is_some_and(|limit| limit <= Duration::from_millis(2_500)));
}

#[tokio::test]
async fn wrong_options_are_named() {
    let sub = model();
    let with = |parameter: &str, value: Value| query("say a").argument(parameter, value);
    let all = [
        (with("max_tokens", true.into()), "TypeError: llm_query() needs an int as `max_tokens`, not bool"),
        (with("max_tokens", 1.5.into()), "TypeError: llm_query() needs an int as `max_tokens`, not float"),
        (
            with("max_tokens", 0.into()),
            "ValueError: llm_query() needs a `max_tokens` from 1 to 4294967295, not 0",
        ),
        (
            with("temperature", "high".into()),
            "TypeError: llm_query() needs a number as `temperature`, not str",
        ),
        (
            with("temperature", (-1).into()),
            "ValueError: llm_query() needs a `temperature` from 0 to 2, not -1",
        ),
        (
            with("temperature", f64::NAN.into()),
            "ValueError: llm_query() needs a `temperature` from 0 to 2, not nan",
        ),
        (with("timeout", 0.into()), "ValueError: llm_query() needs a `timeout` above 0, in seconds, not 0"),
        (
            with("timeout", f64::INFINITY.into()),
            "ValueError: llm_query() needs a `timeout` above 0, in seconds, not inf",
        ),
        (with("timeout", false.into()), "TypeError: llm_query() needs a number as `timeout`, not bool"),
        (
            batch(&["say a"]).argument("on_error", "ignore"),
            "ValueError: llm_query_batched() needs \"return\" or \"raise\" as `on_error`, not 'ignore'",
        ),
    ];
    let (asked, wanted): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let (results, ..) = calls(asked, sub.clone(), |rlm| rlm).await;
    assert_eq!(results, wanted);
    let no_type = query("say a").argument("schema", 5);
    let (results, ..) = calls(vec![no_type], sub.clone(), |rlm| rlm).await;
    let start = "ValueError: llm_query() needs a type as `schema`, such as list[str], a dict of types, or a";
    assert!(results[0].starts_with(start) && results[0].contains("int 5 is no type"), "{}", results[0]);
    assert!(sub.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_a_timeout_error() {
    let call = query("say a").argument("timeout", 0.5);
    let (results, prediction, _) = calls(vec![call], Slow(model()), |rlm| rlm).await;
    assert_eq!(results, ["TimeoutError: model `slow` did not answer within 0.5 s"]);
    assert_eq!(made(&prediction).len(), 1);
}

#[tokio::test]
async fn a_prompt_over_the_models_limit_is_not_sent() {
    let sub = model();
    let long = format!("say {}", "x".repeat(60_000));
    let all = vec![query(&long), batch(&["say a", &long])];
    let (results, prediction, _) = calls(all, sub.clone().with_max_input_tokens(1_000), |rlm| rlm).await;
    assert!(
        results[0].starts_with("ValueError: the prompt is too long for model `small`, so it was not sent")
    );
    assert!(
        results[0].contains("Split the text in it into 13 parts of at most 4000 characters"),
        "{}",
        results[0]
    );
    assert!(results[1].starts_with("['a', '[ERROR] the prompt is too long"), "{}", results[1]);
    assert_eq!((sub.requests().len(), made(&prediction).len()), (1, 1));
}

#[tokio::test]
async fn a_run_learns_what_is_too_long() {
    let sub = model();
    let interpreter = ScriptedInterpreter::calling(|cell| match cell.code.as_str() {
        "call" => vec![query("long xxxxxx")],
        _ => Vec::new(),
    });
    let root = ScriptedModel::replies([cell("call"), cell("call"), "t".into(), "t".into()]);
    let builder = Rlm::builder("q -> a").model(root).sub_model(sub.clone());
    let rlm = builder.interpreter(interpreter.factory()).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    let turns = prediction.trajectory().turns();
    let value = |turn: usize| turns[turn].observation.clone().unwrap().value.unwrap().to_string();
    assert_eq!(
        value(0),
        "ValueError: at most 10 tokens. Split the text in it into 2 parts of at most 5 characters, and ask \
         about all of them with llm_query_batched"
    );
    assert!(
        value(1).contains("so it was not sent: it has 11 bytes, and one of 11 bytes was too long before")
    );
    assert_eq!(sub.requests().len(), 1);
}

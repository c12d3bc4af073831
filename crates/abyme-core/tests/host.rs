//! Sub-calls and tools: budgets, order, errors, and what the record keeps of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use abyme_core::{
    Error, ErrorKind, Event, FinishReason, HostCall, HostError, LanguageModel, NativeCall, Prediction,
    Request, Response, Result, Rlm, RlmBuilder, Tool, Usage, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
    trajectory::CallOutcome,
};
use common::cell;

fn query(prompt: &str) -> HostCall {
    HostCall::new("llm_query").argument("prompt", prompt)
}

fn batch(prompts: &[&str]) -> HostCall {
    HostCall::new("llm_query_batched").argument("prompts", Value::list(prompts.iter().copied()))
}

/// Runs one cell that makes these calls and gives back what came of them, a line each.
async fn calls(
    calls: Vec<HostCall>,
    change: impl FnOnce(RlmBuilder) -> RlmBuilder,
) -> (Vec<String>, Prediction) {
    let interpreter = ScriptedInterpreter::calling(move |cell| match cell.code.as_str() {
        "call" => calls.clone(),
        _ => Vec::new(),
    });
    let replies = [cell("call"), "as text".into(), "as text".into()];
    let root = ScriptedModel::replies(replies.map(|reply| Response::new(reply).usage(Usage::tokens(0, 0))));
    let sub = ScriptedModel::from_fn(|request| match request.messages[0].content.as_str() {
        "fail" => Err(Error::new(ErrorKind::ContentRefused, "the model refused")),
        prompt => Ok(Response::new(format!("re: {prompt}"))),
    });
    let builder = Rlm::builder("q -> a")
        .model(root)
        .sub_model(sub.with_name("small"))
        .interpreter(interpreter.factory());
    let prediction = change(builder).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let turns = prediction.trajectory().turns();
    let value = turns[0].observation.clone().unwrap().value.unwrap().to_string();
    (value.lines().map(str::to_owned).collect(), prediction)
}

#[tokio::test]
async fn a_sub_call_is_answered_and_recorded() {
    let (results, prediction) = calls(vec![query("hello")], |rlm| rlm).await;
    assert_eq!(results, ["'re: hello'"]);
    let recorded: Vec<_> = prediction
        .trajectory()
        .events()
        .filter_map(|event| match event {
            Event::SubCallStarted { prompt, model, .. } => Some((prompt.as_str(), model.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, [("hello", "small")]);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_a_failure_its_place() {
    let (results, _) = calls(vec![batch(&["a", "fail", "", "b"])], |rlm| rlm).await;
    assert_eq!(results, ["['re: a', '[ERROR] the model refused', '[ERROR] the prompt is empty', 're: b']"]);
}

#[tokio::test]
async fn a_failed_sub_call_raises() {
    let (results, _) = calls(vec![query("fail"), query("  ")], |rlm| rlm).await;
    assert_eq!(results, ["RuntimeError: the model refused", "ValueError: the prompt is empty"]);
}

#[tokio::test]
async fn a_text_is_not_taken_for_a_list_of_prompts() {
    let text = HostCall::new("llm_batch").argument("prompts", "abc");
    let mixed = HostCall::new("llm_query_batched")
        .argument("prompts", Value::list([Value::from("a"), Value::from(3)]));
    let (results, prediction) = calls(vec![text, mixed], |rlm| rlm).await;
    assert_eq!(results[0], "TypeError: llm_batch() needs a list of str as `prompts`, not str");
    assert_eq!(
        results[1],
        "TypeError: llm_query_batched() needs a list of str, but prompts[1] is of type int"
    );
    assert!(!prediction.trajectory().events().any(|event| matches!(event, Event::SubCallStarted { .. })));
}

#[tokio::test]
async fn a_batch_over_the_limit_runs_not_at_all() {
    let (results, prediction) = calls(vec![query("one"), batch(&["a", "b", "c"])], |rlm| {
        rlm.limits(|limits| limits.max_llm_calls(3))
    })
    .await;
    assert_eq!(results[0], "'re: one'");
    assert!(
        results[1].starts_with("RuntimeError: sub-call limit: 3 more asked for, 2 of 3 left"),
        "{}",
        results[1]
    );
    let made = prediction
        .trajectory()
        .events()
        .filter(|event| matches!(event, Event::SubCallStarted { .. }))
        .count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn no_call_starts_once_the_tokens_are_used() {
    let sub = ScriptedModel::from_fn(|_| Ok(Response::new("ok").usage(abyme_core::Usage::tokens(900, 100))));
    let prompts: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let prompts: Vec<_> = prompts.iter().map(String::as_str).collect();
    let (results, prediction) = calls(vec![batch(&prompts)], |rlm| {
        rlm.sub_model(sub).limits(|limits| limits.max_tokens(3000).max_concurrent_calls(1))
    })
    .await;
    assert_eq!(
        (results[0].matches("'ok'").count(), results[0].matches("budget is used up").count()),
        (3, 47)
    );
    assert_eq!(prediction.status(), abyme_core::Status::LimitReached(abyme_core::Limit::Tokens));
}

#[tokio::test]
async fn further_positional_arguments_reach_a_tool_under_their_name() {
    let rest = abyme_core::ParameterSpec::new("rest").kind(abyme_core::ParameterKind::VarPositional);
    let tool = Tool::from_parts("count", "", vec![rest], |arguments| async move {
        Ok(Value::from(arguments["rest"].as_list().map_or(0, <[Value]>::len) as i64))
    });
    let call = HostCall::new("count").args(vec![1.into(), 2.into()]);
    assert_eq!(calls(vec![call], |rlm| rlm.tool(tool)).await.0, ["2"]);
}

/// Counts how many calls are in flight.
#[derive(Debug, Default)]
struct Counting {
    now: AtomicUsize,
    most: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl LanguageModel for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok("ok".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_runs_at_the_same_time_up_to_the_limit() {
    let prompts: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let prompts: Vec<_> = prompts.iter().map(String::as_str).collect();
    let most = Arc::new(AtomicUsize::new(0));
    let model = Counting { now: AtomicUsize::new(0), most: most.clone() };
    let start = tokio::time::Instant::now();
    calls(vec![batch(&prompts)], |rlm| rlm.sub_model(model)).await;
    assert_eq!(most.load(Ordering::SeqCst), 16);
    assert_eq!(start.elapsed().as_millis(), 50 * 100u128.div_ceil(16));
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Args {
    text: String,
    #[serde(default)]
    times: Option<usize>,
}

fn repeat() -> Tool {
    Tool::new("repeat", "Repeats a text.", |args: Args| async move {
        match args.times {
            Some(0) => Err(HostError::value_error("times is 0")),
            Some(99) => "x".parse::<u8>().map(|_| String::new()).map_err(HostError::from),
            times => Ok(args.text.repeat(times.unwrap_or(2))),
        }
    })
}

#[tokio::test]
async fn tools_take_typed_arguments_and_raise_typed_errors() {
    let call = |times: Value| HostCall::new("repeat").argument("text", "ab").argument("times", times);
    let wrong = HostCall::new("repeat").argument("text", 3);
    let all = vec![
        call(Value::None),
        call(3.into()),
        call(0.into()),
        call(99.into()),
        wrong,
        HostCall::new("nope"),
    ];
    let (results, _) = calls(all, |rlm| rlm.tool(repeat())).await;
    assert_eq!(results[..3], ["'abab'", "'ababab'", "ValueError: times is 0"]);
    assert_eq!(results[3], "RuntimeError: invalid digit found in string");
    assert!(results[4].starts_with("TypeError: ") && results[4].contains("text"), "{}", results[4]);
    assert_eq!(results[5], "NameError: this cell is not offered a function `nope`");
}

#[tokio::test]
async fn a_tool_that_panics_is_an_exception_in_python() {
    let tool = Tool::from_parts("boom", "", Vec::new(), |_| async { panic!("at the disco") });
    let (results, _) = calls(vec![HostCall::new("boom")], |rlm| rlm.tool(tool)).await;
    assert_eq!(results, ["RuntimeError: tool `boom` panicked: at the disco"]);
}

#[tokio::test]
async fn a_cell_names_only_models_that_were_given_a_name() {
    let ask = |name: &str| query("hello").argument("model", name);
    let all = vec![ask("big"), ask("most-expensive"), ask("small"), query("hello")];
    let big = ScriptedModel::from_fn(|request| {
        assert_eq!(request.model, None, "the provider is not asked for another model");
        Ok("from big".into())
    });
    let (results, prediction) = calls(all.clone(), |rlm| rlm.named_model("big", big)).await;
    assert_eq!(results[0], "'from big'");
    assert_eq!(
        results[1],
        "ValueError: no model is called \"most-expensive\": there is \"big\"; or leave `model` out"
    );
    assert_eq!(results[2..], ["'re: hello'", "'re: hello'"]);
    let events = prediction.trajectory().events();
    let made = events.filter(|event| matches!(event, Event::SubCallStarted { .. })).count();
    assert_eq!(made, 3, "a call of an unknown model is not made");

    let (results, _) = calls(all, |rlm| rlm).await;
    assert!(results[0].ends_with("one model for sub-calls: leave `model` out"), "{}", results[0]);
}

#[tokio::test]
async fn a_sub_call_gives_the_answer_without_thoughts() {
    let sub = ScriptedModel::from_fn(|request| {
        Ok(match request.messages[0].content.as_str() {
            "think" => "<think>France. Or?</think>\n\nParis".into(),
            "cut" => Response::new("<think>France").finish_reason(FinishReason::Length),
            "filter" => Response::new("").finish_reason(FinishReason::ContentFilter),
            "call" => Response::new("").native_call(NativeCall::new("search", "{}")),
            _ => "".into(),
        })
    });
    let all = ["think", "cut", "filter", "call", "empty"].map(query).to_vec();
    let (results, prediction) = calls(all, |rlm| rlm.sub_model(sub.with_name("small"))).await;
    assert_eq!(results[0], "'Paris'");
    assert!(results[1].contains("length limit"), "{}", results[1]);
    assert!(results[2].contains("content filter"), "{}", results[2]);
    assert!(results[3].contains("`search`"), "{}", results[3]);
    assert_eq!(results[4], "''");
    let outcome = prediction.trajectory().events().find_map(|event| match event {
        Event::SubCallFinished { call: 1, outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome, Some(CallOutcome::Result("Paris".to_owned())), "as the cell gets it");
}

/// Never answers.
#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl LanguageModel for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_runs_own_time_does_not_blame_the_model() {
    let limit = Duration::from_secs(40);
    let interpreter =
        ScriptedInterpreter::calling(|cell| if cell.code == "call" { vec![query("x")] } else { vec![] });
    let root = ScriptedModel::replies([cell("call"), "{\"a\": \"?\"}".to_owned()]);
    let rlm = Rlm::builder("q -> a").model(root).sub_model(Silent).interpreter(interpreter.factory());
    let rlm = rlm.limits(|limits| limits.run_timeout(limit)).build().unwrap();
    let started = tokio::time::Instant::now();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert!(started.elapsed() < limit);
    let turns = prediction.trajectory().turns();
    let value = turns[0].observation.clone().unwrap().value.unwrap().to_string();
    assert!(value.contains("the time of the run was over"), "{value}");
    let started = |event: &&Event| matches!(event, Event::SubCallStarted { call: 1, .. });
    let failed = |event: &&Event| matches!(event, Event::ModelCallFailed { call: Some(1), .. });
    assert_eq!(prediction.trajectory().events().filter(started).count(), 1);
    assert_eq!(prediction.trajectory().events().filter(failed).count(), 1);
}

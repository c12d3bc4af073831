//! Whole runs over scripted models and interpreters: how they go, and how they end.

mod common;

use std::{collections::BTreeMap, time::Duration};

use abyme_core::{
    ErrorKind, Event, FinishReason, LanguageModelExt, Limit, Limits, NativeCall, Price, Profile, Request,
    Response, Rlm, Role, Status, Usage, Value, inputs, testing::ScriptedModel,
};
use common::{cell, interpreter, said, scripted, transcript};

#[tokio::test]
async fn a_submission_ends_the_run() {
    let (rlm, _) = scripted("question -> answer", [cell("submit answer=Paris")]);
    let prediction = rlm.build().unwrap().run(inputs! { question: "capital of France?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("answer").unwrap(), "Paris");
    assert_eq!(prediction.status(), Status::Submitted);
    assert_eq!(prediction.usage().calls, 1);
    assert_eq!(prediction.trajectory().turns().len(), 1);
}

#[tokio::test]
async fn outputs_are_typed() {
    let (rlm, _) =
        scripted("docs -> names: list[str], total: int", [cell("submit names=[\"a\", \"b\"];total=2")]);
    let prediction = rlm.build().unwrap().run(inputs! { docs: "…" }).await.unwrap();
    assert_eq!(prediction.get::<Vec<String>>("names").unwrap(), ["a", "b"]);
    assert_eq!(prediction.get::<u32>("total").unwrap(), 2);
    let error = prediction.get::<u32>("totals").unwrap_err();
    assert_eq!(error.to_string(), "no output `totals`; there is `names`, `total`");
    let all: BTreeMap<String, serde_json::Value> = prediction.to().unwrap();
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn requests_only_grow_at_their_end() {
    let replies = [
        cell("print looking"),
        "no code here".to_owned(),
        cell("syntax"),
        cell("raise wrong"),
        "```json\n{}\n```".to_owned(),
        cell("die"),
        cell("submit total=many"),
        cell("submit total=3"),
    ];
    let (rlm, model) = scripted("docs -> total: int", replies);
    rlm.build().unwrap().run(inputs! { docs: "text" }).await.unwrap();
    let requests = model.requests();
    assert_eq!(requests.len(), 8);
    for pair in requests.windows(2) {
        assert!(pair[1].messages.starts_with(&pair[0].messages), "a request changed what was said before");
        assert!(pair[1].messages.len() > pair[0].messages.len());
    }
}

#[tokio::test]
async fn the_first_request_is_pinned() {
    let (rlm, model) =
        scripted("docs, query -> modules: list[str], total: int", [cell("submit modules=[];total=0")]);
    let rlm = rlm
        .instructions("Find names in the API reference first.")
        .describe("docs", "The whole documentation")
        .describe("total", "How many there are")
        .build()
        .unwrap();
    let docs = format!("BEGIN {} END", "lorem ipsum ".repeat(1000));
    rlm.run(inputs! { docs: docs, query: "Which modules?" }).await.unwrap();
    insta::assert_snapshot!(transcript(&model.requests()[0]));
}

#[tokio::test]
async fn a_run_of_three_turns_is_pinned() {
    let replies = [cell("print 5 lines\nvalue 42"), cell("raise no such name"), cell("submit answer=42")];
    let (rlm, model) = scripted("question -> answer: int", replies);
    rlm.build().unwrap().run(inputs! { question: "how many?" }).await.unwrap();
    let last = &model.requests()[2];
    insta::assert_snapshot!(transcript(&Request::new(last.messages[2..].to_vec())));
}

#[tokio::test]
async fn a_syntax_error_costs_no_iteration_once() {
    let (rlm, model) = scripted("q -> a", [cell("syntax"), cell("submit a=done")]);
    let prediction =
        rlm.limits(|limits| limits.max_iterations(1)).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Submitted);
    let correction = said(&model, 1);
    assert!(correction.contains("line 1") && correction.contains("    ^"), "{correction}");
    assert_eq!(prediction.trajectory().turns().len(), 1, "the repair belongs to the turn it repairs");

    let (rlm, model) =
        scripted("q -> a", [cell("syntax"), cell("syntax"), "{\"a\": \"extracted\"}".to_owned()]);
    let prediction =
        rlm.limits(|limits| limits.max_iterations(1)).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::LimitReached(Limit::Iterations));
    assert_eq!(model.requests().len(), 3);
}

#[tokio::test]
async fn text_without_code_is_nudged_and_then_the_answer() {
    let (rlm, model) = scripted("q -> a", ["It is Paris.", "It is Paris, as I said."]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Answered);
    assert_eq!(prediction.get::<String>("a").unwrap(), "It is Paris, as I said.");
    assert!(said(&model, 1).contains("no code"));
}

#[tokio::test]
async fn text_is_no_answer_where_the_output_is_not_one_text() {
    let replies = ["It is 3.".to_owned(), "It is 3, really.".to_owned(), cell("submit a=3")];
    let (rlm, model) = scripted("q -> a: int", replies);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Submitted);
    assert!(said(&model, 2).contains("[error]"));
}

#[tokio::test]
async fn a_submission_that_does_not_fit_goes_back_to_the_model() {
    let (rlm, model) = scripted("q -> a: int, b", [cell("submit a=many"), cell("submit a=3;b=x")]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<i64>("a").unwrap(), 3);
    let said = said(&model, 1);
    assert!(said.contains("`a`") && said.contains("`b`") && said.contains("int"), "{said}");
}

#[tokio::test]
async fn every_limit_ends_in_an_extract_call() {
    let usage = Usage::tokens(600, 500).cost(0.3);
    let turn = || Response::new(cell("print on and on")).usage(usage);
    let extracted = || Response::new("Best guess:\n```json\n{\"a\": 7}\n```");
    let cases = [
        (Status::LimitReached(Limit::Iterations), [turn(), turn(), extracted()]),
        (Status::LimitReached(Limit::Tokens), [turn(), turn(), extracted()]),
        (Status::LimitReached(Limit::Cost), [turn(), turn(), extracted()]),
    ];
    for (status, replies) in cases {
        let (rlm, model) = scripted("q -> a: int", replies);
        let limits = match status {
            Status::LimitReached(Limit::Iterations) => Limits::default().max_iterations(2),
            Status::LimitReached(Limit::Tokens) => Limits::default().max_tokens(2000),
            _ => Limits::default().max_cost(0.5),
        };
        let prediction = rlm.limits(|_| limits).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
        assert_eq!((prediction.status(), prediction.get::<i64>("a").unwrap()), (status, 7));
        assert_eq!(model.requests().len(), 3);
        assert_eq!(prediction.usage().calls, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_run_ends_it_too() {
    let model = SlowModel {
        wait: Duration::from_millis(3_500),
        inner: ScriptedModel::replies([
            cell("print a"),
            cell("print b"),
            cell("print c"),
            "{\"a\": 1}".to_owned(),
        ]),
    };
    let rlm = Rlm::builder("q -> a: int").model(model).interpreter(interpreter().factory());
    let rlm = rlm.limits(|limits| limits.run_timeout(Duration::from_secs(16))).build().unwrap();
    let started = tokio::time::Instant::now();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    // The fourth call is cut off at 12 s, and the extract call has the quarter that was kept for it.
    assert!(started.elapsed() <= Duration::from_secs(16), "{:?}", started.elapsed());
    assert_eq!(prediction.status(), Status::LimitReached(Limit::Time));
    assert_eq!(prediction.get::<i64>("a").unwrap(), 1);
}

/// Takes its time for every answer.
#[derive(Debug)]
struct SlowModel {
    wait: Duration,
    inner: ScriptedModel,
}

#[async_trait::async_trait]
impl abyme_core::LanguageModel for SlowModel {
    fn name(&self) -> &str {
        "slow"
    }

    async fn complete(&self, request: &Request) -> abyme_core::Result<Response> {
        tokio::time::sleep(self.wait).await;
        self.inner.complete(request).await
    }
}

#[tokio::test]
async fn an_extract_call_that_does_not_fit_is_tried_once_more() {
    let replies = [cell("print x"), "{\"a\": \"many\"}".into(), "{\"a\": 2}".into()];
    let (rlm, _) = scripted("q -> a: int", replies);
    let prediction =
        rlm.limits(|limits| limits.max_iterations(1)).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<i64>("a").unwrap(), 2);

    let replies = [cell("print x"), "no idea".into(), "really not".into()];
    let (rlm, _) = scripted("q -> a: int", replies);
    let error = rlm
        .limits(|limits| limits.max_iterations(1))
        .build()
        .unwrap()
        .run(inputs! { q: "?" })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.trajectory().is_some_and(|trajectory| trajectory.turns().len() == 1));
}

#[tokio::test(start_paused = true)]
async fn retries_keep_to_the_time_of_the_run() {
    let errors = (0..9).map(|_| Err(abyme_core::Error::new(ErrorKind::Server, "503")));
    let answer = Ok(Response::new("{\"a\": 1}"));
    let model = ScriptedModel::results(errors.take(1).chain([answer]));
    let rlm = Rlm::builder("q -> a: int").model(model).interpreter(interpreter().factory());
    let rlm = rlm.retry(abyme_core::RetryPolicy::default().initial_backoff(Duration::from_secs(50)));
    let started = tokio::time::Instant::now();
    let prediction = rlm
        .limits(|limits| limits.run_timeout(Duration::from_secs(5)))
        .build()
        .unwrap()
        .run(inputs! { q: "?" })
        .await
        .unwrap();
    assert_eq!((prediction.status(), started.elapsed().as_secs()), (Status::LimitReached(Limit::Time), 0));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_is_not_waited_for_at_the_end_either() {
    let model = SlowModel { wait: Duration::from_secs(100_000), inner: ScriptedModel::replies([""; 0]) };
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory());
    let started = tokio::time::Instant::now();
    let error = rlm
        .limits(|limits| limits.run_timeout(Duration::from_secs(2)))
        .build()
        .unwrap()
        .run(inputs! { q: "?" })
        .await
        .unwrap_err();
    assert_eq!((error.kind(), started.elapsed().as_secs()), (ErrorKind::LimitReached, 2));
    assert!(error.message().starts_with("the time of 2 s is over, and the extract call failed: "), "{error}");
}

#[tokio::test]
async fn no_limit_is_too_long() {
    let (rlm, _) = scripted("q -> a", [cell("submit a=x")]);
    let rlm =
        rlm.limits(|limits| limits.run_timeout(Duration::MAX).cell_timeout(Duration::MAX)).build().unwrap();
    assert!(rlm.run(inputs! { q: "?" }).await.is_ok());
}

#[tokio::test]
async fn code_that_would_have_to_run_is_no_answer_to_an_extract_call() {
    let thought = "<think>hm</think>\n```python\nSUBMIT(a=str(x))\n```";
    let replies = [cell("print x"), thought.to_owned(), "It is 42.".to_owned()];
    let (rlm, model) = scripted("q -> a", replies);
    let prediction =
        rlm.limits(|limits| limits.max_iterations(1)).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("a").unwrap(), "It is 42.");
    assert!(said(&model, 2).contains("Answer again"), "{}", said(&model, 2));
    for request in model.requests() {
        let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
        assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "roles take turns: {roles:?}");
    }
}

#[tokio::test]
async fn a_reply_that_was_cut_off_is_no_answer() {
    let cut = || Response::new("It is Par").finish_reason(FinishReason::Length);
    let (rlm, model) = scripted("q -> a", [cut(), cut(), Response::new(""), Response::new("It is Paris.")]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("a").unwrap(), "It is Paris.");
    assert!(said(&model, 1).contains("length limit"));
    let empty = &model.requests()[3].messages;
    assert_eq!(empty[empty.len() - 2].content, "(no reply)");
}

#[tokio::test]
async fn a_session_that_dies_is_replaced_twice_and_gets_the_inputs_again() {
    for how in ["die", "vanish"] {
        let interpreter = interpreter();
        let model = ScriptedModel::replies([cell(how), cell(how), cell("submit a=done")]);
        let rlm =
            Rlm::builder("q -> a").model(model.clone()).interpreter(interpreter.factory()).build().unwrap();
        let prediction = rlm.run(inputs! { q: "the input" }).await.unwrap();
        assert_eq!(prediction.get::<String>("a").unwrap(), "done");
        let put_in = interpreter.cells().iter().filter(|cell| !cell.variables.is_empty()).count();
        assert_eq!(put_in, 3, "inputs go in once for each session");
        assert!(said(&model, 1).contains("fresh session"));
    }

    let deaths = || vec![cell("die"), cell("die"), cell("die")];
    let replies = deaths().into_iter().chain(["{\"a\": \"a guess\"}".to_owned()]);
    let (rlm, model) = scripted("q -> a", replies);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(
        (prediction.status(), prediction.get::<String>("a").unwrap()),
        (Status::CutShort, "a guess".into())
    );
    assert!(said(&model, 3).contains("the session died 3 times"), "{}", said(&model, 3));

    let (rlm, _) = scripted("q -> a: int", deaths().into_iter().chain(["no".to_owned(), "no".to_owned()]));
    let error = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(error.message().contains("3 times") && error.message().contains("code 3"), "{error}");
    assert_eq!(error.trajectory().unwrap().turns().len(), 3);
}

#[tokio::test]
async fn a_submission_counts_even_if_the_session_died_after_it() {
    let (rlm, _) = scripted("q -> a", [cell("final done\ndie")]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("a").unwrap(), "done");
}

#[tokio::test]
async fn a_model_that_fails_for_good_keeps_the_trajectory() {
    let model = ScriptedModel::results([
        Ok(cell("print a").into()),
        Err(abyme_core::Error::new(ErrorKind::Auth, "the key is wrong")),
    ]);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    let error = rlm.run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Auth, "the key is wrong"));
    assert_eq!(error.trajectory().unwrap().turns().len(), 1);
    assert!(matches!(error.trajectory().unwrap().events().last(), Some(Event::RunFailed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_temporary_failure_is_tried_again() {
    let model = ScriptedModel::results([
        Err(abyme_core::Error::new(ErrorKind::Server, "503")),
        Ok(cell("submit a=done").into()),
    ]);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    assert!(rlm.run(inputs! { q: "?" }).await.is_ok());
}

#[tokio::test]
async fn the_model_hears_of_ignored_blocks_and_cut_replies() {
    let two = format!("{}\nand\n{}", cell("print one"), cell("print two"));
    let replies = [Response::new(two).finish_reason(FinishReason::Length), Response::new(cell("submit a=x"))];
    let (rlm, model) = scripted("q -> a", replies);
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let said = said(&model, 1);
    assert!(said.contains("one") && !said.contains("two"), "{said}");
    assert!(said.contains("Only the first") && said.contains("length limit"), "{said}");
}

#[tokio::test]
async fn inputs_are_checked_before_anything_starts() {
    let interpreter = interpreter();
    let model = ScriptedModel::replies([cell("submit a=x")]);
    let rlm = Rlm::builder("docs, count: int -> a").model(model.clone()).interpreter(interpreter.factory());
    let rlm = rlm.build().unwrap();
    let error = rlm.run(inputs! { doc: "x" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for name in ["`docs`", "`count`", "`doc`"] {
        assert!(error.message().contains(name), "{error}");
    }
    let error = rlm.run(inputs! { docs: "x", count: "many" }).await.unwrap_err();
    assert!(error.message().contains("expected int"), "{error}");
    assert!(model.requests().is_empty() && interpreter.cells().is_empty());
}

#[tokio::test]
async fn inputs_arrive_as_their_declared_types() {
    let interpreter = interpreter();
    let model = ScriptedModel::replies([cell("submit a=x")]);
    let rlm =
        Rlm::builder("count: int -> a").model(model).interpreter(interpreter.factory()).build().unwrap();
    rlm.run(inputs! { count: "3" }).await.unwrap();
    assert_eq!(interpreter.cells()[0].variables, [("count".to_owned(), Value::Int(3))]);
}

#[tokio::test]
async fn the_conversation_keeps_what_the_model_said_up_to_the_end_of_its_cell() {
    let invented = "I look.\n```python\nprint 1\n```\nThis is the output:\n```\n1\n```";
    let call = "<execute>print 2</execute> and so on";
    let native = Response::new("So:").native_call(NativeCall::new("python", "{\"code\": \"print 3\"}"));
    let replies = [Response::new(invented), call.into(), native, cell("submit a=x").into()];
    let (rlm, model) = scripted("q -> a", replies);
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let last = &model.requests()[3].messages;
    let replies: Vec<_> =
        last.iter().filter(|message| message.role == Role::Assistant).map(|it| it.content.as_str()).collect();
    let kept =
        ["I look.\n```python\nprint 1\n```", "<execute>print 2</execute>", "So:\n\n```python\nprint 3\n```"];
    assert_eq!(replies, kept);
}

#[tokio::test]
async fn markup_is_never_the_answer() {
    let markup = "<tool_call>{\"name\": \"search\", \"arguments\": {\"query\": \"x\"}}</tool_call>";
    let (rlm, model) = scripted("q -> a", [markup, markup, markup, "```python\nsubmit a=x\n```"]);
    let prediction = rlm.profile(Profile::Standard).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Submitted);
    assert!(said(&model, 1).contains("`<tool_call>`") && said(&model, 3).contains("no code could be read"));
    let refused = |event: &&Event| matches!(event, Event::ReplyRefused { .. });
    assert_eq!(prediction.trajectory().events().filter(refused).count(), 3);

    let replies = [cell("print x"), markup.to_owned(), markup.to_owned()];
    let (rlm, _) = scripted("q -> a", replies);
    let rlm = rlm.limits(|limits| limits.max_iterations(1)).build().unwrap();
    let error = rlm.run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached, "nor is it in the extract call");
}

#[tokio::test]
async fn a_cut_cell_is_told_to_be_shorter() {
    let cut = Response::new("```python\nsyntax").finish_reason(FinishReason::Length);
    let (rlm, model) = scripted("q -> a", [cut, cell("submit a=x").into()]);
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let said = said(&model, 1);
    assert!(
        said.starts_with("[cut off]") && said.contains("shorter cell") && !said.contains("whole"),
        "{said}"
    );
}

#[tokio::test]
async fn a_limit_that_cannot_be_kept_is_an_error_at_the_first_reply() {
    let limits: [fn(Limits) -> Limits; 2] = [|it| it.max_cost(0.5), |it| it.max_tokens(1000)];
    for (limit, name) in limits.into_iter().zip(["max_cost", "max_tokens"]) {
        let (rlm, model) = scripted("q -> a", [cell("submit a=x"), cell("submit a=x")]);
        let error = rlm.limits(limit).build().unwrap().run(inputs! { q: "?" }).await.unwrap_err();
        assert_eq!((error.kind(), model.requests().len()), (ErrorKind::Config, 1));
        let expected = format!("{name} cannot be kept: model `scripted` does not say");
        assert!(error.message().starts_with(&expected), "{error}");
    }

    let reply = |code: &str| Response::new(cell(code)).usage(Usage::tokens(100_000, 0));
    let model =
        ScriptedModel::results([Ok(reply("print x")), Ok(reply("print x")), Ok("{\"a\": \"x\"}".into())]);
    let rlm = Rlm::builder("q -> a").model(model.with_price(Price::per_million(3.0, 15.0)));
    let rlm = rlm.interpreter(interpreter().factory()).limits(|limits| limits.max_cost(0.5)).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::LimitReached(Limit::Cost));
    assert!((prediction.usage().cost.unwrap() - 0.6).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn every_try_is_in_the_record() {
    let limited = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        Err(abyme_core::Error::new(ErrorKind::RateLimited { retry_after }, "too often"))
    };
    let model = ScriptedModel::results([limited(30), limited(5), Ok(cell("submit a=done").into())]);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    let tries: Vec<_> = prediction
        .trajectory()
        .events()
        .filter_map(|event| match event {
            Event::ModelCallFailed { error, retry_seconds, .. } => {
                Some((error.as_str(), retry_seconds.unwrap()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(tries, [("too often", 30.0), ("too often", 5.0)]);
    assert_eq!(prediction.usage().calls, 3);
}

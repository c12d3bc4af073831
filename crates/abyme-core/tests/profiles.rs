//! Prompts for small models, the corrections that they need, and the conventions of other systems.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use abyme_core::{
    Error, ErrorKind, Event, Observation, Profile, PythonError, Request, Response, Rlm, Role, Status, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::{cell, interpreter, said, scripted, transcript};

/// The texts that two requests begin with alike.
fn shared(one: &Request, other: &Request) -> usize {
    let (one, other) = (transcript(one), transcript(other));
    one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
}

async fn first_request(signature: &str, profile: Profile, max_iterations: u32) -> Request {
    let (rlm, model) = scripted(signature, [cell("submit total=1;names=[\"x\"]")]);
    let rlm = rlm.profile(profile).limits(|limits| limits.max_iterations(max_iterations));
    let _ = rlm.instructions("Count.").build().unwrap().run(inputs! { q: "text" }).await;
    model.requests().swap_remove(0)
}

#[tokio::test]
async fn the_tasks_of_a_server_share_their_beginning() {
    let profile = Profile::Standard;
    let one = first_request("q -> total: int", profile, 20).await;
    let other = first_request("q -> names: list[str]", profile, 20).await;
    let system = transcript(&Request::new(one.messages[..1].to_vec())).len();
    assert!(shared(&one, &other) > system, "the whole system message, and more");
    let numbers = first_request("q -> total: int", profile, 7).await;
    assert!(shared(&one, &numbers) > system * 9 / 10, "numbers come last");
}

#[tokio::test]
async fn the_first_request_to_a_small_model_is_pinned() {
    let request = first_request("q -> total: int, names: list[str]", Profile::Small, 20).await;
    assert_eq!(request.cache_points, [4, 5], "the example is shared by all tasks");
    insta::assert_snapshot!(transcript(&request));
}

#[tokio::test]
async fn a_reply_is_put_together_with_what_the_request_began_it_with() {
    for reply in ["submit a=x\n```\n", "```python\nsubmit a=x\n```\nfurther", "submit a=x"] {
        let (rlm, model) = scripted("q -> a", [reply]);
        let rlm = rlm.profile(Profile::SmallPrefilled).build().unwrap();
        let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
        assert_eq!(prediction.get::<String>("a").unwrap(), "x", "{reply:?}");
        let request = model.requests().swap_remove(0);
        assert_eq!(request.messages.last().unwrap().content, "```python\n");
        assert_eq!(request.cache_points, [4, 5], "not what the reply goes on from");
    }
    let (rlm, model) = scripted("q -> a", ["print x\n```\n".to_owned(), cell("submit a=x")]);
    let rlm = rlm.profile(Profile::SmallPrefilled).build().unwrap();
    rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(model.requests()[1].messages[6].content, "```python\nprint x\n```", "and kept so");
}

#[tokio::test]
async fn a_server_that_refuses_the_beginning_of_a_reply_is_asked_without_it() {
    let model = ScriptedModel::from_fn(|request| match request.messages.last().map(|last| last.role) {
        Some(Role::Assistant) => Err(Error::new(ErrorKind::BadRequest, "must end with a user message")),
        _ if request.messages.len() < 8 => Ok(cell("print x").into()),
        _ => Ok(cell("submit a=x").into()),
    });
    let rlm = Rlm::builder("q -> a").model(model.clone()).interpreter(interpreter().factory());
    let rlm = rlm.profile(Profile::SmallPrefilled).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("a").unwrap(), "x");
    let prefilled = model.requests().iter().filter(|request| request.messages.len() % 2 == 1).count();
    assert_eq!((model.requests().len(), prefilled), (3, 1), "it is tried once in a run");
}

#[tokio::test]
async fn a_model_that_is_lost_at_first_gets_the_example() {
    let lost = || "I would count them.".to_owned();
    let (rlm, model) = scripted("q -> a: int", [lost(), lost(), cell("syntax"), cell("submit a=3")]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Submitted);
    let last = model.requests().pop().unwrap();
    assert_eq!(last.messages.len(), 6, "the conversation began anew");
    assert!(last.messages[1].content.starts_with("Task: notes"));
    let cut = prediction.trajectory().events().any(|event| matches!(event, Event::TranscriptCut { .. }));
    assert!(cut, "the record says so");

    // Not where a profile was chosen, and not once a cell ran.
    let (rlm, model) = scripted("q -> a: int", [lost(), lost(), cell("syntax"), cell("submit a=3")]);
    let rlm = rlm.profile(Profile::Standard).build().unwrap();
    rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(model.requests().pop().unwrap().messages.len(), 8);
    assert!(!model.requests().pop().unwrap().messages[1].content.starts_with("Task: notes"));
    let (rlm, model) = scripted("q -> a: int", [cell("print"), lost(), lost(), lost(), cell("submit a=3")]);
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(model.requests().pop().unwrap().messages.len(), 10);
}

#[tokio::test]
async fn what_only_the_session_writes_is_named() {
    for reply in [
        "```\n[stdout]\n12\n```",
        "[stdout]\n12",
        "It printed 12.\n(turn 1 of 20; 200 of 200 sub-calls left)",
        "```python\n[value]\n12\n```",
    ] {
        let (rlm, model) = scripted("q -> a", [reply.to_owned(), cell("submit a=x")]);
        rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
        let said = said(&model, 1);
        assert!(said.contains("the session's") && !said.contains("NameError"), "{reply:?}: {said}");
    }
    let code = "syntax\n(turn 1 of 20; 200 of 200 sub-calls left)";
    let (rlm, model) = scripted("q -> a", [cell(code), cell("submit a=x")]);
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert!(said(&model, 1).contains("Leave them out"), "{}", said(&model, 1));
}

#[tokio::test]
async fn a_cell_that_is_sent_again_or_asks_a_person_is_told_so() {
    let (rlm, model) = scripted("q -> a", [cell("print 1"), cell("print 1"), cell("submit a=x")]);
    rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert!(!said(&model, 1).contains("same cell"));
    assert!(said(&model, 2).contains("the same cell as before") && said(&model, 2).contains("SUBMIT(a=...)"));

    let asks = ScriptedInterpreter::from_fn(|cell| {
        let mut observation = Observation::default();
        if cell.code.contains("input(") {
            observation.error = Some(PythonError::new("EOFError", "nobody can type here"));
        }
        Ok(observation)
    });
    let model =
        ScriptedModel::replies([cell("x = input('Text: ')"), "{\"a\": \"x\"}".to_owned()].map(Response::new));
    let rlm = Rlm::builder("docs, q -> a").model(model.clone()).interpreter(asks.factory());
    let rlm = rlm.limits(|limits| limits.max_iterations(1)).build().unwrap();
    rlm.run(inputs! { docs: "d", q: "?" }).await.unwrap();
    assert!(said(&model, 1).contains("variables already: `docs`, `q`"), "{}", said(&model, 1));
}

/// The requests of a run of two turns over a long context, as another system puts them.
async fn requests_as(profile: Profile, second: &str) -> Vec<Request> {
    let (rlm, model) =
        scripted("context, query -> answer", ["```repl\nprint 5 lines\nvalue 42\n```", second]);
    let rlm = rlm.profile(profile).build().unwrap();
    let context = "lorem ipsum ".repeat(1_000);
    let prediction = rlm.run(inputs! { context: context, query: "What was promised?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("answer").unwrap(), "peace");
    model.requests()
}

#[tokio::test]
async fn the_requests_of_other_systems_are_pinned() {
    let submit = "```python\nsubmit answer=peace\n```";
    for (profile, name) in [
        (Profile::Dspy, "dspy"),
        (Profile::Rlms, "rlms"),
        (Profile::Paper, "paper"),
        (Profile::OpenJarvis, "openjarvis"),
    ] {
        let requests = requests_as(profile, submit).await;
        let [first, second] = &requests[..] else { panic!("{name}: {}", requests.len()) };
        assert!(transcript(second).trim_end().starts_with(transcript(first).trim_end()), "{name} only grows");
        insta::assert_snapshot!(name, transcript(second));
    }
}

#[tokio::test]
async fn a_text_alone_means_what_it_means_elsewhere() {
    // OpenJarvis takes it for the answer at once, where a text can be one.
    let (rlm, model) = scripted("q -> a", ["It is peace."]);
    let rlm = rlm.profile(Profile::OpenJarvis).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Answered);
    assert_eq!(
        (prediction.get::<String>("a").unwrap().as_str(), model.requests().len()),
        ("It is peace.", 1)
    );

    // With rlms and the paper the run goes on, however often.
    for profile in [Profile::Rlms, Profile::Paper] {
        let thinks = || "I think.".to_owned();
        let (rlm, model) = scripted("q -> a", [thinks(), thinks(), thinks(), cell("submit a=peace")]);
        let prediction = rlm.profile(profile).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
        assert_eq!(prediction.get::<String>("a").unwrap(), "peace");
        assert!(!said(&model, 1).contains("no code"), "{}", said(&model, 1));
    }
    assert_eq!(said(&rlms_after_one_turn().await, 1), "REPL output:\n1\n\nTurn 2/30:");
}

async fn rlms_after_one_turn() -> ScriptedModel {
    let (rlm, model) = scripted("q -> a", [cell("print 1"), cell("submit a=x")]);
    rlm.profile(Profile::Rlms).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    model
}

#[tokio::test]
async fn the_last_call_asks_for_what_the_system_asks_for() {
    for (profile, reply) in [(Profile::Dspy, "{\"a\": \"peace\"}"), (Profile::Rlms, "peace")] {
        let (rlm, model) = scripted("q -> a", [cell("print 1"), reply.to_owned()]);
        let rlm = rlm.limits(|limits| limits.max_iterations(1)).profile(profile).build().unwrap();
        let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
        assert_eq!(prediction.get::<String>("a").unwrap(), "peace", "{profile:?}");
        assert_eq!(model.requests()[1].schema.is_some(), profile == Profile::Dspy);
    }
}

#[tokio::test]
async fn a_cell_that_does_not_compile_costs_a_turn_elsewhere() {
    let (rlm, model) = scripted("q -> a", [cell("syntax"), cell("submit a=x")]);
    let prediction = rlm.profile(Profile::Rlms).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert!(said(&model, 1).ends_with("SyntaxError: invalid syntax\n\nTurn 2/30:"), "{}", said(&model, 1));
    assert_eq!(prediction.trajectory().turns().len(), 2);
}

#[test]
fn limits_of_a_profile_are_defaults() {
    let built = |build: fn(abyme_core::RlmBuilder) -> abyme_core::RlmBuilder| {
        let (rlm, _) = scripted("q -> a", ["x"]);
        let rlm = build(rlm).build().unwrap();
        rlm.limits().clone()
    };
    let numbers = |limits: &abyme_core::Limits| {
        (limits.max_iterations, limits.max_llm_calls, limits.max_concurrent_calls, limits.max_output_chars)
    };
    assert_eq!(numbers(&built(|rlm| rlm.profile(Profile::Dspy))), (20, 50, 8, 10_000));
    assert_eq!(numbers(&built(|rlm| rlm.profile(Profile::Rlms))), (30, u32::MAX, 16, 20_000));
    assert_eq!(numbers(&built(|rlm| rlm.profile(Profile::Paper))), (30, u32::MAX, 1, 20_000));
    assert_eq!(numbers(&built(|rlm| rlm.profile(Profile::OpenJarvis))), (10, u32::MAX, 1, 10_000));
    let before = built(|rlm| rlm.limits(|limits| limits.max_llm_calls(7)).profile(Profile::Rlms));
    let after = built(|rlm| rlm.profile(Profile::Rlms).limits(|limits| limits.max_llm_calls(7)));
    assert_eq!((numbers(&before), before == after), ((30, 7, 16, 20_000), true));
    let back = built(|rlm| rlm.profile(Profile::Dspy).profile(Profile::Abyme));
    assert_eq!(back, abyme_core::Limits::default());
    assert_eq!(serde_json::to_value(Profile::OpenJarvis).unwrap(), "openjarvis");
    assert_eq!(serde_json::to_value(Profile::default()).unwrap(), "abyme");
}

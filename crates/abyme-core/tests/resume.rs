//! Runs that go on from their record: cut at every event, they end as if they had never ended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "resume/approval.rs"]
mod approval;
#[path = "resume/effects.rs"]
mod effects;
#[path = "resume/forks.rs"]
mod forks;
#[path = "resume/limits.rs"]
mod limits;
#[path = "resume/parts.rs"]
mod parts;
#[path = "resume/words.rs"]
mod words;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use abyme_core::{
    CodePolicy, Effect, EffectDecision, Error, ErrorKind, Event, Profile, Rlm, RlmBuilder, Trajectory, Usage,
    inputs, testing::ScriptedModel,
};
use words::{SCRIPT, WordsFactory, answered, cut, events, model, pretty_assert, set, tool, unbroken};

#[tokio::test]
async fn a_run_that_was_cut_at_any_event_ends_as_if_it_had_not_been() {
    let whole = set(SCRIPT, |rlm| rlm);
    let expected = unbroken(&whole).await.unwrap();
    assert_eq!(expected.get::<i64>("answer").unwrap(), 42);
    let record = expected.trajectory();
    let (models, tools) = answered(record);
    assert_eq!((models, tools), (whole.model.requests().len(), whole.tools.lock().unwrap().len()));
    let total = record.records().count();
    assert!(total > 150, "{total} events are enough to cut at");
    for records in 1..=total {
        let what = || format!("cut after {records} of {total}: {:?}", record.records().nth(records - 1));
        let begun = cut(record, records);
        let again = set(SCRIPT, |rlm| rlm);
        let resumed = again.rlm.resume_from(begun.clone()).await.unwrap_or_else(|error| {
            panic!("{}\n{error:?}", what());
        });
        assert_eq!(resumed.outputs(), expected.outputs(), "{}", what());
        assert_eq!(resumed.status(), expected.status());
        assert_eq!(resumed.usage(), expected.usage(), "{}", what());
        assert_eq!(resumed.trajectory().run(), record.run());
        assert_eq!(resumed.trajectory().ledger().total, *expected.usage(), "{}", what());
        let (had, used) = answered(&begun);
        assert_eq!(again.model.requests().len(), models - had, "model calls, {}", what());
        assert_eq!(again.tools.lock().unwrap().len(), tools - used, "tool calls, {}", what());
        pretty_assert(&events(resumed.trajectory()), &events(record), &what());
        if records == total {
            assert_eq!(
                again.factory.sessions.load(Ordering::Relaxed),
                0,
                "a run that ended needs no session"
            );
        } else if records % 7 == 0 {
            // A resume of a resume, cut half way between its going on and its end.
            let all = resumed.trajectory().records().count();
            let begun = cut(resumed.trajectory(), usize::midpoint(records, all));
            let third = set(SCRIPT, |rlm| rlm);
            let twice = third.rlm.resume_from(begun.clone()).await.unwrap();
            assert_eq!((twice.outputs(), twice.usage()), (expected.outputs(), expected.usage()));
            assert_eq!(third.model.requests().len(), models - answered(&begun).0, "{}", what());
            pretty_assert(&events(twice.trajectory()), &events(record), &what());
        }
    }
}

#[tokio::test]
async fn what_failed_is_asked_again_and_what_led_elsewhere_is_not() {
    let failures = Arc::new(AtomicU32::new(0));
    let inner = model(&["```python\nkeep one\n```", "```python\nshow\nsubmit answer=1\n```"]);
    let root = |fails: u32| {
        let (inner, failures) = (inner.clone(), failures.clone());
        ScriptedModel::from_fn(move |request| {
            let is_second = request.messages.len() > 3;
            if is_second && failures.fetch_add(1, Ordering::Relaxed) < fails {
                return Err(Error::new(ErrorKind::QuotaExceeded, "no credit").with_usage(Usage::tokens(1, 0)));
            }
            futures_util::FutureExt::now_or_never(abyme_core::LanguageModel::complete(&inner, request))
                .unwrap()
        })
    };
    let rlm = |fails| {
        let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(root(fails));
        rlm.interpreter(WordsFactory::new()).build().unwrap()
    };
    let error = rlm(1).run(inputs! { docs: "d" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    let begun = error.trajectory().unwrap().clone();
    let prediction = rlm(1).resume_from(begun).await.unwrap();
    assert_eq!(prediction.get::<i64>("answer").unwrap(), 1);
    assert_eq!(prediction.usage().calls, 3, "the call that failed counts too");
    assert_eq!(prediction.trajectory().ledger().total, *prediction.usage());
    assert_eq!(prediction.trajectory().usage(), Some(prediction.usage()));
    let seen = prediction.trajectory().turns()[1].observation.clone().unwrap();
    assert_eq!(seen.stdout.to_string(), "kept: one\n", "the session was brought up to date");
}

#[tokio::test]
async fn a_record_of_another_task_is_refused_with_what_differs() {
    let first = set(SCRIPT, |rlm| rlm);
    let record = cut(unbroken(&first).await.unwrap().trajectory(), 20);
    let other = |signature: &str, instructions: &str| {
        let rlm = Rlm::builder(signature).instructions(instructions).model(model(SCRIPT));
        rlm.interpreter(WordsFactory::new()).tool(tool(&Arc::default())).build().unwrap()
    };
    let error = other("docs -> answers: list[int]", "ROOT").resume_from(record.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("answers: list[int]"), "{error}");
    let error =
        other("docs -> answer: int", "ROOT, but other").resume_from(record.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the beginning differs"), "{error}");
    assert!(format!("{error:?}").contains("ROOT, but other"), "{error:?}");
    let error = first.rlm.resume_from(Trajectory::default()).await.unwrap_err();
    assert!(error.to_string().contains("does not begin"), "{error}");
}

#[tokio::test]
async fn a_profile_a_policy_and_tools_in_python_have_to_be_as_they_were() {
    const SHOUT: &str = "def shout(text: str) -> str:\n    \"\"\"Shouts.\"\"\"\n    return text.upper()\n";
    let whole = |rlm: RlmBuilder| {
        rlm.profile(Profile::Standard).policy(CodePolicy::guard_rail()).python_tools("tools.py", SHOUT)
    };
    let first = unbroken(&set(SCRIPT, whole)).await.unwrap();
    let Some(Event::RunStarted { profile, policy, python_tools, .. }) = first.trajectory().events().next()
    else {
        panic!("no beginning")
    };
    assert_eq!((profile.as_deref(), policy.as_deref()), (Some("standard"), Some("guard_rail")));
    assert_eq!(python_tools[0].name, "tools.py");
    let of_children = first.trajectory().events().skip(1).filter_map(|event| match event {
        Event::RunStarted { profile, policy, python_tools, .. } => Some((profile, policy, python_tools)),
        _ => None,
    });
    let of_children: Vec<_> = of_children.collect();
    assert!(!of_children.is_empty());
    assert!(of_children.iter().all(|begun| *begun == (&None, &None, &Vec::new())));

    let record = cut(first.trajectory(), 20);
    let resumed = |change: fn(RlmBuilder) -> RlmBuilder| {
        let (again, record) = (set(SCRIPT, change), record.clone());
        async move { again.rlm.resume_from(record).await }
    };
    let own = || CodePolicy::guard_rail().deny_import("json");
    type Change = fn(RlmBuilder) -> RlmBuilder;
    let cases: [(Change, &str); 5] = [
        (
            |rlm| rlm.policy(CodePolicy::guard_rail()).python_tools("tools.py", SHOUT),
            "the record is of the profile `standard`, and cannot go on with `abyme`",
        ),
        (
            |rlm| rlm.profile(Profile::Standard).python_tools("tools.py", SHOUT),
            "the record has the policy `guard_rail` for its cells, and cannot go on with no policy",
        ),
        (
            |rlm| rlm.profile(Profile::Standard).policy(CodePolicy::guard_rail()),
            "the record is not of this task: the tools of `tools.py` are missing; the beginning differs in",
        ),
        (
            |rlm| {
                let rlm = rlm.profile(Profile::Standard).policy(CodePolicy::guard_rail());
                rlm.python_tools("tools.py", SHOUT.replace("text", "words"))
            },
            "the tools of `tools.py` are not as they were; the beginning differs in",
        ),
        (
            |rlm| {
                let rlm = rlm.profile(Profile::Standard).policy(CodePolicy::guard_rail());
                let more = SHOUT.replace("shout", "whisper");
                rlm.python_tools("tools.py", SHOUT).python_tools("more.py", more)
            },
            "the tools of `more.py` are new; the beginning differs in",
        ),
    ];
    for (change, said) in cases {
        let error = resumed(change).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    // Another policy is not this one, and what it is called is not its name.
    let again = set(SCRIPT, move |rlm| whole(rlm).policy(own()));
    let error = again.rlm.resume_from(record.clone()).await.unwrap_err().to_string();
    assert!(error.contains("cannot go on with the policy `") && !error.contains("with no policy"), "{error}");
    // Code that the model does not read may be mended.
    let ended = resumed(|rlm| {
        let rlm = rlm.profile(Profile::Standard).policy(CodePolicy::guard_rail());
        rlm.python_tools("tools.py", SHOUT.replace("upper()", "upper() + '!'"))
    });
    let ended = ended.await.unwrap();
    let notes = ended.trajectory().events().find_map(|event| match event {
        Event::RunResumed { notes, .. } => Some(notes.clone()),
        _ => None,
    });
    assert_eq!(notes.unwrap(), ["the tools of `tools.py` are not as they were"]);
}

#[tokio::test]
async fn an_effect_that_began_is_not_made_again_without_asking() {
    let effect = |set: &mut Arc<Mutex<Vec<String>>>| tool(set).effect(Effect::Write);
    let mut calls = Arc::default();
    const REPLIES: &[&str] = &["```python\ntool x\n```", "```python\nsubmit answer=1\n```"];
    let build = |calls: &mut Arc<Mutex<Vec<String>>>| {
        let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model(REPLIES));
        rlm.interpreter(WordsFactory::new()).tool(effect(calls)).build().unwrap()
    };
    let whole = build(&mut calls).run(inputs! { docs: "d" }).await.unwrap();
    let begun = whole.trajectory().events().position(|event| matches!(event, Event::ToolCallStarted { .. }));
    let begun = cut(whole.trajectory(), begun.unwrap() + 1);
    let mut calls = Arc::default();
    let error = build(&mut calls).resume_from(begun.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`look(text='x')` had begun"), "{error}");
    assert!(calls.lock().unwrap().is_empty());
    let again = build(&mut calls).resume_from(begun).on_unfinished_effect(|effect| match &*effect.tool {
        "look" => EffectDecision::Repeat,
        _ => EffectDecision::Stop,
    });
    assert_eq!(again.await.unwrap().outputs(), whole.outputs());
    assert_eq!(*calls.lock().unwrap(), ["x"]);
}

#[tokio::test]
async fn a_replay_makes_no_call_and_finds_the_first_difference() {
    let first = set(SCRIPT, |rlm| rlm);
    let record = unbroken(&first).await.unwrap();
    let again = set(SCRIPT, |rlm| rlm);
    let replay = again.rlm.replay_from(record.trajectory().clone()).await.unwrap_or_else(|error| {
        panic!("{error:?}");
    });
    assert_eq!((replay.outputs(), replay.usage()), (record.outputs(), record.usage()));
    assert!(again.model.requests().is_empty() && again.tools.lock().unwrap().is_empty());
    assert_ne!(replay.trajectory().run(), record.trajectory().run());
    pretty_assert(&events(replay.trajectory()), &events(record.trajectory()), "the replay");
    let cells = first.factory.cells.lock().unwrap().len();
    assert_eq!(again.factory.cells.lock().unwrap().len(), cells, "every cell ran, those of children too");

    // The record ends before its run did.
    let error = again.rlm.replay_from(cut(record.trajectory(), 60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(error.difference().is_none() && again.model.requests().is_empty());
}

#[tokio::test]
async fn a_cell_that_does_something_else_is_told_and_may_go_on() {
    const REPLIES: &[&str] = &["```python\nclock\n```", "```python\nsubmit answer=1\n```"];
    let first = set(REPLIES, |rlm| rlm);
    let record = unbroken(&first).await.unwrap().trajectory().clone();
    let error = first.rlm.replay_from(record.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Differs);
    assert_eq!(error.to_string().lines().count(), 1);
    let difference = error.difference().unwrap();
    assert_eq!(difference.turn, 1);
    assert!(difference.recorded.contains('0') && difference.now.contains('1'), "{difference}");
    assert_eq!(first.model.requests().len(), 2, "only the first run asked");

    let live = first.rlm.replay_from(record.clone()).live().await.unwrap();
    assert_eq!(live.difference().unwrap().turn, 1);
    assert_eq!(first.model.requests().len(), 3, "the second turn was asked for anew");

    let resumed = first.rlm.resume_from(cut(&record, 7)).await.unwrap();
    let told = resumed.trajectory().events().find_map(|event| match event {
        Event::SessionRebuilt { cells, differences, .. } => Some((*cells, differences.len())),
        _ => None,
    });
    assert_eq!(told, Some((1, 1)), "a resumed run says that the session may differ");
}

#[tokio::test]
async fn a_run_goes_on_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let first = set(SCRIPT, |rlm| rlm);
    let whole = first.rlm.run(inputs! { docs: "some text" }).trace(&path).await.unwrap();
    let seeded = |event: &Event| matches!(event, Event::RunStarted { seed: Some(_), parent: None, .. });
    assert!(whole.trajectory().events().any(seeded), "what is kept in a file can be done again");
    // What a process leaves that is killed.
    cut(whole.trajectory(), 40).save(&path).unwrap();
    let again = set(SCRIPT, |rlm| rlm);
    let resumed = again.rlm.resume(&path).await.unwrap();
    assert_eq!((resumed.outputs(), resumed.usage()), (whole.outputs(), whole.usage()));
    assert_eq!(Trajectory::load(&path).unwrap().to_jsonl(), resumed.trajectory().to_jsonl());

    let third = set(SCRIPT, |rlm| rlm);
    assert_eq!(third.rlm.resume(&path).await.unwrap().outputs(), whole.outputs());
    assert_eq!(third.rlm.replay(&path).await.unwrap().outputs(), whole.outputs());
    assert!(third.model.requests().is_empty());
    let fork = dir.path().join("fork.jsonl");
    let forked = third.rlm.fork(&path, 3).trace(&fork).await.unwrap();
    assert_eq!(Trajectory::load(&fork).unwrap().to_jsonl(), forked.trajectory().to_jsonl());
    assert_eq!(third.rlm.resume(&fork).await.unwrap().outputs(), whole.outputs());
    let error = third.rlm.resume(dir.path().join("none.jsonl")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

//! Runs that go on with other limits than they had, and limits that go on counting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme_core::{
    Error, ErrorKind, Event, Limit, Request, Response, Rlm, RlmBuilder, Role, Status, Trajectory, inputs,
    testing::ScriptedModel,
};

use super::words::{Set, WordsFactory, answered, cut, scripted, set, set_of, tool, unbroken};

#[tokio::test]
async fn higher_limits_lead_beyond_a_run_that_ended_by_them() {
    const REPLIES: &[&str] =
        &["```python\nkeep one\n```", "{}", "{}", "```python\nshow\nsubmit answer=1\n```"];
    let first = set(REPLIES, |rlm| rlm.limits(|limits| limits.max_iterations(1)));
    let error = unbroken(&first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let begun = error.trajectory().unwrap().clone();
    let same = set(REPLIES, |rlm| rlm);
    let again = same.rlm.resume_from(begun.clone()).await.unwrap_err();
    assert_eq!((again.to_string(), again.kind()), (error.to_string(), error.kind()));
    assert!(same.model.requests().is_empty());

    let more = set(&["```python\nkeep one\n```", "```python\nshow\nsubmit answer=1\n```"], |rlm| rlm);
    let prediction = more.rlm.resume_from(begun).limits(|limits| limits.max_iterations(5)).await.unwrap();
    assert_eq!((prediction.status(), prediction.turns()), (Status::Submitted, 2));
    assert_eq!(more.model.requests().len(), 1, "the first turn is not asked for again");
    assert_eq!(
        prediction.usage().calls,
        4,
        "what the calls used that do not count any more is paid all the same"
    );
    let aside = prediction.trajectory().events().find_map(|event| match event {
        Event::RunResumed { records, .. } => Some(*records as usize),
        _ => None,
    });
    let all = prediction.trajectory().events().position(|event| matches!(event, Event::RunResumed { .. }));
    assert!(aside < all, "{aside:?} of {all:?}");
    let third = more.rlm.resume_from(prediction.trajectory().clone()).await.unwrap();
    assert_eq!(third.outputs(), prediction.outputs());
    assert_eq!(third.usage(), prediction.usage());
    let fork = more.rlm.fork_from(prediction.trajectory(), 1).await.unwrap();
    assert_eq!(fork.status(), Status::Submitted, "a fork has the limits that the run went on with");
}

/// What the model reads last in its request of this number.
fn said(model: &ScriptedModel, request: usize) -> String {
    model.requests()[request].messages.last().unwrap().content.clone()
}

#[tokio::test]
async fn other_limits_lead_to_another_request() {
    const REPLIES: &[&str] =
        &["```python\nkeep one\n```", "{\"answer\": 2}", "```python\nsubmit answer=1\n```"];
    let with = |turns: u32| set(REPLIES, move |rlm| rlm.limits(move |limits| limits.max_iterations(turns)));
    let (short, long) = (with(1), with(5));
    let shortened = unbroken(&short).await.unwrap();
    let whole = unbroken(&long).await.unwrap();
    assert_eq!((shortened.get::<i64>("answer").unwrap(), whole.get::<i64>("answer").unwrap()), (2, 1));
    assert_ne!(said(&short.model, 1), said(&long.model, 1));
    let (shortened, whole) = (shortened.trajectory(), whole.trajectory());
    for (record, turns, other, answer) in [(shortened, 5, &long, 1), (whole, 1, &short, 2)] {
        let is_reply = |event: &Event| matches!(event, Event::ModelReplied { .. });
        let first = record.events().position(is_reply).unwrap() + 1;
        for records in first..=record.records().count() {
            let again = set(REPLIES, |rlm| rlm);
            let run = again.rlm.resume_from(cut(record, records));
            let prediction = run.limits(|limits| limits.max_iterations(turns)).await.unwrap();
            let what = format!("{turns} turns after {records} records");
            assert_eq!(prediction.get::<i64>("answer").unwrap(), answer, "{what}");
            assert_eq!(said(&again.model, 0), said(&other.model, 1), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_without_time_for_another_try_goes_on_with_more() {
    let is_well = Arc::new(AtomicBool::new(false));
    let seen = is_well.clone();
    let model = ScriptedModel::from_fn(move |request: &Request| {
        let turn = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
        let is_extract = request.messages.last().unwrap().content.contains("The run has to end now");
        match turn {
            _ if is_extract => Ok(Response::new("{\"answer\": 2}")),
            0 => Ok(Response::new("```python\nkeep one\n```")),
            _ if seen.load(Ordering::Relaxed) => Ok(Response::new("```python\nsubmit answer=1\n```")),
            _ => Err(Error::new(
                ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(20)) },
                "not so fast",
            )),
        }
    });
    let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model.clone());
    let rlm = rlm.interpreter(WordsFactory::new()).build().unwrap();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let run = rlm.run(inputs! { docs: "d" }).limits(|limits| limits.run_timeout(seconds(10)));
    let ended = run.await.unwrap();
    assert_eq!(ended.status(), Status::LimitReached(Limit::Time));
    let record = ended.trajectory();
    let failed = record.events().position(|event| match event {
        Event::ModelCallFailed { kind, error, .. } => {
            assert_eq!(*kind, ErrorKind::LimitReached);
            error.contains("not so fast")
        }
        _ => false,
    });
    let failed = failed.unwrap() + 1;
    // The request that failed last is made again, and one that it led to is not lost.
    for (records, asked) in [(failed, 2), (failed + 1, 1), (record.records().count(), 0)] {
        let before = model.requests().len();
        let again = rlm.resume_from(cut(record, records)).await.unwrap();
        assert_eq!((again.outputs(), again.status()), (ended.outputs(), ended.status()));
        assert_eq!(model.requests().len() - before, asked, "after {records} records");
    }
    is_well.store(true, Ordering::Relaxed);
    for records in failed..=record.records().count() {
        let run = rlm.resume_from(cut(record, records));
        let again = run.limits(|limits| limits.run_timeout(seconds(1_000))).await.unwrap();
        assert_eq!((again.get::<i64>("answer").unwrap(), again.status()), (1, Status::Submitted));
    }
}

#[tokio::test]
async fn a_child_that_other_limits_lead_elsewhere_leaves_the_record_of_others_alone() {
    const ROOT: &[&str] =
        &["```python\nchildren child-1|child-2\ntool x\n```", "```python\nsubmit answer=1\n```"];
    const CHILD: &[&str] = &[
        "```python\nask of the child\nchild child-below\n```",
        "```python\nshow\n```",
        "{\"answer\": \"cut\"}",
        "```python\nsubmit answer=grown\n```",
    ];
    let build = || set_of(scripted(ROOT, CHILD), |rlm| rlm.limits(|limits| limits.max_iterations(2)));
    let whole = unbroken(&build()).await.unwrap();
    let record = whole.trajectory();
    let left = |trajectory: &Trajectory| {
        let is_child = |record: &&abyme_core::Record| record.run != trajectory.run();
        let resumed = trajectory.records().filter(is_child);
        resumed.filter(|record| matches!(record.event, Event::RunResumed { .. })).count()
    };
    let mut children = 0;
    for records in 1..=record.records().count() {
        let begun = cut(record, records);
        let again = build();
        let run = again.rlm.resume_from(begun.clone()).limits(|limits| limits.max_iterations(5));
        let resumed = run.await.unwrap();
        let made = |of: &Trajectory, set: &Set| (answered(of).0 + set.model.requests().len()) as u64;
        assert_eq!(resumed.usage().calls, made(&begun, &again), "each call is paid once, after {records}");
        assert_eq!(resumed.trajectory().ledger().total, *resumed.usage(), "after {records}");
        children += left(resumed.trajectory());

        let all = resumed.trajectory().records().count();
        for begun in [cut(resumed.trajectory(), usize::midpoint(records, all)), resumed.trajectory().clone()]
        {
            let third = build();
            let twice = third.rlm.resume_from(begun.clone()).await.unwrap();
            assert_eq!(twice.outputs(), resumed.outputs(), "after {records}");
            assert_eq!(twice.usage().calls, made(&begun, &third), "after {records}, and once more");
            assert_eq!(twice.trajectory().ledger().total, *twice.usage(), "after {records}, and once more");
        }
    }
    assert!(children > 0, "some child left its record");
}

#[tokio::test]
async fn calls_of_tools_count_once() {
    const ROOT: &[&str] = &[
        "```python\nchildren child-1|child-2\ntool x\n```",
        "```python\ntool late\n```",
        "```python\nsubmit answer=1\n```",
    ];
    const CHILD: &[&str] = &["```python\ntool c\nsubmit answer=grown\n```"];
    let build = || {
        let calls = Arc::default();
        let limited = move |_: RlmBuilder| {
            let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(scripted(ROOT, CHILD));
            rlm.interpreter(WordsFactory::new()).tool(tool(&calls).max_calls(3))
        };
        set_of(scripted(ROOT, CHILD), limited)
    };
    let printed = |trajectory: &Trajectory| {
        let turns = trajectory.turns();
        turns[..2].iter().map(|turn| turn.observation.clone().unwrap().stdout.to_string()).collect::<Vec<_>>()
    };
    let whole = unbroken(&build()).await.unwrap();
    let expected = printed(whole.trajectory());
    assert!(expected[0].contains("seen x") && !expected[1].contains("seen late"), "{expected:?}");
    for records in 1..=whole.trajectory().records().count() {
        let resumed = build().rlm.resume_from(cut(whole.trajectory(), records)).await.unwrap();
        assert_eq!(printed(resumed.trajectory()), expected, "after {records} records");
    }
}

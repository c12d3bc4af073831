//! Records whose parts were made under different limits: a replay, and a run that goes on once more, go by
//! those of each part.

use abyme_core::{
    CodePolicy, ErrorKind, Event, LanguageModel, Limits, Prediction, Profile, Record, Response, Status,
    Trajectory, Usage, testing::ScriptedModel,
};
use futures_util::FutureExt;

use super::words::{Set, answered, cut, events, pretty_assert, scripted, set_of, unbroken};

/// A line that some limits cut.
const LONG: &str = "long line, which the smaller limits of an observation show in part alone, and others \
    whole: one, two, three, four, five, six, seven, eight, nine, ten";

const ROOT: &[&str] = &[
    "```python\nkeep one\nask first\nbudget\nshow\n```",
    "```python\nchildren child-1|child-2\nbudget\nbatch a|b|c|d\ntool x\n```",
    "```python\nbudget\nask again\nshow\n```",
    "no code in this",
    "```python\nsubmit answer=many\n```",
    "```python\nchild child-3\nbudget\nprint_long\n```",
    "```python\nshow\nsubmit answer=42\n```",
];
const CHILD: &[&str] = &[
    "```python\nask of the child\nbudget\n```",
    "```python\nshow\n```",
    "```python\nask of the child again\n```",
    "```python\nsubmit answer=grown\n```",
];

/// A model that gives outputs when it is asked for them, and else follows the scripts.
fn model() -> ScriptedModel {
    let inner = scripted(ROOT, CHILD);
    ScriptedModel::from_fn(move |request| {
        let last = &request.messages.last().unwrap().content;
        if last.contains("The run has to end now") {
            let answer =
                if last.contains("answer: int") { "{\"answer\": 7}" } else { "{\"answer\": \"cut\"}" };
            return Ok(Response::new(answer).usage(Usage::tokens(10, 2).cost(0.25)));
        }
        let mut response = inner.complete(request).now_or_never().unwrap()?;
        response.text = response.text.replace("print_long", LONG);
        Ok(response)
    })
}

fn build() -> Set {
    set_of(model(), |rlm| rlm.limits(first))
}

fn first(limits: Limits) -> Limits {
    limits.max_iterations(2).max_llm_calls(9).max_output_chars(400)
}

fn second(limits: Limits) -> Limits {
    limits.max_iterations(4).max_llm_calls(30).max_output_chars(60).max_tokens(100_000)
}

fn third(limits: Limits) -> Limits {
    limits
        .max_iterations(20)
        .max_llm_calls(100)
        .max_output_chars(10_000)
        .max_cost(900.0)
        .max_preview_chars(50)
}

async fn resumed(record: &Trajectory, limits: impl FnOnce(Limits) -> Limits) -> Prediction {
    build().rlm.resume_from(record.clone()).limits(limits).await.unwrap()
}

/// Replays a record, and the record of that, without a difference or a call.
async fn replayed(prediction: &Prediction, what: &str) {
    let mut record = prediction.trajectory().clone();
    for time in ["once", "twice"] {
        let again = build();
        let replay = again.rlm.replay_from(record.clone()).await;
        let replay = replay.unwrap_or_else(|error| {
            let difference = error.difference().map(ToString::to_string);
            panic!("{what}, {time}\n{error:?}\n{}", difference.unwrap_or_default())
        });
        assert_eq!(replay.outputs(), prediction.outputs(), "{what}, {time}");
        assert_eq!(replay.status(), prediction.status(), "{what}, {time}");
        assert!(
            again.model.requests().is_empty() && again.tools.lock().unwrap().is_empty(),
            "{what}, {time}"
        );
        record = replay.trajectory().clone();
    }
}

#[tokio::test]
async fn each_part_is_replayed_under_its_own_limits() {
    let whole = unbroken(&build()).await.unwrap();
    assert!(matches!(whole.status(), Status::LimitReached(_)), "{:?}", whole.status());
    replayed(&whole, "the first part").await;
    let longer = resumed(whole.trajectory(), second).await;
    assert!(matches!(longer.status(), Status::LimitReached(_)), "{:?}", longer.status());
    replayed(&longer, "two parts").await;
    let longest = resumed(longer.trajectory(), third).await;
    assert_eq!((longest.get::<i64>("answer").unwrap(), longest.status()), (42, Status::Submitted));
    replayed(&longest, "three parts").await;

    // The limits were told, and some of them were reached.
    let text = longest.trajectory().to_jsonl();
    for said in ["(turn 1 of 2; ", "(turn 3 of 4; ", "(turn 5 of 20; ", "sub-call limit: 4 more asked for"] {
        assert!(text.contains(said), "{said}");
    }
    let same = build().rlm.resume_from(longest.trajectory().clone()).await.unwrap();
    assert_eq!((same.outputs(), same.usage()), (longest.outputs(), longest.usage()));
}

#[tokio::test]
async fn parts_that_end_anywhere_are_replayed_too() {
    let whole = unbroken(&build()).await.unwrap();
    let total = whole.trajectory().records().count();
    let mut parts = 0;
    for records in 1..=total {
        let what = format!("cut after {records} of {total}");
        let longer = resumed(&cut(whole.trajectory(), records), second).await;
        replayed(&longer, &what).await;
        // Once more, from anywhere in the second part.
        let all = longer.trajectory().records().count();
        let step = if records == total / 2 { 1 } else { 7 };
        for records in (records + 1..=all).step_by(step) {
            let what = format!("{what}, and after {records} of {all}");
            let begun = cut(longer.trajectory(), records);
            let longest = resumed(&begun, third).await;
            replayed(&longest, &what).await;
            // Under the limits that it had, what the first two processes did is done again as it was.
            let again = build();
            let same = again.rlm.resume_from(begun.clone()).await.unwrap();
            assert_eq!(same.outputs(), longer.outputs(), "{what}");
            assert_eq!(
                answered(&begun).0 + again.model.requests().len(),
                answered(longer.trajectory()).0,
                "{what}"
            );
            // Where the second process had done nothing yet, what the first one had said last may stay.
            let has_begun = !matches!(begun.events().last(), Some(Event::RunResumed { .. }));
            if has_begun {
                pretty_assert(&events(same.trajectory()), &events(longer.trajectory()), &what);
            }
            replayed(&same, &what).await;
            parts += 1;
        }
    }
    assert!(parts > 100, "{parts}");
}

#[tokio::test]
async fn a_replay_says_what_is_not_as_it_was() {
    let whole = unbroken(&build()).await.unwrap();
    let other =
        set_of(model(), |rlm| rlm.limits(first).policy(CodePolicy::guard_rail()).profile(Profile::Dspy));
    let error = other.rlm.replay_from(whole.trajectory().clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Differs);
    let said = format!("{error:?}");
    for changed in ["the profile was `abyme` and is `dspy`", "the policy was none and is `guard_rail`"] {
        assert!(said.contains(changed), "{said}");
    }
}

#[tokio::test]
async fn a_fork_keeps_the_limits_of_each_part() {
    let whole = unbroken(&build()).await.unwrap();
    let longer = resumed(whole.trajectory(), second).await;
    for turn in 0..=3 {
        let set = build();
        let fork = set.rlm.fork_from(longer.trajectory(), turn).limits(third).await.unwrap();
        assert_eq!(fork.get::<i64>("answer").unwrap(), 42);
        replayed(&fork, &format!("a fork at {turn}")).await;
        let below = set.rlm.fork_from(fork.trajectory(), 5).limits(second).await.unwrap();
        replayed(&below, &format!("a fork of a fork at {turn}")).await;
    }
}

/// The same record, with another limit in one of its parts.
fn edited(record: &Trajectory, part: usize, change: impl Fn(&mut Limits)) -> Trajectory {
    let run = record.run().to_owned();
    let mut parts = 0;
    let records = record.records().cloned().map(|mut record: Record| {
        let is_own = record.run == run;
        if let Event::RunStarted { limits, .. } | Event::RunResumed { limits, .. } = &mut record.event
            && is_own
        {
            if parts == part {
                change(limits);
            }
            parts += 1;
        }
        record
    });
    records.collect()
}

#[tokio::test]
async fn an_edited_limit_is_a_difference() {
    let whole = unbroken(&build()).await.unwrap();
    let longer = resumed(whole.trajectory(), second).await;
    let longest = resumed(longer.trajectory(), third).await;
    let difference = |part, change: fn(&mut Limits)| {
        let record = edited(longest.trajectory(), part, change);
        async move {
            let error = build().rlm.replay_from(record).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Differs, "{error}");
            error.difference().unwrap().clone()
        }
    };
    let found = difference(0, |limits| limits.max_llm_calls = 10).await;
    assert!(found.summary().starts_with("the beginning differs in the request to the model"), "{found}");
    assert!(found.recorded.contains("and 9 sub-calls") && found.now.contains("and 10 sub-calls"), "{found}");
    let found = difference(0, |limits| limits.max_output_chars = 399).await;
    assert!(found.now.contains("cut to 399 characters"), "{found}");
    let found = difference(1, |limits| limits.max_llm_calls = 31).await;
    assert!(found.summary().starts_with("turn 3 differs in the request to the model"), "{found}");
    assert!(found.recorded.contains(" of 30 sub-calls") && found.now.contains(" of 31 sub-calls"), "{found}");
    let found = difference(2, |limits| limits.max_iterations = 4).await;
    assert!(found.now.contains("The run has to end now: no turn is left of 4"), "{found}");

    // What the caller of a replay changes holds for all of it.
    let changed =
        build().rlm.replay_from(longest.trajectory().clone()).limits(|limits| limits.max_llm_calls(9));
    let found = changed.await.unwrap_err().difference().unwrap().clone();
    assert!(found.recorded.contains(" of 30 sub-calls") && found.now.contains(" of 9 sub-calls"), "{found}");
}

//! Calls of tools with effects wait for approval, and the record answers for it when a run goes on.

use std::sync::{Arc, Mutex};

use abyme_core::{
    Approval, ApprovalRequest, Effect, EffectDecision, Event, Rlm, RlmBuilder, Run, Trajectory, inputs,
};

use super::words::{WordsFactory, cut, events, model, pretty_assert, tool};

/// What was asked, and what was called.
#[derive(Clone, Default)]
struct Log {
    asked: Arc<Mutex<Vec<ApprovalRequest>>>,
    called: Arc<Mutex<Vec<String>>>,
}

const SCRIPT: &[&str] = &[
    "```python\ntool x\ntool y\ntool x\n```",
    "```python\nchild child-1\n```",
    "```python\nsubmit answer=1\n```",
];

/// A run whose tool has these effects. `x` is approved, `panic` is what it says, and all others are denied.
fn built(seen: &Log, effects: &[Effect], change: impl FnOnce(RlmBuilder) -> RlmBuilder) -> Rlm {
    let tool = effects.iter().fold(tool(&seen.called), |tool, effect| tool.effect(*effect));
    let asked = seen.asked.clone();
    let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model(SCRIPT)).tool(tool);
    let rlm = rlm.interpreter(WordsFactory::new()).approve_tools(move |request| {
        asked.lock().unwrap().push(request.clone());
        async move {
            match request.arguments["text"].repr(99).as_str() {
                "'x'" => Approval::Given,
                "'panic'" => panic!("on purpose"),
                _ => Approval::Denied("it is late".to_owned()),
            }
        }
    });
    change(rlm).build().unwrap()
}

fn started(rlm: &Rlm) -> Run {
    rlm.run(inputs! { docs: "some text" })
}

/// What the calls of tools were answered, and the end of each, as the record has them.
fn recorded(record: &Trajectory) -> Vec<(Option<Approval>, Option<String>)> {
    let end = |number: u32, run: &str| {
        let ends = record.records().filter(|record| record.run == run);
        let mut ends = ends.filter_map(|record| match &record.event {
            Event::ToolCallFinished { call, outcome, .. } if *call == number => Some(outcome),
            _ => None,
        });
        ends.next().and_then(|outcome| outcome.failure().map(str::to_owned))
    };
    let started = record.records().filter_map(|record| match &record.event {
        Event::ToolCallStarted { call, approval, .. } => Some((approval.clone(), end(*call, &record.run))),
        _ => None,
    });
    started.collect()
}

#[tokio::test]
async fn a_tool_with_an_effect_is_called_when_that_is_approved_and_a_denial_is_an_exception() {
    let seen = Log::default();
    let rlm = built(&seen, &[Effect::Network, Effect::Write, Effect::Network], |rlm| rlm);
    let run = started(&rlm).await.unwrap();
    let record = run.trajectory();
    let said = record.turns()[0].observation.clone().unwrap().stdout.to_string();
    assert_eq!(
        said,
        "'seen x'\nPermissionError: `look` was not called, because approval was denied: it is late. The \
         same call will be denied again: go on without it.\n'seen x'\n"
    );
    assert_eq!(*seen.called.lock().unwrap(), ["x", "x"], "what was denied is not called");
    let asked = seen.asked.lock().unwrap();
    let first = &asked[0];
    assert_eq!((&*first.run, first.turn, &*first.tool), (record.run(), 1, "look"));
    assert_eq!(first.effects, [Effect::Write, Effect::Network]);
    assert_eq!(asked.len(), 3);
    let denial = Approval::Denied("it is late".to_owned());
    let answers: Vec<_> = recorded(record).into_iter().map(|(approval, _)| approval.unwrap()).collect();
    assert_eq!(answers, [Approval::Given, denial, Approval::Given]);
    let Some(Event::RunStarted { effects, .. }) = record.events().next() else { panic!("no beginning") };
    assert_eq!(effects["look"], [Effect::Write, Effect::Network]);
    let line = record.records().find(|one| matches!(one.event, Event::ToolCallStarted { .. })).unwrap();
    assert!(line.to_line().contains(r#""approval":"given""#), "{}", line.to_line());
    let read = Trajectory::from_jsonl(&record.to_jsonl()).unwrap();
    assert_eq!(events(&read), events(record));
}

#[tokio::test]
async fn what_only_reads_asks_nobody_and_neither_does_a_run_without_somebody_to_ask() {
    let seen = Log::default();
    started(&built(&seen, &[Effect::Read], |rlm| rlm)).await.unwrap();
    started(&built(&seen, &[], |rlm| rlm)).await.unwrap();
    assert!(seen.asked.lock().unwrap().is_empty());
    let called = seen.called.clone();
    let nobody = Rlm::builder("docs -> answer: int").instructions("ROOT").model(model(SCRIPT));
    let nobody = nobody.interpreter(WordsFactory::new()).tool(tool(&called).effect(Effect::Write));
    let run = started(&nobody.build().unwrap()).await.unwrap();
    assert!(recorded(run.trajectory()).iter().all(|(approval, _)| approval.is_none()));
    assert_eq!(seen.called.lock().unwrap().len(), 9, "all were made");
}

/// One run may ask another one than its `Rlm`; a panic is a denial; children ask too.
#[tokio::test]
async fn the_last_approver_decides_for_the_children_too() {
    let seen = Log::default();
    let rlm = built(&seen, &[Effect::Write], |rlm| rlm.limits(|limits| limits.max_depth(1)));
    let children =
        |rlm: RlmBuilder| rlm.model(super::words::scripted(&["```python\nchild child-1\n```"], CHILD));
    const CHILD: &[&str] = &["```python\ntool panic\n```", "```python\nsubmit answer=1\n```"];
    let of_child = built(&seen, &[Effect::Write], children);
    let run = started(&of_child).await;
    let record = match &run {
        Ok(run) => run.trajectory(),
        Err(error) => error.trajectory().unwrap(),
    };
    assert!(!seen.asked.lock().unwrap().is_empty());
    assert!(seen.asked.lock().unwrap().iter().all(|request| request.run != record.run()), "of the child");
    assert!(seen.called.lock().unwrap().is_empty());
    assert!(recorded(record)[0].1.as_ref().unwrap().contains("asking for approval failed"));

    let strict = started(&rlm).approve_tools(|_| async { Approval::Denied(String::new()) });
    let run = strict.await.unwrap();
    let (_, why) = &recorded(run.trajectory())[0];
    assert!(why.as_ref().unwrap().starts_with("`look` was not called, because approval was denied. The"));
    assert!(seen.called.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_run_that_goes_on_asks_about_no_call_that_its_record_has_an_answer_for() {
    let whole = Log::default();
    let expected = started(&built(&whole, &[Effect::Write], |rlm| rlm)).await.unwrap();
    let record = expected.trajectory();
    let calls = whole.asked.lock().unwrap().len();
    let mut denied_open = 0;
    for records in 1..=record.records().count() {
        let begun = cut(record, records);
        let answers = recorded(&begun);
        let last = begun.events().last();
        let is_open = matches!(last, Some(Event::ToolCallStarted { .. }));
        denied_open += usize::from(is_open && matches!(answers.last(), Some((Some(Approval::Denied(_)), _))));
        let seen = Log::default();
        let again = built(&seen, &[Effect::Write], |rlm| rlm).resume_from(begun.clone());
        // A call that was denied has not begun, so nobody is asked about it.
        let resumed = again.on_unfinished_effect(|effect| {
            assert_eq!(effect.arguments["text"].repr(99), "'x'");
            EffectDecision::Repeat
        });
        let resumed = resumed.await.unwrap_or_else(|error| panic!("cut after {records}: {error:?}"));
        assert_eq!(resumed.outputs(), expected.outputs());
        assert_eq!(seen.asked.lock().unwrap().len(), calls - answers.len(), "cut after {records}");
        pretty_assert(&events(resumed.trajectory()), &events(record), &format!("cut after {records}"));
    }
    assert_eq!(denied_open, 1, "the cut between a denial and the end of its call was tried");

    let seen = Log::default();
    let replayed = built(&seen, &[Effect::Write], |rlm| rlm).replay_from(record.clone()).await.unwrap();
    assert!(replayed.difference().is_none());
    assert!(seen.asked.lock().unwrap().is_empty() && seen.called.lock().unwrap().is_empty());
}

//! What a record says of calls that were tried again, cancelled, or not finished. Whole runs are in
//! `tests/tests/ledger.rs`.

use super::*;
use crate::{error::ErrorKind, model::FinishReason, trajectory::event::Purpose, value::Value};

fn failed(call: Option<u32>, seconds: f64, retry_seconds: Option<f64>) -> Event {
    Event::ModelCallFailed {
        turn: 1,
        call,
        model: "a".to_owned(),
        kind: ErrorKind::Server,
        error: "busy".to_owned(),
        usage: Usage::call(),
        seconds,
        retry_seconds,
    }
}

fn replied(turn: u32, usage: Usage, seconds: f64) -> Event {
    Event::ModelReplied {
        turn,
        purpose: Purpose::Act,
        text: String::new(),
        reasoning: String::new(),
        native_call: None,
        finish_reason: FinishReason::Stop,
        stopped: None,
        usage,
        seconds,
    }
}

fn asked(call: u32) -> Event {
    let (function, model) = ("llm_query".to_owned(), "b".to_owned());
    Event::SubCallStarted {
        turn: 1,
        call,
        function,
        model,
        prompt: String::new(),
        max_tokens: None,
        temperature: None,
        repairs: None,
    }
}

fn ledger(events: impl IntoIterator<Item = (&'static str, f64, Event)>) -> Ledger {
    let records: Vec<_> = events.into_iter().map(|(run, at, event)| Record::new(run, at, event)).collect();
    Ledger::of(records.iter())
}

/// A turn that was asked for twice, with a cell that asks a model, a tool and a child, and is cut off.
fn cut_off() -> Ledger {
    let cell = |turn| Event::CellStarted { turn, reasoning: String::new(), code: String::new() };
    let tool = Event::ToolCallStarted {
        turn: 1,
        call: 2,
        tool: "find".to_owned(),
        approval: None,
        arguments: IndexMap::new(),
    };
    let found =
        Event::ToolCallFinished { turn: 1, call: 2, outcome: CallOutcome::Result(Value::None), seconds: 0.5 };
    let child = Event::ChildStarted {
        turn: 1,
        call: 3,
        function: "rlm_query".to_owned(),
        child: "child".to_owned(),
        prompt: String::new(),
    };
    let (outcome, usage) = (CallOutcome::Result("x".to_owned()), Usage::tokens(30, 3).cost(0.5));
    let answered = Event::SubCallFinished {
        turn: 1,
        call: 1,
        outcome,
        is_cut: false,
        usage,
        seconds: 4.0,
        answered_by: None,
    };
    ledger([
        ("root", 1.0, failed(None, 1.0, Some(2.0))),
        ("root", 4.0, replied(1, Usage::tokens(10, 1), 4.0)),
        ("root", 4.0, cell(1)),
        ("root", 5.0, asked(1)),
        ("root", 5.0, tool),
        ("root", 5.5, found),
        ("root", 6.0, failed(Some(1), 1.0, Some(1.0))),
        ("root", 7.0, child),
        ("child", 8.0, replied(1, Usage::tokens(100, 10), 1.0)),
        ("child", 8.0, cell(1)),
        ("root", 9.0, answered),
    ])
}

#[test]
fn tries_have_their_own_times_and_causes() {
    let ledger = cut_off();
    let shown: Vec<_> = ledger
        .entries
        .iter()
        .map(|entry| (entry.kind, entry.started, entry.seconds, entry.parent, entry.error.is_some()))
        .collect();
    use EntryKind::*;
    let expected = [
        (ModelCall, 0.0, 1.0, None, true),
        (ModelCall, 3.0, 1.0, None, false),
        (Cell, 4.0, 5.0, None, true),
        (SubCall, 5.0, 4.0, Some(2), false),
        (ToolCall, 5.0, 0.5, Some(2), false),
        (ModelCall, 5.0, 1.0, Some(3), true),
        (Child, 7.0, 2.0, Some(2), true),
        (ModelCall, 7.0, 1.0, Some(6), false),
        (ModelCall, 7.0, 2.0, Some(3), false),
        (Cell, 8.0, 1.0, Some(6), true),
    ];
    assert_eq!(shown, expected);
    assert_eq!(ledger.entries[9].error.as_deref(), Some(UNFINISHED));
    assert_eq!((ledger.entries[7].depth, ledger.by_depth[&1].input_tokens), (1, Some(100)));
    assert_eq!((ledger.total.calls, ledger.total.total_tokens()), (5, Some(154)));
    assert_eq!(ledger.by_turn[&1], ledger.total, "a child belongs to the turn that started it");
    assert_eq!(ledger.entries[2].usage.calls, 3, "a cell has what it caused");
}

#[test]
fn people_read_a_table() {
    insta::assert_snapshot!(cut_off().to_string());
}

#[test]
fn an_answer_without_a_call_counts_nothing() {
    let outcome = CallOutcome::Result("kept".to_owned());
    let answered = Event::SubCallFinished {
        turn: 1,
        call: 1,
        outcome,
        is_cut: false,
        usage: Usage::default(),
        seconds: 0.0,
        answered_by: None,
    };
    let ledger = ledger([("root", 1.0, asked(1)), ("root", 1.0, answered)]);
    assert_eq!((ledger.entries.len(), ledger.total.calls), (1, 0));
    assert_eq!(Ledger::of([].iter()), Ledger::default());
}

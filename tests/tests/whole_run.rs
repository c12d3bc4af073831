//! Whole runs in which backends differ, or that one backend is enough for. What all have in common is in
//! `backends.rs`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme::{
    InterpreterFactory, LanguageModel, LanguageModelExt, Request, Response, Rlm, RlmBuilder, Subprocess,
    Text, Tool, Trajectory, Value, Wasm, inputs, testing::ScriptedModel,
};
use tokio::sync::Notify;

fn cell(code: &str) -> String {
    format!("```python\n{code}\n```")
}

fn rlm(
    backend: impl InterpreterFactory + 'static,
    signature: &str,
    cells: &[&str],
) -> (RlmBuilder, ScriptedModel) {
    let model = ScriptedModel::replies(cells.iter().map(|code| cell(code)));
    (Rlm::builder(signature).model(model.clone()).interpreter(backend), model)
}

fn said(model: &ScriptedModel, index: usize) -> String {
    model.requests()[index].messages.last().unwrap().content.clone()
}

#[tokio::test]
async fn a_session_that_dies_is_replaced_with_its_inputs() {
    let (builder, model) = rlm(
        Subprocess::new(),
        "docs -> a",
        &[
            "kept = 1\nprint('last words', flush=True)\nimport os; os._exit(7)",
            "print('kept' in globals())",
            "SUBMIT(docs[-3:])",
        ],
    );
    let answer =
        builder.build().unwrap().run(inputs! { docs: Text::from("abc".repeat(100_000)) }).await.unwrap();
    assert_eq!(answer.get::<String>("a").unwrap(), "abc");
    let after = said(&model, 1);
    assert!(
        after.contains("last words") && after.contains("code 7") && after.contains("fresh session"),
        "{after}"
    );
    assert!(said(&model, 2).contains("False"));
}

#[tokio::test]
async fn a_session_that_crashes_is_put_back() {
    let (builder, model) = rlm(
        Wasm::new(),
        "docs -> a",
        &[
            "kept = 1\ndocs = docs[-3:]",
            "kept = 2\nprint('last words', flush=True)\nimport os; os._exit(7)",
            "print('kept is', kept)",
            "SUBMIT(docs)",
        ],
    );
    let answer =
        builder.build().unwrap().run(inputs! { docs: Text::from("abc".repeat(100_000)) }).await.unwrap();
    assert_eq!(answer.get::<String>("a").unwrap(), "abc");
    let after = said(&model, 2);
    assert!(after.contains("last words") && after.contains("code 7"), "{after}");
    assert!(!after.contains("fresh session"), "{after}");
    assert!(said(&model, 3).contains("kept is 1"));
}

#[tokio::test]
async fn a_hundred_megabytes_of_short_texts_go_in_and_out() {
    a_hundred_megabytes(Subprocess::new()).await;
}

/// They are there twice, and while they come in once more: over the 512 MiB that a session has by default.
#[tokio::test]
async fn a_hundred_megabytes_go_in_and_out_of_a_gigabyte() {
    a_hundred_megabytes(Wasm::new().memory_limit_bytes(1 << 30)).await;
}

async fn a_hundred_megabytes(backend: impl InterpreterFactory + 'static) {
    let documents = Value::list(std::iter::repeat_n("x".repeat(1000), 100_000));
    let tool = Tool::from_parts("fetch", "", Vec::new(), {
        let documents = documents.clone();
        move |_| {
            let documents = documents.clone();
            async move { Ok(documents) }
        }
    });
    let (builder, _) =
        rlm(backend, "docs -> total: int, same: bool", &["SUBMIT(sum(map(len, docs)), fetch() == docs)"]);
    let answer = builder.tool(tool).build().unwrap().run(inputs! { docs: documents }).await.unwrap();
    assert_eq!(answer.get::<usize>("total").unwrap(), 100_000_000);
    assert!(answer.get::<bool>("same").unwrap());
}

/// Answers the first request with a cell, and never the second, which it tells of.
#[derive(Debug)]
struct Silent {
    first: ScriptedModel,
    asked_again: Arc<Notify>,
}

#[async_trait::async_trait]
impl LanguageModel for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, request: &Request) -> abyme::Result<Response> {
        match self.first.complete(request).await {
            Ok(response) => Ok(response),
            Err(_) => {
                self.asked_again.notify_one();
                std::future::pending().await
            }
        }
    }
}

#[tokio::test]
async fn a_dropped_run_leaves_no_process_and_keeps_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("run.jsonl");
    let asked_again = Arc::new(Notify::new());
    let first = ScriptedModel::replies([cell("import os\nprint(os.getpid())")]);
    let model = Silent { first, asked_again: asked_again.clone() };
    let rlm = Rlm::builder("q -> a").model(model).interpreter(Subprocess::new()).build().unwrap();
    let dropped = tokio::select! {
        _ = rlm.run(inputs! { q: "?" }).trace(&trace) => false,
        asked = tokio::time::timeout(Duration::from_secs(60), asked_again.notified()) => asked.is_ok(),
    };
    assert!(dropped, "the model is not asked a second time");
    let mut seen = None;
    for _ in 0..1000 {
        // The thread that writes the record may be a moment behind the run.
        let turns = Trajectory::load(&trace).unwrap().turns();
        seen = turns.first().and_then(|turn| Some(turn.observation.as_ref()?.stdout.to_string()));
        if seen.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cmdline = format!("/proc/{}/cmdline", seen.unwrap().trim());
    for _ in 0..1000 {
        if std::fs::read(&cmdline).map_or(true, |line| line.is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!std::path::Path::new(&cmdline).exists(), "the session's process lives on");
}

/// Answers the requests of a run whose model can read 20 000 bytes: prints much in seven turns, then submits
/// what it finds in `history`. Its second cell starts a child that does the same.
fn with_a_small_window(taken: &Mutex<[u32; 2]>, request: &Request) -> abyme::Result<Response> {
    let said = |index: usize| request.messages[index].content.as_str();
    assert!(request.messages.iter().map(|message| message.content.len()).sum::<usize>() < 20_000);
    if said(request.messages.len() - 1).starts_with("This conversation is getting long.") {
        return Ok(Response::new("I printed lines of x; their numbers are in `numbers`."));
    }
    let is_child = said(1).contains("The child's task.");
    let turn = {
        let mut taken = taken.lock().unwrap();
        let turn = &mut taken[usize::from(is_child)];
        *turn += 1;
        *turn
    };
    let code = match turn {
        1 => "numbers = []".to_owned(),
        2 if !is_child => "of_child = rlm_query(\"The child's task.\")".to_owned(),
        2..=8 => format!("numbers.append({turn})\nprint({turn}, 'x' * 2500)"),
        _ if is_child => "SUBMIT(f'{len(history)} {history[1][\"output\"].count(\"x\")} {numbers[-1]}')".to_owned(),
        _ => "first = history[0]\nSUBMIT(child=of_child, code=first['code'], turns=[t['turn'] for t in history])"
            .to_owned(),
    };
    Ok(Response::new(cell(&code)))
}

#[tokio::test]
async fn a_run_and_its_child_go_on_from_summaries() {
    let taken = Mutex::new([0; 2]);
    let model = ScriptedModel::from_fn(move |request| with_a_small_window(&taken, request));
    let model = model.with_max_input_tokens(20_000 / 3);
    let builder = Rlm::builder("q -> child, code, turns: list[int]").model(model).interpreter(Wasm::new());
    let answer = builder.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(answer.get::<String>("code").unwrap(), "numbers = []");
    let turns = answer.get::<Vec<u32>>("turns").unwrap();
    assert!(turns.len() > 3 && turns.iter().copied().eq(1..=turns.len() as u32), "{turns:?}");
    let of_child = answer.get::<String>("child").unwrap();
    let [count, xs, last] = of_child.split(' ').collect::<Vec<_>>()[..] else { panic!("{of_child}") };
    assert!(count.parse::<u32>().unwrap() > 3, "{of_child}");
    assert_eq!((xs, last), ("2500", "8"), "an output is whole, and variables are kept");
    let compacted = |record: &Trajectory| {
        let own = record.records().filter(|one| one.run == record.run());
        own.filter(|one| matches!(one.event, abyme::Event::TranscriptCompacted { .. })).count()
    };
    let record = answer.trajectory();
    assert!(compacted(record) > 0 && compacted(&record.children()[0]) > 0);
}

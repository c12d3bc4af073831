//! Whole runs in which backends differ, or that one backend is enough for. What all have in common is in
//! `backends.rs`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use abyme::{
    InterpreterFactory, LanguageModel, Request, Response, Rlm, RlmBuilder, Subprocess, Text, Tool,
    Trajectory, Value, Wasm, inputs, testing::ScriptedModel,
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

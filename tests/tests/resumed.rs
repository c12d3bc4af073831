//! A run that ended after any of its events goes on, and so does one that had gone on before. The files are
//! those that a killed process leaves: `backends/killed.rs` has real ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "backends/five_turns.rs"]
mod five_turns;

use std::{fs, sync::Arc};

use abyme::{InterpreterFactory, Subprocess, Trajectory};
use five_turns::{ANSWER, CALLS, answered, calls, given, rlm};
use futures_util::StreamExt;

/// Where the lines of a file end.
fn ends(text: &[u8]) -> Vec<usize> {
    text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect()
}

/// Goes on with the first bytes of a record, and checks what that comes to. Gives the file that it leaves.
async fn goes_on(backend: &Arc<dyn InterpreterFactory>, record: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (file, after) = (dir.path().join("cut.jsonl"), dir.path().join("after"));
    fs::write(&file, record).unwrap();
    let known = answered(&Trajectory::load(&file).unwrap());
    let prediction = rlm(backend.clone(), &after).resume(&file).await.unwrap();
    let at = format!("after {} lines", ends(record).len());
    assert_eq!(prediction.get::<String>("text").unwrap(), ANSWER, "{at}");
    assert_eq!(calls(&after), CALLS - known, "each call without an answer is made once: {at}");
    let written = fs::read(&file).unwrap();
    let whole = ends(record).last().copied().unwrap();
    assert!(written.starts_with(&record[..whole]), "what was there is still there: {at}");
    assert!(Trajectory::load(&file).unwrap().records().eq(prediction.trajectory().records()), "{at}");
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_after_every_event_and_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let (file, made) = (dir.path().join("run.jsonl"), dir.path().join("calls"));
    let backend: Arc<dyn InterpreterFactory> = Arc::new(Subprocess::new());
    let prediction = rlm(backend.clone(), &made).run(given()).trace(&file).await.unwrap();
    assert_eq!(prediction.get::<String>("text").unwrap(), ANSWER);
    assert_eq!(calls(&made), CALLS);

    let record = fs::read(&file).unwrap();
    let ends = ends(&record);
    // Before the first event there is nothing to go on with.
    let has_begun = |end: &usize| record[..*end].windows(13).any(|text| text == b"\"run_started\"");
    let first = ends.iter().position(has_begun).unwrap();
    let cuts = ends[first..].iter().enumerate();
    let all = futures_util::stream::iter(cuts).for_each_concurrent(4, async |(number, end)| {
        // Every other one has a line after it that the crash cut short.
        let cut = if number % 2 == 0 { *end } else { (*end + 30).min(record.len() - 1).max(*end) };
        let again = goes_on(&backend, &record[..cut]).await;
        if number % 7 == 3 {
            let more: Vec<_> = self::ends(&again).into_iter().filter(|later| later > end).collect();
            goes_on(&backend, &again[..more[more.len() / 2]]).await;
        }
    });
    all.await;
}

//! The record of a run: complete, readable again, and no reason to lose a run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use abyme_core::{Event, Trajectory, TrajectoryWriter, inputs};
use common::{cell, scripted};

#[tokio::test]
async fn a_record_reads_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let replies =
        [cell("print a\nraise b"), cell("submit x=nan;names=[1]"), cell("submit x=nan;names=[\"1\"]")];
    let (rlm, _) = scripted("q -> x: float, names: list[str]", replies);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).trace(&path).await.unwrap();

    let written = Trajectory::load(&path).unwrap();
    assert_eq!(written.to_jsonl(), prediction.trajectory().to_jsonl());
    assert_eq!(written.events().count(), prediction.trajectory().events().count());
    assert!(matches!(written.events().next(), Some(Event::RunStarted { .. })));
    assert!(matches!(written.events().last(), Some(Event::RunFinished { .. })));
    let text: String = written.turns().iter().map(ToString::to_string).collect();
    assert!(text.contains("turn 1") && text.contains("ValueError: b"), "{text}");
}

/// A disk that is full after some bytes.
#[derive(Clone)]
struct FullDisk {
    room: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.written.lock().unwrap();
        if written.len() + bytes.len() > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        written.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_costs_the_file_and_not_the_run() {
    let disk = FullDisk { room: 20_000, written: Arc::default() };
    let replies = (0..8)
        .map(|_| cell("print a"))
        .chain([cell(&format!("print {}\nsubmit a=done", "x".repeat(20_000)))]);
    let (rlm, _) = scripted("q -> a", replies);
    let rlm = rlm.on_event(TrajectoryWriter::to_writer("run.jsonl", disk.clone())).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.get::<String>("a").unwrap(), "done");
    let written = String::from_utf8(disk.written.lock().unwrap().clone()).unwrap();
    let kept = Trajectory::from_jsonl(&written).unwrap();
    assert!(written.ends_with('\n') && kept.events().count() > 3, "what was written are whole events");
    assert!(kept.events().count() < prediction.trajectory().events().count());
}

#[tokio::test]
async fn a_refused_submission_is_not_shown_as_submitted() {
    let (rlm, model) = scripted("q -> a: int", [cell("submit a=many"), cell("submit a=3")]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let turns = prediction.trajectory().turns();
    let [first, second] = &turns[..] else { panic!("{turns:?}") };
    assert!(first.refused.as_ref().unwrap().contains("`a`"), "{first:?}");
    let text = first.to_string();
    assert!(text.contains("[refused]") && !text.contains("submitted by"), "{text}");
    assert!(second.refused.is_none() && second.to_string().contains("[submitted by SUBMIT]"), "{second}");
    let asked = &model.requests()[1].messages;
    assert!(!asked.last().unwrap().content.contains("submitted by"), "nor to the model");
}

#[tokio::test]
async fn records_carry_the_id_of_their_run() {
    let (rlm, _) = scripted("q -> a", [cell("submit a=1"), cell("submit a=2")]);
    let rlm = rlm.build().unwrap();
    let (first, second) = (rlm.run(inputs! { q: "?" }), rlm.run(inputs! { q: "?" }));
    let ids = [first.id().to_owned(), second.id().to_owned()];
    assert_ne!(ids[0], ids[1]);
    for (run, id) in [first, second].into_iter().zip(ids) {
        let prediction = run.await.unwrap();
        assert_eq!(prediction.trajectory().run(), id);
        assert!(prediction.trajectory().records().all(|record| record.run == id));
    }
}

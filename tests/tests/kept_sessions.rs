//! Runs whose session is kept beside their record, and runs whose sessions see the same world each time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{fs, path::Path, time::Duration};

use abyme::{
    Error, ErrorKind, Event, Response, Rlm, RlmBuilder, SessionSnapshots, Subprocess, Trajectory, Wasm,
    inputs, testing::ScriptedModel,
};

/// What the cells leave in the session: a cell that ran twice is there twice.
const CELLS: [&str; 4] = ["seen = [docs]", "seen.append('two')", "seen.append('three')", "SUBMIT(seen)"];

/// A model that gives these cells, and fails where there is none.
fn model(cells: &[Option<&str>]) -> ScriptedModel {
    ScriptedModel::results(cells.iter().map(|cell| match cell {
        Some(cell) => Ok(Response::new(format!("```python\n{cell}\n```"))),
        None => Err(Error::new(ErrorKind::Auth, "the key is not valid any more")),
    }))
}

fn task(model: ScriptedModel) -> RlmBuilder {
    Rlm::builder("docs -> seen: list[str]").model(model)
}

/// The names of the files beside the record.
fn beside(record: &Path) -> Vec<String> {
    let names = fs::read_dir(record.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("run.jsonl.")).collect()
}

/// How the session of a run that went on was brought up to date: the turn of the snapshot, and the cells.
fn rebuilt(record: &Path) -> Vec<(Option<u32>, u32)> {
    let trajectory = Trajectory::load(record).unwrap();
    let rebuilt = trajectory.events().filter_map(|event| match event {
        Event::SessionRebuilt { restored_turn, cells, .. } => Some((*restored_turn, *cells)),
        _ => None,
    });
    rebuilt.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_from_the_newest_snapshot() {
    let wasm = Wasm::new();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("run.jsonl");
    let often = || SessionSnapshots::beside(&record).interval(Duration::ZERO);
    let [first, second, third, last] = CELLS.map(Some);
    let rlm = |cells: &[Option<&str>]| task(model(cells)).interpreter(wasm.clone()).build().unwrap();

    let run = rlm(&[first, second, None]).run(inputs! { docs: "one" });
    let error = run.trace(&record).snapshots(often()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(beside(&record), ["run.jsonl.session-2"], "one at a time");

    // It goes on, is cut off once more, and ends. What was known at the last snapshot does not run again.
    let error = rlm(&[third, None]).resume(&record).snapshots(often()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(
        (rebuilt(&record), beside(&record)),
        (vec![(Some(2), 0)], vec!["run.jsonl.session-3".to_owned()])
    );
    let found = rlm(&[last]).resume(&record).await.unwrap();
    assert_eq!(found.get::<Vec<String>>("seen").unwrap(), ["one", "two", "three"]);
    assert_eq!(rebuilt(&record), [(Some(2), 0), (Some(3), 0)]);
    assert_eq!(beside(&record), [""; 0], "a run that has its outputs needs no session");
    assert!(Trajectory::load(&record).unwrap().records().eq(found.trajectory().records()));
}

#[tokio::test(flavor = "multi_thread")]
async fn random_numbers_go_on_where_the_snapshot_was() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("run.jsonl");
    let often = || SessionSnapshots::beside(&record).interval(Duration::ZERO);
    for deterministic in [false, true] {
        let rlm = |cells: &[Option<&str>]| {
            let task = task(model(cells)).interpreter(Wasm::new()).deterministic(deterministic);
            task.policy(abyme::CodePolicy::guard_rail()).seed(5).build().unwrap()
        };
        let first = Some("import random\nseen = [str(random.random())]");
        let last = Some("SUBMIT(seen + [str(random.random())])");
        let run = rlm(&[first, None]).run(inputs! { docs: "one" }).trace(&record);
        run.snapshots(often()).await.unwrap_err();
        let found = rlm(&[Some("import os\nos.system('ls')"), last]).resume(&record).await.unwrap();
        assert_eq!(rebuilt(&record), [(Some(1), 0)]);
        let refused = found.trajectory().turns()[1].observation.clone().and_then(|seen| seen.error);
        assert!(
            refused.is_some_and(|error| error.stage == abyme::Stage::Policy),
            "the policy holds there too"
        );
        let replayed = rlm(&[]).replay(&record).await.unwrap();
        assert_eq!(replayed.difference(), None, "deterministic: {deterministic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_as_it_was_is_not_used() {
    let wasm = Wasm::new();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("run.jsonl");
    let [first, second, third, last] = CELLS.map(Some);
    let rlm = |cells: &[Option<&str>]| task(model(cells)).interpreter(wasm.clone()).build().unwrap();
    let run = rlm(&[first, second, third, None]).run(inputs! { docs: "one" }).trace(&record);
    run.snapshots(SessionSnapshots::beside(&record).interval(Duration::ZERO)).await.unwrap_err();
    let snapshot = dir.path().join("run.jsonl.session-3");
    let whole = fs::read(&snapshot).unwrap();

    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [Some(&whole[..100]), Some(&flipped[..]), Some(&[][..]), None] {
        let again = dir.path().join("again");
        fs::create_dir_all(&again).unwrap();
        fs::copy(&record, again.join("run.jsonl")).unwrap();
        if let Some(bytes) = damaged {
            fs::write(again.join("run.jsonl.session-3"), bytes).unwrap();
        }
        let found = rlm(&[last]).resume(again.join("run.jsonl")).await.unwrap();
        assert_eq!(found.get::<Vec<String>>("seen").unwrap(), ["one", "two", "three"]);
        assert_eq!(rebuilt(&again.join("run.jsonl")), [(None, 3)]);
        assert_eq!(beside(&again.join("run.jsonl")), [""; 0], "nor is it left");
    }
    // One that is too large is not kept, and a session that takes no snapshots has none.
    let small = SessionSnapshots::beside(&record).interval(Duration::ZERO).max_snapshot_bytes(100);
    let run = rlm(&[first, last]).run(inputs! { docs: "one" }).trace(&record);
    run.snapshots(small).await.unwrap();
    let process = task(model(&[first, None])).interpreter(Subprocess::new()).build().unwrap();
    let run = process.run(inputs! { docs: "one" }).trace(&record);
    run.snapshots(SessionSnapshots::beside(&record).interval(Duration::ZERO)).await.unwrap_err();
    let saved = |event: &Event| matches!(event, Event::SessionSaved { .. });
    assert!(!Trajectory::load(&record).unwrap().events().any(saved));
}

/// What of the world a cell shows.
const LOOK: &str = "import os, time, uuid\nwith open('f', 'w') as f: f.write('x')
print(time.time_ns(), uuid.uuid4(), os.urandom(4), os.stat('f').st_mtime_ns, list({'a', 'b', 'c'}))";
const SUBMIT: &str = "time.sleep(0.01)\nSUBMIT([str(time.time_ns()), str(uuid.uuid4())])";

#[tokio::test(flavor = "multi_thread")]
async fn a_deterministic_run_is_the_same_each_time() {
    let wasm = Wasm::new();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("run.jsonl");
    let rlm = |cells: &[Option<&str>], on| {
        task(model(cells)).interpreter(wasm.clone()).deterministic(on).build().unwrap()
    };
    let cells = [Some(LOOK), Some(SUBMIT)];
    let first = rlm(&cells, true).run(inputs! { docs: "one" }).trace(&record).await.unwrap();
    let seen = first.get::<Vec<String>>("seen").unwrap();
    // The record says that the run is deterministic; the settings need not.
    let again = rlm(&[], false).replay(&record).await.unwrap();
    assert_eq!((again.difference(), again.get::<Vec<String>>("seen").unwrap()), (None, seen.clone()));
    let other = rlm(&cells, true).run(inputs! { docs: "one" }).await.unwrap();
    assert_ne!(other.get::<Vec<String>>("seen").unwrap(), seen);

    // A run that is cut off runs its first cell again, and finds the same.
    let run = rlm(&[Some(LOOK), None], true).run(inputs! { docs: "one" }).trace(&record).snapshots(None);
    run.await.unwrap_err();
    rlm(&[Some(SUBMIT)], false).resume(&record).await.unwrap();
    let trajectory = Trajectory::load(&record).unwrap();
    let differences = trajectory.events().find_map(|event| match event {
        Event::SessionRebuilt { differences, cells: 1, .. } => Some(differences.clone()),
        _ => None,
    });
    assert_eq!(differences, Some(Vec::new()));

    let error = task(model(&[])).interpreter(Subprocess::new()).deterministic(true).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("`deterministic` needs a backend"), "{error}");
    let process = task(model(&[])).interpreter(Subprocess::new()).build().unwrap();
    let error = process.resume(&record).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("is of a deterministic run"), "{error}");
}

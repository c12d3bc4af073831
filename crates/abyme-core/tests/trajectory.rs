//! The record of a run: complete, readable again, and no reason to lose a run.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use abyme_core::{ErrorKind, Event, EventSink, Record, Trajectory, TrajectoryWriter, inputs};
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

/// Files of the format, with what a reader makes of them.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trajectory").join(name)
}

fn cases() -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_slice(&fs::read(file("cases.json")).unwrap()).unwrap()
}

fn records(name: &str) -> Vec<Arc<Record>> {
    Trajectory::load(file(name)).unwrap().records().cloned().map(Arc::new).collect()
}

#[tokio::test]
async fn files_are_read_or_refused_as_the_contract_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut names: Vec<_> = cases().keys().cloned().collect();
    for (name, case) in cases() {
        let copy = dir.path().join(&name);
        fs::copy(file(&name), &copy).unwrap();
        let (loaded, appended) = (Trajectory::load(&copy), TrajectoryWriter::append(&copy));
        match case["error"].as_str() {
            None => {
                let (loaded, (appended, _)) = (loaded.unwrap(), appended.unwrap());
                assert_eq!(loaded.records().count() as u64, case["events"], "{name}");
                assert!(appended.records().eq(loaded.records()), "{name}");
            }
            Some(said) => {
                for error in [loaded.unwrap_err(), appended.unwrap_err()] {
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
                    let message = error.to_string();
                    assert!(message.contains(said) && message.contains(&name), "{name}: {message}");
                }
            }
        }
        assert_eq!(fs::read(&copy).unwrap(), fs::read(file(&name)).unwrap(), "{name} was changed");
    }
    let there =
        fs::read_dir(file("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<_> = there.filter(|name| name.ends_with(".jsonl")).collect();
    there.sort();
    names.sort();
    assert_eq!(there, names);
}

/// The reader in `TRAJECTORY.md` is what others begin with.
#[test]
fn the_reader_of_the_contract_reads_the_files() {
    let document = fs::read_to_string(file("../../../../TRAJECTORY.md")).unwrap();
    let (_, rest) = document.split_once("```python\n").unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    for (name, case) in cases() {
        let python = Command::new("python3").args(["-c", code]).arg(file(&name)).output().unwrap();
        let printed = String::from_utf8(python.stdout).unwrap();
        match case["events"].as_u64() {
            Some(events) => assert_eq!(printed.trim(), events.to_string(), "{name}"),
            None if name == "unknown_event.jsonl" => assert_eq!(printed.trim(), "2", "it passes over events"),
            None => assert!(!python.status.success(), "{name}"),
        }
    }
}

#[tokio::test]
async fn a_file_goes_on_after_its_last_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    fs::copy(file("torn.jsonl"), &path).unwrap();
    let (so_far, writer) = TrajectoryWriter::append(&path).unwrap();
    let all = records("run.jsonl");
    all[so_far.records().count()..].iter().for_each(|record| writer.record(record));
    writer.flush().await;
    assert_eq!(writer.failure(), None);
    assert_eq!(fs::read(&path).unwrap(), fs::read(file("run.jsonl")).unwrap());
}

#[tokio::test]
async fn a_file_that_is_written_has_no_second_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let writer = TrajectoryWriter::create(&path).unwrap();
    records("run.jsonl").iter().for_each(|record| writer.record(record));
    writer.flush().await;
    let so_far = Trajectory::load(&path).unwrap();
    let refused = [
        TrajectoryWriter::create(&path).unwrap_err(),
        TrajectoryWriter::append(&path).unwrap_err(),
        so_far.save(&path).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Io);
        let message = error.to_string();
        assert!(message.contains("is in use") && message.contains("run.jsonl"), "{message}");
    }
    assert_eq!(fs::read(&path).unwrap(), fs::read(file("run.jsonl")).unwrap(), "it was changed");
    drop(writer);
    let (again, _writer) = TrajectoryWriter::append(&path).unwrap();
    assert!(again.records().eq(so_far.records()));
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_runs() {
    for path in ["/dev/full", "/nonexistent/run.jsonl", "/proc/version"] {
        let error = TrajectoryWriter::create(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().starts_with(&format!("cannot write the trajectory {path}: ")), "{error}");
    }
}

/// Where the test is run again, with a small file system of its own.
const SMALL_DISK: &str = "ABYME_TEST_SMALL_DISK";

#[tokio::test]
async fn a_disk_that_was_full_and_a_disk_that_is_read_only() {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(PathBuf::from) else {
        return on_a_small_disk("a_disk_that_was_full_and_a_disk_that_is_read_only");
    };
    let (path, other) = (disk.join("run.jsonl"), disk.join("other"));
    fs::write(&other, vec![7; 64 << 10]).unwrap();
    let writer = TrajectoryWriter::create(&path).unwrap();
    let mut sent = Vec::new();
    for record in records("run.jsonl").iter().cycle() {
        writer.record(record);
        writer.flush().await;
        sent.push(record.clone());
        if writer.failure().is_some() && sent.len() % 10 == 0 {
            break;
        }
    }
    assert!(writer.failure().unwrap().contains("No space left"), "{:?}", writer.failure());
    let kept = Trajectory::load(&path).unwrap();
    assert!(
        kept.records().count() > 10 && kept.records().eq(sent[..kept.records().count()].iter().map(|r| &**r))
    );
    assert!(fs::read(&path).unwrap().ends_with(b"\n"), "the file ends with a whole line");
    fs::remove_file(other).unwrap();
    writer.record(&sent[1]);
    writer.flush().await;
    sent.push(sent[1].clone());
    assert_eq!(writer.failure(), None);
    assert!(Trajectory::load(&path).unwrap().records().eq(sent.iter().map(|record| &**record)));
    drop(writer);

    let (_, writer) = TrajectoryWriter::append(&path).unwrap();
    drop(writer);
    let whole = fs::read(&path).unwrap();
    // The thread of the writer may hold the file for a moment more.
    let read_only =
        || Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().unwrap().success();
    while !read_only() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let created = TrajectoryWriter::create(disk.join("new.jsonl")).unwrap_err();
    for error in [created, TrajectoryWriter::append(&path).unwrap_err(), kept.save(&path).unwrap_err()] {
        assert!(error.kind() == ErrorKind::Io && error.to_string().contains("Read-only"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(Trajectory::load(&path).unwrap().records().count(), sent.len());
}

/// Runs a test of this program on a file system of 128 KiB, where this user may mount one.
fn on_a_small_disk(test: &str) {
    let may_mount = Command::new("unshare").args(["--mount", "--map-root-user", "true"]).output();
    if !may_mount.is_ok_and(|tried| tried.status.success()) {
        return eprintln!("skipped: this user may not mount a file system");
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=128k tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let run = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", mount, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(SMALL_DISK, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

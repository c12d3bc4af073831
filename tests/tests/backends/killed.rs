//! A run whose process is killed with `kill -9` after any of its events goes on in another process, and one
//! that went on and was killed again does too.
//!
//! One process has a run for each event, and stops each of them there. So one kill ends them all.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use abyme::{Record, Trajectory};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{
    Backend,
    five_turns::{ANSWER, CALLS, answered, calls, given, rlm},
};

/// What a process does in place of the tests, as JSON.
const RUNS: &str = "ABYME_TEST_KILLED_RUNS";

/// How many runs go on at the same time.
const AT_ONCE: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
struct Runs {
    backend: String,
    /// The directory of each run, and how many events it may record.
    runs: Vec<(PathBuf, usize)>,
}

fn file(dir: &Path) -> PathBuf {
    dir.join("run.jsonl")
}

fn recorded(dir: &Path) -> usize {
    Trajectory::load(file(dir)).map_or(0, |record| record.records().count())
}

pub(crate) async fn a_killed_run_goes_on(backend: Backend) {
    let dir = tempfile::tempdir().unwrap();
    let whole = rlm(backend.clone(), &dir.path().join("whole")).run(given()).await.unwrap();
    assert_eq!(whole.get::<String>("text").unwrap(), ANSWER);
    let total = whole.trajectory().records().count();
    assert!(total > 50, "{total}");
    // A container takes as long to start as all of the run.
    let is_for_long = std::env::var_os("ABYME_TEST_KILLS").is_some();
    let step = if backend.name() == "docker" && !is_for_long { 9 } else { 1 };
    let runs = (1..total).step_by(step).map(|events| (dir.path().join(events.to_string()), events));
    let runs: Vec<_> = runs.collect();
    killed(&backend, &runs);
    let mut twice = Vec::new();
    for (number, (dir, events)) in runs.iter().enumerate() {
        assert_eq!(recorded(dir), *events, "the file has what was recorded, and no more");
        if number % 2 == 1 {
            // A crash cuts a line short, as a rule the last one.
            let mut file = fs::OpenOptions::new().append(true).open(file(dir)).unwrap();
            file.write_all(b"{\"run\":\"00").unwrap();
        }
        if number % 4 == 2 && events + 6 < total {
            twice.push((dir.clone(), events + 2 + (total - events) / 2));
        }
    }
    killed(&backend, &twice);
    let all = futures_util::stream::iter(&runs);
    all.for_each_concurrent(AT_ONCE, async |(dir, _)| goes_on(&backend, dir).await).await;
}

/// Goes on with a run, and checks what that comes to.
async fn goes_on(backend: &Backend, dir: &Path) {
    let (file, before, after) = (file(dir), dir.join("calls"), dir.join("after"));
    let record = Trajectory::load(&file).unwrap();
    let at = format!("{} after {} events", backend.name(), record.records().count());
    let known = answered(&record);
    assert!(known <= calls(&before), "no answer without a call: {at}");
    let prediction = rlm(backend.clone(), &after).resume(&file).await.unwrap();
    assert_eq!(prediction.get::<String>("text").unwrap(), ANSWER, "{at}");
    assert_eq!(calls(&after), CALLS - known, "each call without an answer is made once: {at}");
    assert_eq!(prediction.trajectory().run(), record.run(), "{at}");
    let written = Trajectory::load(&file).unwrap();
    assert!(written.records().eq(prediction.trajectory().records()), "{at}");
    let begun = written.records().take(record.records().count());
    assert!(begun.eq(record.records()), "what was there is still there: {at}");
}

/// Has another process begin these runs, or go on with them, until each has recorded so many events; and
/// kills it.
fn killed(backend: &Backend, runs: &[(PathBuf, usize)]) {
    let (backend, runs) = (backend.name().to_owned(), runs.to_owned());
    let count = runs.len();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(RUNS, serde_json::to_string(&Runs { backend, runs }).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(count);
    let stopped: Vec<String> = lines.map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stopped, vec!["stopped"; count], "each run comes to its event");
}

/// Runs in place of the tests, if this process was started to be killed. `backend` gives the one of a name.
pub(crate) fn instead_of_tests(backend: impl FnOnce(&str) -> Option<Backend>) -> Option<ExitCode> {
    let Runs { backend: name, runs } = serde_json::from_str(&std::env::var(RUNS).ok()?).unwrap();
    let backend = backend(&name)?;
    let threads: Vec<_> = runs
        .into_iter()
        .map(|(dir, events)| {
            let backend = backend.clone();
            thread::spawn(move || run_until(&backend, &dir, events))
        })
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Some(ExitCode::FAILURE)
}

/// Runs until the record has so many events, and no further: the thread stops in the next one.
fn run_until(backend: &Backend, dir: &Path, events: usize) {
    fs::create_dir_all(dir).unwrap();
    let (path, begun) = (file(dir), recorded(dir));
    let (seen, dir) = (AtomicUsize::new(begun), dir.to_owned());
    let rlm = rlm(backend.clone(), &dir.join("calls"));
    let stop = move |_: &Arc<Record>| {
        if seen.fetch_add(1, Ordering::Relaxed) < events {
            return;
        }
        while recorded(&dir) < events {
            thread::sleep(Duration::from_millis(5));
        }
        println!("stopped");
        loop {
            thread::park();
        }
    };
    let run = if begun == 0 { rlm.run(given()).trace(path) } else { rlm.resume(path) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(run.on_event(stop).into_future());
    println!("ended: {ended:?}");
}

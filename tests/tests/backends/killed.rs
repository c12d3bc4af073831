//! A run whose process is killed with `kill -9`, and goes on in another one.

use std::{
    path::Path,
    process::{Child, Command, ExitCode},
    time::Duration,
};

use abyme::Trajectory;

use crate::{
    Backend,
    five_turns::{ANSWER, CALLS, answered, calls, given, rlm},
};

/// Which backend the run of this process has, and the directory of its files.
const RUN: &str = "ABYME_TEST_KILLED_RUN";

/// After how many events the process is killed.
const EVENTS: [usize; 5] = [2, 12, 25, 40, 52];

pub(crate) async fn a_killed_run_goes_on(backend: Backend) {
    for events in EVENTS {
        let dir = tempfile::tempdir().unwrap();
        let (file, before, after) =
            (dir.path().join("run.jsonl"), dir.path().join("calls"), dir.path().join("after"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(RUN, format!("{}:{}", backend.name(), dir.path().display()))
            .spawn()
            .unwrap();
        wait_for(&mut child, &file, events).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let record = Trajectory::load(&file).unwrap();
        assert!(record.records().count() >= events, "the process ended before it was killed");
        let known = answered(&record);
        assert!(known <= calls(&before), "no answer without a call");
        let prediction = rlm(backend.clone(), &after).resume(&file).await.unwrap();
        let at = format!("{} after {} events", backend.name(), record.records().count());
        assert_eq!(prediction.get::<String>("text").unwrap(), ANSWER, "{at}");
        assert_eq!(calls(&after), CALLS - known, "each call without an answer is made once: {at}");
        assert_eq!(prediction.trajectory().run(), record.run(), "{at}");
    }
}

/// Waits until the file of a process has so many events.
async fn wait_for(child: &mut Child, file: &Path, events: usize) {
    for _ in 0..6000 {
        if Trajectory::load(file).is_ok_and(|record| record.records().count() >= events) {
            return;
        }
        assert_eq!(child.try_wait().unwrap(), None, "the run ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the run does not come to {events} events");
}

/// Runs in place of the tests, if this process was started to be killed.
pub(crate) fn instead_of_tests(backends: &[Backend]) -> Option<ExitCode> {
    let (name, dir) = std::env::var(RUN).ok()?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let backend = backends.iter().find(|backend| backend.name() == name)?.clone();
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let run = rlm(backend, &dir.join("calls")).run(given()).trace(dir.join("run.jsonl"));
    runtime.block_on(run.into_future()).unwrap();
    Some(ExitCode::SUCCESS)
}

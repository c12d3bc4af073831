//! Faults of a process that runs cells, which no other test tries.

use std::time::Duration;

use abyme::{
    CodeInterpreter, ErrorKind, InterpreterFactoryExt, Interruption, Observation, Session, Subprocess,
    subprocess::IsolationMode,
};

use crate::{
    oracle::{Oracle, alone, eventually, files_of_sessions},
    runs::{first_session, open_processes, processes, runtime},
};

fn shown(observation: &Observation) -> String {
    assert!(observation.is_ok(), "{observation:?}");
    observation.value.as_ref().unwrap().to_string().trim_matches('\'').to_owned()
}

async fn value(session: &mut Session, code: &str) -> String {
    shown(&session.run_code(code).await.unwrap())
}

/// Runs a test in a process of its own, with a factory that had a session before; nothing is left of those
/// that the test has.
fn leaves_nothing(test: &str, body: impl AsyncFnOnce(&Subprocess)) {
    alone(test, || {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let factory = processes(dir.path());
            first_session(&factory, dir.path()).await;
            let oracle = Oracle::new(dir.path());
            body(&factory).await;
            oracle.nothing_is_left(200, 32 << 20);
        });
    });
}

/// It takes no signal but the one that kills, so interrupts say nothing to it.
#[test]
fn a_process_that_is_stopped_ends_at_its_time_limit() {
    const TEST: &str = "interpreter::a_process_that_is_stopped_ends_at_its_time_limit";
    leaves_nothing(TEST, async |factory: &Subprocess| {
        let mut session = factory.session().await.unwrap().cell_timeout(Duration::from_secs(1));
        let stop = "import os, signal\nprint('so far', flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)";
        let seen = session.run_code(stop).await.unwrap();
        // Where a process may not signal itself like this, the cell only fails, and the session lives.
        if seen.error.as_ref().is_none_or(|error| error.type_name != "PermissionError") {
            assert_eq!(seen.stdout.to_string(), "so far\n");
            assert_eq!(seen.interruption, Some(Interruption::Killed), "{seen:?}");
            assert!(seen.session_ended.is_some());
            let error = session.run_code("1").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SessionEnded, "{error}");
        }
        drop(session);
        let mut next = factory.session().await.unwrap();
        assert_eq!(value(&mut next, "6 * 7").await, "42", "others are as before");
    });
}

/// The head of a frame that announces more than ever comes, on every descriptor that there is.
#[test]
fn a_message_that_ends_in_its_middle_ends_the_session() {
    const TEST: &str = "interpreter::a_message_that_ends_in_its_middle_ends_the_session";
    leaves_nothing(TEST, async |factory: &Subprocess| {
        for then in ["os._exit(0)", "os.kill(os.getpid(), 9)", "time.sleep(1000)"] {
            let code = format!(
                "import os, time\nhead = b'ABY1' + (9_000_000).to_bytes(4, 'big') + bytes(4)\n\
                 for fd in range(3, 4096):\n    \
                     try: os.write(fd, head + b'{{\"type\": \"done\"')\n    \
                     except OSError: pass\n{then}"
            );
            let mut session = factory.session().await.unwrap().cell_timeout(Duration::from_secs(2));
            match session.run_code(code).await {
                Ok(seen) => assert!(seen.session_ended.is_some(), "{then}: {seen:?}"),
                Err(error) => assert!(error.is_session_lost(), "{then}: {error}"),
            }
            assert_eq!(session.run_code("1").await.unwrap_err().kind(), ErrorKind::SessionEnded);
        }
    });
}

#[tokio::test]
async fn a_directory_that_is_gone_and_a_disk_that_is_full_are_errors_of_the_cell() {
    let dir = tempfile::tempdir().unwrap();
    // An isolated session has its directory in memory, where no cleaner of the host comes.
    let mut session = open_processes(dir.path()).max_file_bytes(1 << 20).session().await.unwrap();
    let fill = "try:\n    with open('big', 'wb') as f: f.write(bytes(4 << 20))\n\
                except OSError as error: print('refused', error.errno)\n";
    let seen = session.run_code(fill).await.unwrap();
    assert!(seen.stdout.to_string().starts_with("refused "), "{seen:?}");
    assert_eq!(value(&mut session, "6 * 7").await, "42");
    // The host removes it, as a cleaner of temporary files does.
    let own = files_of_sessions(dir.path());
    assert!(!own.is_empty(), "the session has its directory there");
    for path in &own {
        match path.is_dir() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false => std::fs::remove_file(path).unwrap(),
        }
    }
    let seen = session.run_code("open('note', 'w')").await.unwrap();
    let error = seen.error.expect("no file can be made in a directory that is gone");
    assert!(error.type_name.ends_with("Error"), "{error:?}");
    assert_eq!(value(&mut session, "6 * 7").await, "42", "the session goes on");
    session.shutdown().await.unwrap();
    eventually("nothing comes back", || files_of_sessions(dir.path()).is_empty());
}

/// What cannot be started is one error that says so, and leaves nothing half made.
#[test]
fn a_directory_that_cannot_be_made_leaves_nothing() {
    const TEST: &str = "interpreter::a_directory_that_cannot_be_made_leaves_nothing";
    leaves_nothing(TEST, async |_: &Subprocess| {
        for nowhere in ["/proc/1/nothing", "/dev/null", "/nonexistent"] {
            let factory = Subprocess::new().isolation(IsolationMode::Off).temp_dir(nowhere);
            let error = factory.session().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{nowhere}: {error}");
            assert!(error.message().contains("working directory"), "{error}");
        }
    });
}

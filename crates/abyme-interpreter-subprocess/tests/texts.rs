//! Long texts on their way into a session, isolated and not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use abyme_core::{Cell, CodeInterpreter, InterpreterFactory, NoHostFunctions, Observation, Value};
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};

type Session = Box<dyn CodeInterpreter>;

/// Two bytes of UTF-8 stand at the end of the last, where all that came before was ASCII.
fn texts() -> Vec<Value> {
    let ascii = "a line of some text\n".repeat(150_000);
    vec!["".into(), "строка".repeat(300_000).into(), format!("{ascii}é").into(), ascii.into()]
}

async fn sessions() -> [Session; 2] {
    let isolated = Subprocess::new();
    let open = Subprocess::new().isolation(IsolationMode::Off);
    [isolated.create().await.unwrap(), open.create().await.unwrap()]
}

async fn run(session: &mut Session, cell: Cell) -> Observation {
    session.execute(cell, &NoHostFunctions).await.unwrap()
}

async fn shown(session: &mut Session, code: &str) -> String {
    let observation = run(session, Cell::new(code)).await;
    assert!(observation.is_ok(), "{observation:?}");
    observation.value.unwrap().to_string()
}

async fn all_arrive(session: &mut Session) {
    for text in texts() {
        let observation = run(session, Cell::new("").variable("text", text.clone()).read("text")).await;
        assert!(observation.is_ok(), "{:?}", observation.error);
        assert!(observation.variables["text"] == text, "another text arrived");
    }
}

#[tokio::test]
async fn they_arrive_and_leave_no_descriptor_and_no_memory() {
    for mut session in sessions().await {
        all_arrive(&mut session).await;
        let held = "import os, resource\n\
                    def is_open(fd):\n    try: return bool(os.fstat(fd))\n    except OSError: return False\n\
                    sum(map(is_open, range(1000))), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss";
        let counts = |text: String| {
            let (open, most) = text.trim_matches(['(', ')']).split_once(", ").unwrap();
            (open.parse::<u32>().unwrap(), most.parse::<u64>().unwrap())
        };
        let (open, most) = counts(shown(&mut session, held).await);
        let text = texts().pop().unwrap();
        for _ in 0..100 {
            let observation = run(&mut session, Cell::new("len(text)").variable("text", text.clone())).await;
            assert_eq!(observation.value.unwrap().to_string(), "3000000");
        }
        let (open_after, most_after) = counts(shown(&mut session, held).await);
        assert_eq!(open_after, open);
        // In units of 1024 bytes: a hundred texts would be 300 MB.
        assert!(most_after < most + (64 << 10), "{most} KiB before, {most_after} after");
    }
}

#[tokio::test]
async fn they_arrive_after_an_interrupt() {
    for mut session in sessions().await {
        let text = texts().pop().unwrap();
        let cell = Cell::new("while True: pass").variable("text", text).timeout(Duration::from_millis(200));
        let observation = run(&mut session, cell).await;
        assert_eq!(observation.error.unwrap().type_name, "KeyboardInterrupt");
        assert_eq!(shown(&mut session, "len(text)").await, "3000000");
        all_arrive(&mut session).await;
    }
}

#[tokio::test]
async fn one_that_nobody_waits_for_is_taken_all_the_same() {
    for mut session in sessions().await {
        assert_eq!(shown(&mut session, "1").await, "1");
        let text = Value::from("x".repeat(200_000_000));
        let cell = Cell::new("import time\ntime.sleep(60)").variable("text", text);
        let sent = session.execute(cell, &NoHostFunctions);
        assert!(tokio::time::timeout(Duration::from_millis(5), sent).await.is_err(), "it takes a minute");
        all_arrive(&mut session).await;
    }
}

#[tokio::test]
async fn a_process_that_ends_in_the_middle_of_one_ends_the_session() {
    for mut session in sessions().await {
        let code = "import os, threading\nthreading.Timer(0.05, os._exit, [3]).start()";
        assert!(run(&mut session, Cell::new(code)).await.is_ok());
        let text = Value::from("x".repeat(400_000_000));
        let cell = Cell::new("import time\ntime.sleep(60)").variable("text", text);
        let ended = match session.execute(cell, &NoHostFunctions).await {
            Ok(observation) => observation.session_ended.unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(ended.contains("exited with code 3"), "{ended}");
    }
}

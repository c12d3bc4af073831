//! The host's side of a session against drivers that do what no good driver does.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use abyme_core::{
    Cell, DecodeBudget, ErrorKind, HostCall, HostError, HostFunctions, Interruption, NoHostFunctions,
    Observation, Result, Value,
};
use abyme_driver::{
    Control, DriverCode, DriverSession, DriverTimeouts,
    protocol::{Frame, FrameLimits, FrameReader, FrameWriter},
};
use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

/// Notes what was done to the "process".
#[derive(Debug, Default)]
struct FakeProcess {
    interrupts: AtomicUsize,
    kills: AtomicUsize,
}

#[async_trait]
impl Control for FakeProcess {
    fn is_alive(&self) -> bool {
        true
    }

    fn interrupt(&self) -> bool {
        self.interrupts.fetch_add(1, Ordering::SeqCst);
        true
    }

    async fn kill(&self) {
        self.kills.fetch_add(1, Ordering::SeqCst);
    }

    async fn how_it_ended(&self) -> String {
        "exited with code 3".to_owned()
    }
}

type Session = DriverSession<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// The driver's end of the wire.
struct Driver {
    reader: FrameReader<ReadHalf<DuplexStream>>,
    writer: FrameWriter<WriteHalf<DuplexStream>>,
}

fn pair() -> (Session, Driver, Arc<FakeProcess>) {
    let (host, driver) = duplex(1 << 20);
    let ((host_in, host_out), (driver_in, driver_out)) = (split(host), split(driver));
    let process = Arc::new(FakeProcess::default());
    let session = DriverSession::new(host_in, host_out, process.clone(), DriverTimeouts::default());
    let driver = Driver {
        reader: FrameReader::new(driver_in, FrameLimits::TO_DRIVER),
        writer: FrameWriter::new(driver_out),
    };
    (session, driver, process)
}

impl Driver {
    async fn send(&mut self, message: Json) {
        self.writer.push(Frame { header: message.to_string().into_bytes(), blobs: Vec::new() });
        let _ = self.writer.flush().await;
    }

    async fn ready(&mut self) {
        self.send(json!({"type": "ready", "protocol": 1, "python": "3.13.0", "executable": "", "pid": 1}))
            .await;
    }

    async fn next(&mut self) -> Json {
        serde_json::from_slice(&self.reader.next_frame().await.unwrap().header).unwrap()
    }

    async fn done(&mut self, run: u64) {
        let nothing = json!({"head": "", "tail": "", "total": 0});
        self.send(json!({"type": "done", "run": run, "stdout": nothing, "stderr": nothing})).await;
    }
}

/// Runs one cell against a driver that answers the `run` message with these raw messages.
async fn answered(messages: Vec<Json>) -> (Result<Observation>, Session, Arc<FakeProcess>) {
    let (mut session, mut driver, process) = pair();
    let driving = async {
        driver.ready().await;
        driver.next().await;
        for message in messages {
            driver.send(message).await;
        }
    };
    let (result, ()) = tokio::join!(session.execute(Cell::new("x"), &NoHostFunctions), driving);
    (result, session, process)
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_gets_ready_is_given_up() {
    let (mut session, _driver, process) = pair();
    let error = session.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("not ready after 10.0 s"), "{error}");
    assert_eq!(process.kills.load(Ordering::SeqCst), 1);
    assert_eq!(session.start().await.unwrap_err().kind(), ErrorKind::SessionEnded);
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused() {
    let (mut session, mut driver, _) = pair();
    driver.send(json!({"type": "ready", "protocol": 2})).await;
    assert!(session.start().await.unwrap_err().message().contains("protocol 2, not 1"));
}

/// A first message with code in it.
fn ready_with(code: Vec<u8>) -> Frame {
    let header = json!({"type": "ready", "protocol": 1, "code": {"$bytes": 0}});
    frame(header.to_string(), vec![code])
}

#[tokio::test]
async fn code_that_a_driver_hands_back_is_kept_for_the_next_ones() {
    let (session, mut driver, _) = pair();
    let code = DriverCode::default();
    // Its size counts against the limit of code, not of messages.
    let mut session = session.max_message_bytes(10_000).keeps_code(&code);
    driver.writer.push(ready_with(vec![7; 300_000]));
    driver.writer.flush().await.unwrap();
    session.start().await.unwrap();
    assert_eq!(code.bundle().len(), 9 + 300_000);
    // Who did not ask gets none, and one that is too large to be code is no reason to fail.
    let (session, mut driver, _) = pair();
    let code = DriverCode::default();
    driver.writer.push(ready_with(vec![7; 9 << 20]));
    let mut session = session.keeps_code(&code);
    let (sent, started) = tokio::join!(driver.writer.flush(), session.start());
    assert!(sent.is_ok() && started.is_ok(), "{started:?}");
    assert_eq!(code.bundle()[0], b'C');
}

#[tokio::test]
async fn a_driver_that_cannot_use_its_code_gets_the_sources_once() {
    let (host, driver) = duplex(1 << 20);
    let ((host_in, host_out), (mut driver_in, driver_out)) = (split(host), split(driver));
    let process = Arc::new(FakeProcess::default());
    let mut session = DriverSession::new(host_in, host_out, process, DriverTimeouts::default());
    let asked = |writer: &mut FrameWriter<WriteHalf<DuplexStream>>| {
        writer.push(frame(json!({"type": "sources"}).to_string(), Vec::new()));
    };
    let driving = async {
        let mut writer = FrameWriter::new(driver_out);
        asked(&mut writer);
        writer.flush().await.unwrap();
        let mut head = [0; 9];
        driver_in.read_exact(&mut head).await.unwrap();
        assert_eq!(head[0], b'J');
        let mut sources = vec![0; u64::from_be_bytes(head[1..].try_into().unwrap()) as usize];
        driver_in.read_exact(&mut sources).await.unwrap();
        assert!(serde_json::from_slice::<Json>(&sources).unwrap()["stdio"].is_string());
        asked(&mut writer);
        writer.flush().await.unwrap();
    };
    let (started, ()) = tokio::join!(session.start(), driving);
    assert!(started.unwrap_err().message().contains("its first message is not `ready`"));
}

#[tokio::test]
async fn garbage_ends_the_session() {
    let nothing = json!({"head": "", "tail": "", "total": 0});
    for message in [
        json!({"type": "nonsense"}),
        json!(["done"]),
        json!({"type": "ready", "protocol": 1}),
        json!({"type": "sources"}),
        json!({"type": "submit", "run": 1, "via": "SHOUT", "value": 1}),
        json!({"type": "call", "run": 1, "id": 1, "name": "f", "kwargs": {"a": {"$bytes": 7}}}),
        json!({"type": "done", "run": 1, "stdout": nothing, "stderr": {"head": 1, "tail": "", "total": 0}}),
    ] {
        let (result, mut session, process) = answered(vec![message.clone()]).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol, "{message}");
        assert_eq!(process.kills.load(Ordering::SeqCst), 1);
        let after = session.execute(Cell::new("x"), &NoHostFunctions).await.unwrap_err();
        assert_eq!(after.kind(), ErrorKind::SessionEnded);
    }
}

#[tokio::test]
async fn words_about_other_cells_are_left_out() {
    let nothing = json!({"head": "", "tail": "", "total": 0});
    let (result, ..) = answered(vec![
        json!({"type": "submit", "run": 7, "via": "FINAL", "value": "of another cell"}),
        json!({"type": "output", "run": 7, "stream": "stdout", "text": "late"}),
        json!({"type": "done", "run": 7, "stdout": nothing, "stderr": nothing}),
        json!({"type": "done", "run": 1, "stdout": nothing, "stderr": nothing}),
    ])
    .await;
    assert_eq!(result.unwrap().submission, None);
}

#[tokio::test]
async fn a_flood_of_output_is_counted_and_not_kept() {
    let mut messages =
        vec![json!({"type": "output", "run": 1, "stream": "stdout", "text": "x".repeat(9_000)}); 50];
    messages.push(json!({"type": "fatal", "message": "enough"}));
    let (result, ..) = answered(messages).await;
    let observation = result.unwrap();
    assert_eq!((observation.stdout.total_chars, observation.stdout.head.len()), (450_000, 10_000));
    assert!(observation.session_ended.unwrap().contains("enough"));
}

#[tokio::test]
async fn a_driver_that_dies_in_a_cell_leaves_an_observation() {
    let (mut session, mut driver, _) = pair();
    let driving = async move {
        driver.ready().await;
        driver.next().await;
        driver.send(json!({"type": "output", "run": 1, "stream": "stdout", "text": "so far"})).await;
        driver.send(json!({"type": "submit", "run": 1, "via": "FINAL", "value": 42})).await;
    };
    let (result, ()) = tokio::join!(session.execute(Cell::new("x"), &NoHostFunctions), driving);
    let observation = result.unwrap();
    assert_eq!(observation.stdout.head, "so far");
    assert!(observation.submission.is_some());
    assert_eq!(observation.session_ended.as_deref(), Some("the interpreter exited with code 3"));
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_ignores_interrupts_is_killed_within_two_seconds() {
    let (mut session, mut driver, process) = pair();
    driver.ready().await;
    let started = tokio::time::Instant::now();
    let cell = Cell::new("x").timeout(Duration::from_secs(5));
    let observation = session.execute(cell, &NoHostFunctions).await.unwrap();
    assert_eq!(observation.interruption, Some(Interruption::Killed));
    assert!(started.elapsed() <= Duration::from_secs(7), "{:?}", started.elapsed());
    assert_eq!((process.interrupts.load(Ordering::SeqCst), process.kills.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_cell_is_interrupted_and_cleaned_up_by_the_next_call() {
    let (mut session, mut driver, process) = pair();
    driver.ready().await;
    let dropped =
        tokio::time::timeout(Duration::from_secs(1), session.execute(Cell::new("x"), &NoHostFunctions));
    assert!(dropped.await.is_err());
    assert_eq!(process.interrupts.load(Ordering::SeqCst), 1);
    let driving = async move {
        assert_eq!(driver.next().await["id"], 1);
        driver.send(json!({"type": "call", "run": 1, "id": 1, "name": "f"})).await;
        let answer = driver.next().await;
        assert!(answer["error"]["message"].as_str().unwrap().contains("cancelled"));
        driver.done(1).await;
        assert_eq!(driver.next().await["id"], 2);
        driver.done(2).await;
    };
    let (result, ()) = tokio::join!(session.execute(Cell::new("y"), &NoHostFunctions), driving);
    assert!(result.unwrap().is_ok());
}

/// Answers each call with its argument, the later ones first.
/// The `done` of a cell whose last value is a list that takes 2 MB of the header.
fn large_done(run: u64) -> Json {
    let nothing = json!({"head": "", "tail": "", "total": 0});
    let list = vec![1; 1_000_000];
    json!({"type": "done", "run": run, "stdout": nothing, "stderr": nothing, "variables": {"x": list}})
}

#[tokio::test]
async fn a_dropped_cell_loses_no_message_that_is_being_decoded() {
    let (mut session, mut driver, process) = pair();
    driver.ready().await;
    session.start().await.unwrap();
    {
        let mut cell = pin!(session.execute(Cell::new("x").read("x"), &NoHostFunctions));
        let mut sent = pin!(driver.send(large_done(1)));
        let mut context = Context::from_waker(Waker::noop());
        while sent.as_mut().poll(&mut context).is_pending() {
            let _ = cell.as_mut().poll(&mut context);
        }
        // The rest of the message has arrived and is taken now.
        let _ = cell.as_mut().poll(&mut context);
    }
    let driving = async {
        driver.next().await;
        driver.next().await;
        driver.send(large_done(2)).await;
    };
    let next = session.execute(Cell::new("x").read("x"), &NoHostFunctions);
    let (seen, ()) = tokio::join!(next, driving);
    let variables = seen.unwrap().variables;
    let Some(Value::List(items)) = variables.get("x") else { panic!("{:?}", variables.keys()) };
    assert_eq!(items.len(), 1_000_000);
    assert_eq!(process.kills.load(Ordering::SeqCst), 0);
}

struct Reversing;

#[async_trait]
impl HostFunctions for Reversing {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let number = call.args[0].as_i64().unwrap();
        tokio::time::sleep(Duration::from_millis(u64::try_from(10 - number).unwrap())).await;
        Ok(Value::Int(number))
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_in_any_order_by_their_ids() {
    let (mut session, mut driver, _) = pair();
    let driving = async move {
        driver.ready().await;
        driver.next().await;
        for id in 0..5 {
            driver.send(json!({"type": "call", "run": 1, "id": 100 + id, "name": "f", "args": [id]})).await;
        }
        let mut answers = Vec::new();
        for _ in 0..5 {
            let answer = driver.next().await;
            answers.push((answer["call"].as_u64().unwrap(), answer["value"].as_i64().unwrap()));
        }
        assert_eq!(answers, [(104, 4), (103, 3), (102, 2), (101, 1), (100, 0)]);
        driver.done(1).await;
    };
    let (result, ()) = tokio::join!(session.execute(Cell::new("x"), &Reversing), driving);
    assert!(result.unwrap().is_ok());
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_session() {
    let (host, mut wire) = duplex(1 << 16);
    let (input, output) = split(host);
    let process = Arc::new(FakeProcess::default());
    let mut session = DriverSession::new(input, output, process, DriverTimeouts::default());
    wire.write_all(b"Traceback (most recent call last):\n").await.unwrap();
    let error = session.start().await.unwrap_err();
    assert!(error.message().contains("it begins with \"Traceback"), "{error}");
}

/// Runs a cell against a driver that sends something too large, and one more to see whether the session goes
/// on. Messages may take 1 MiB.
async fn oversized(frames: Vec<Frame>, ended: bool) -> (Result<Observation>, Result<Observation>) {
    let (session, mut driver, _) = pair();
    let mut session = session.max_message_bytes(1 << 20);
    let driving = async {
        driver.ready().await;
        driver.next().await;
        for frame in frames {
            driver.writer.push(frame);
            driver.writer.flush().await.unwrap();
        }
        if !ended {
            driver.done(1).await;
        }
    };
    let (first, ()) = tokio::join!(session.execute(Cell::new("x"), &NoHostFunctions), driving);
    let driving = async {
        driver.next().await;
        driver.done(2).await;
        std::future::pending::<()>().await
    };
    let second = tokio::select! {
        second = session.execute(Cell::new("y"), &NoHostFunctions) => second,
        () = driving => unreachable!(),
    };
    (first, second)
}

fn frame(header: String, blobs: Vec<Vec<u8>>) -> Frame {
    Frame { header: header.into_bytes(), blobs: blobs.into_iter().map(Into::into).collect() }
}

#[tokio::test]
async fn a_submission_that_is_too_large_is_an_error_of_its_cell() {
    let submit = |value: &str| format!(r#"{{"type":"submit","run":1,"via":"SUBMIT","value":{value}}}"#);
    let decoded = frame(submit(&format!("[{}0]", "0,".repeat(100_000))), vec![]);
    let header = frame(submit(&format!("[{}0]", "0,".repeat(1_000_000))), vec![]);
    let blob = frame(submit(r#"{"$bytes":0}"#), vec![vec![7; 3 << 20]]);
    let blobs = frame(submit("1"), vec![vec![]; 100_000]);
    for (what, oversize) in [("decoded", decoded), ("header", header), ("blob", blob), ("blobs", blobs)] {
        let (first, second) = oversized(vec![oversize], false).await;
        let observation = first.unwrap();
        assert_eq!(observation.submission, None, "{what}");
        let message = observation.error.unwrap().message;
        assert!(message.starts_with("the submission was too large to be taken: it"), "{what}: {message}");
        assert!(second.unwrap().is_ok(), "{what}: the session goes on");
    }
}

#[tokio::test]
async fn a_smaller_submission_counts_after_one_that_was_too_large() {
    let submit = |value: String| {
        frame(format!(r#"{{"type":"submit","run":1,"via":"SUBMIT","value":{value}}}"#), vec![])
    };
    let messages = vec![submit(format!("[{}0]", "0,".repeat(100_000))), submit("7".to_owned())];
    let observation = oversized(messages, false).await.0.unwrap();
    assert!(observation.submission.is_some() && observation.error.is_none(), "{observation:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error_of_its_cell() {
    let done = format!(r#"{{"type":"done","run":1,"stdout":[{}0]}}"#, "0,".repeat(1_000_000));
    let (first, second) = oversized(vec![frame(done, vec![])], true).await;
    let message = first.unwrap().error.unwrap().message;
    assert!(message.contains("its results were too large to be taken"), "{message}");
    assert!(second.unwrap().is_ok());
}

#[tokio::test]
async fn a_message_that_is_too_large_to_know_what_it_is_ends_the_session() {
    let unknown = frame(format!(r#"{{"junk":"{}","type":"submit"}}"#, "x".repeat(2 << 20)), vec![]);
    let (first, second) = oversized(vec![unknown], false).await;
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::SessionEnded);
}

/// Answers nothing.
struct Silent;

#[async_trait]
impl HostFunctions for Silent {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn calls_that_hold_too_much_are_refused_one_by_one() {
    let (session, mut driver, _) = pair();
    let mut session = session.max_message_bytes(1 << 20);
    let call = |id: u64, size: usize| {
        let header =
            format!(r#"{{"type":"call","run":1,"id":{id},"name":"f","args":["{}"]}}"#, "x".repeat(size));
        frame(header, vec![])
    };
    let driving = async move {
        driver.ready().await;
        driver.next().await;
        for (id, size) in [(1, 300_000), (2, 300_000), (3, 2 << 20), (4, 10)] {
            driver.writer.push(call(id, size));
            driver.writer.flush().await.unwrap();
        }
        let (second, third) = (driver.next().await, driver.next().await);
        assert_eq!((second["call"].as_u64(), third["call"].as_u64()), (Some(2), Some(3)));
        assert!(second["error"]["message"].as_str().unwrap().contains("refused"), "{second}");
        assert_eq!(third["error"]["type"], "ValueError");
        assert!(third["error"]["message"].as_str().unwrap().contains("too large"), "{third}");
        driver.done(1).await;
    };
    let (result, ()) = tokio::join!(session.execute(Cell::new("x"), &Silent), driving);
    assert!(result.unwrap().is_ok());
}

#[tokio::test]
async fn a_driver_that_calls_without_end_and_reads_no_answers_is_ended() {
    for run in [1, 7] {
        let (mut session, mut driver, process) = pair();
        let driving = async move {
            driver.ready().await;
            driver.next().await;
            let mut sent = 0;
            while sent < 1_000_000 {
                let call = format!(r#"{{"type":"call","run":{run},"id":{sent},"name":"f"}}"#);
                driver.writer.push(frame(call, vec![]));
                if driver.writer.flush().await.is_err() {
                    break;
                }
                sent += 1;
                tokio::task::yield_now().await;
            }
            sent
        };
        let executing = async {
            let result = session.execute(Cell::new("x"), &Silent).await;
            drop(session);
            result
        };
        let (result, sent) = tokio::join!(executing, driving);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("answers were not read"), "{error}");
        assert!(sent < 100_000, "{sent}");
        assert_eq!(process.kills.load(Ordering::SeqCst), 1);
    }
}

/// The protocol's specification names the numbers of the code.
#[test]
fn the_specification_has_the_limits_of_the_code() {
    let text = include_str!("../PROTOCOL.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let grouped = |number: u32| {
        let digits = number.to_string();
        let groups: Vec<_> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(" ")
    };
    for (side, limits) in
        [("driver", FrameLimits::TO_DRIVER), ("host", FrameLimits::to_host(DecodeBudget::DEFAULT_MAX_BYTES))]
    {
        let header = match limits.max_header_bytes {
            bytes if bytes >= 1 << 30 => format!("{} GiB", bytes >> 30),
            bytes => format!("{} MiB", bytes >> 20),
        };
        let blobs = grouped(limits.max_blobs);
        let sentence = format!("The {side} takes a header of at most {header}, and at most {blobs} blobs");
        assert!(text.contains(&sentence), "PROTOCOL.md does not say: {sentence}");
    }
    let default = format!("{} MiB if nothing else was configured", DecodeBudget::DEFAULT_MAX_BYTES >> 20);
    assert!(text.contains(&default), "PROTOCOL.md does not say: {default}");
}

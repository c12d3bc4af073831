//! What a cell can make its host hold, measured in a process of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use abyme_conformance::memory::grown_bytes;
use abyme_core::{
    Cell, CodeInterpreter, DecodeBudget, ErrorKind, InterpreterFactory, InterpreterFactoryExt,
    NoHostFunctions, Observation, Result, Value,
};
use abyme_interpreter_subprocess::Subprocess;

/// The default of `max_message_bytes`, and what everything else may take.
const BOUND: u64 = (256 + 64) << 20;

/// Runs a cell, and one more. The session is to go on if `goes_on`.
async fn run(code: &str, goes_on: bool) -> Result<Observation> {
    let mut session = Subprocess::new().create().await.unwrap();
    let cell = Cell::new(code).timeout(Duration::from_secs(60));
    let observation = session.execute(cell, &NoHostFunctions).await;
    let after = session.execute(Cell::new("1 + 1"), &NoHostFunctions).await;
    assert_eq!(after.is_ok_and(|observation| observation.is_ok()), goes_on, "{observation:?}");
    observation
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

/// Python that writes a frame of its own to the driver's descriptor: a header in so many pieces, and blobs.
fn forged(head: &str, piece: &str, pieces: usize, tail: &str, blobs: &[u64]) -> String {
    let size = head.len() + piece.len() * pieces + tail.len();
    let (lengths, sum) =
        (blobs.iter().map(|length| format!("{length}, ")).collect::<String>(), blobs.iter().sum::<u64>());
    format!(
        r#"
import os, struct
def write(data):
    view = memoryview(data)
    while view: view = view[os.write(121, view):]
write(b"ABY1" + struct.pack(">II", {size}, {count}) + b"".join(struct.pack(">Q", n) for n in [{lengths}]))
write(b{head:?})
piece = b{piece:?} * 100_000
for start in range(0, {pieces}, 100_000): write(piece[:({pieces} - start) * {piece_len}])
write(b{tail:?})
zeros = bytes(1 << 20)
left = {sum}
while left:
    write(zeros[:left])
    left -= min(left, 1 << 20)
"#,
        count = blobs.len(),
        piece_len = piece.len(),
    )
}

#[test]
fn an_innocent_submission_of_fifty_million_items() {
    let grown = grown_bytes("an_innocent_submission_of_fifty_million_items", || {
        let observation = block_on(run("SUBMIT([0] * 50_000_000)", true)).unwrap();
        assert_eq!(observation.submission, None);
        let message = observation.error.unwrap().message;
        assert!(message.contains("more than 256 MiB of the host's memory"), "{message}");
    });
    assert!(grown < BOUND, "{} MB", grown >> 20);
}

#[test]
fn a_forged_submission_of_nested_lists() {
    let grown = grown_bytes("a_forged_submission_of_nested_lists", || {
        let head = r#"{"type":"submit","run":1,"via":"SUBMIT","value":[[]"#;
        // Within the limit of a header, and over the budget when it is decoded.
        let code = forged(head, ",[]", 20_000_000, "]}", &[]);
        let message = block_on(run(&code, true)).unwrap().error.unwrap().message;
        assert!(message.contains("too large to be taken"), "{message}");
    });
    assert!(grown < BOUND, "{} MB", grown >> 20);
}

#[test]
fn a_forged_header_of_a_gibibyte() {
    let grown = grown_bytes("a_forged_header_of_a_gibibyte", || {
        let head = r#"{"type":"submit","run":1,"via":"SUBMIT","value":[0"#;
        let code = forged(head, ",0", (1 << 29) - 100, "]}", &[]);
        let message = block_on(run(&code, true)).unwrap().error.unwrap().message;
        assert!(message.contains("more than 64 MiB"), "{message}");
    });
    assert!(grown < (64 << 20), "{} MB", grown >> 20);
}

#[test]
fn forged_blobs_of_two_gigabytes() {
    let grown = grown_bytes("forged_blobs_of_two_gigabytes", || {
        let head = r#"{"type":"submit","run":1,"via":"SUBMIT","value":{"$bytes":0}"#;
        let code = forged(head, " ", 0, "}", &[1_000_000_000, 1_000_000_000]);
        let message = block_on(run(&code, true)).unwrap().error.unwrap().message;
        assert!(message.contains("larger than 256 MiB"), "{message}");
    });
    assert!(grown < (64 << 20), "{} MB", grown >> 20);
}

#[test]
fn ten_million_forged_calls() {
    let grown = grown_bytes("ten_million_forged_calls", || {
        let code = r#"
import os, struct
header = b'{"type":"call","run":1,"id":1,"name":"f"}'
data = (b"ABY1" + struct.pack(">II", len(header), 0) + header) * 1000
for _ in range(10_000):
    view = memoryview(data)
    while view: view = view[os.write(121, view):]
"#;
        let error = block_on(run(code, false)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("answers were not read"), "{error}");
    });
    assert!(grown < (64 << 20), "{} MB", grown >> 20);
}

#[test]
fn a_submission_of_short_texts() {
    let grown = grown_bytes("a_submission_of_short_texts", || {
        let observation = block_on(run("SUBMIT([str(n) for n in range(35_000_000)])", true)).unwrap();
        assert_eq!(observation.submission, None);
        let message = observation.error.unwrap().message;
        assert!(message.contains("more than 256 MiB of the host's memory"), "{message}");
        let observation = block_on(run("SUBMIT([str(n) for n in range(1_300_000)])", true)).unwrap();
        assert!(observation.submission.is_some(), "{:?}", observation.error);
    });
    assert!(grown < BOUND, "{} MB", grown >> 20);
}

/// As many small values of each kind as fit a budget.
fn small_values() -> (Vec<Value>, u64) {
    let kinds: [fn() -> Value; 6] = [
        || Value::Int(1),
        || "ab".into(),
        || "twenty-one characters".into(),
        || Value::list([1]),
        || Value::dict([("key", 1)]),
        || Value::Bytes(vec![1, 2, 3].into()),
    ];
    let mut values = Vec::new();
    let mut used = 0;
    for make in kinds {
        let mut budget = DecodeBudget::new(64 << 20);
        let mut items = Vec::new();
        while budget.value(&make()).is_ok() && budget.push(&mut items, make()).is_ok() {}
        values.push(Value::List(items));
        used += budget.used();
    }
    (values, used)
}

#[test]
fn a_value_takes_what_it_is_charged_for() {
    let grown = grown_bytes("a_value_takes_what_it_is_charged_for", || drop(small_values()));
    let (_, used) = small_values();
    // Linux tells how much memory grew.
    assert!(grown == 0 || (used * 7 / 10..used + (8 << 20)).contains(&grown), "{grown} of {used}");
}

/// What fits the budget passes.
#[tokio::test]
async fn a_million_items_pass() {
    let mut session = Subprocess::new().session().await.unwrap();
    let observation = session.run_code("SUBMIT(list(range(1_000_000)))").await.unwrap();
    assert!(observation.submission.is_some() && observation.error.is_none(), "{:?}", observation.error);
}

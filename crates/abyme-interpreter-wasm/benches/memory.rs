//! Memory of the wasm backend: of idle sessions, and of text that goes in. Prints a table; Linux only.
//! `cargo bench -p abyme-interpreter-wasm --bench memory`.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::fs;

use abyme_core::{Cell, CodeInterpreter, InterpreterFactory, NoHostFunctions, Value};
use abyme_interpreter_wasm::Wasm;

const SESSIONS: u32 = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if cfg!(not(target_os = "linux")) {
        println!("memory is read from /proc, which is not here");
        return;
    }
    println!(
        "1 000 idle sessions in one process, after `x = 1`, private memory (Private_Dirty of smaps_rollup)"
    );
    for checkpoints in [true, false] {
        idle(checkpoints).await;
    }
    println!("\ntext put into a session, and the most that the process grew by");
    for megabytes in [10, 100, 1000] {
        text("ASCII", "a line of some text, fifty characters long, or so.\n", megabytes).await;
        text("Cyrillic", "строкатекстаизсорокашестибуквбезпробелов", megabytes).await;
    }
}

async fn idle(checkpoints: bool) {
    let factory = Wasm::new().max_sessions(SESSIONS).checkpoints(checkpoints);
    factory.prepare().await.unwrap();
    let before = private();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut session = factory.create().await.unwrap();
        run(session.as_mut(), Cell::new("x = 1")).await;
        sessions.push(session);
    }
    let each = ((private() - before) / u64::from(SESSIONS)) >> 10;
    println!("  checkpoints {:<5} {each:>7} KB each", if checkpoints { "on" } else { "off" });
    for session in &mut sessions {
        assert_eq!(run(session.as_mut(), Cell::new("x")).await, "1");
    }
}

async fn text(kind: &str, line: &str, megabytes: usize) {
    let factory = Wasm::new().max_sessions(1).memory_limit_bytes(4 << 30).checkpoints(false);
    let mut session = factory.create().await.unwrap();
    run(session.as_mut(), Cell::new("1")).await;
    let text = Value::from(line.repeat(megabytes * 1_000_000 / line.len()));
    let chars = text.as_text().unwrap().chars().count();
    // Makes the kernel forget the highest mark.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let seen = run(session.as_mut(), Cell::new("len(text)").variable("text", text)).await;
    assert_eq!(seen, chars.to_string());
    let grown = (status("VmHWM:") - before) as f64 / 1e3;
    // In Python an ASCII character takes one byte, a Cyrillic one two, as in UTF-8.
    println!("  {kind:<9} {megabytes:>5} MB: grew by {grown:>7.1} MB, {:.2} x", grown / megabytes as f64);
}

async fn run(session: &mut dyn CodeInterpreter, cell: Cell) -> String {
    let observation = session.execute(cell, &NoHostFunctions).await.unwrap();
    assert!(observation.is_ok(), "{observation:?}");
    observation.value.map(|value| value.to_string()).unwrap_or_default()
}

/// Bytes that only this process has.
fn private() -> u64 {
    number(&fs::read_to_string("/proc/self/smaps_rollup").unwrap(), "Private_Dirty:") << 10
}

/// A number of kilobytes in the process's status.
fn status(name: &str) -> u64 {
    number(&fs::read_to_string("/proc/self/status").unwrap(), name)
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

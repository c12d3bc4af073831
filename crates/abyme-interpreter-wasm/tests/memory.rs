//! What a cell can make its host hold, measured in a process of its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use abyme_conformance::memory::grown_bytes;
use abyme_core::{
    Cell, CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory, Observation,
    ParameterSpec, Scope, Value,
};
use abyme_interpreter_wasm::Wasm;
use async_trait::async_trait;

/// The default of `max_message_bytes`, and what everything else may take.
const BOUND: u64 = (256 + 64) << 20;

/// The memory of a guest that is not to count much.
const GUEST: u64 = 64 << 20;

/// `big()` returns a new text of 10 MB, `many()` 80 MB of integers, `echo(value)` what it is given.
struct Functions;

#[async_trait]
impl HostFunctions for Functions {
    async fn call(&self, mut call: HostCall) -> Result<Value, HostError> {
        match call.name.as_str() {
            "big" => Ok("x".repeat(10_000_000).into()),
            "many" => Ok(Value::list(vec![1000_i64; 4_000_000])),
            _ => Ok(call.kwargs.swap_remove("value").unwrap_or_default()),
        }
    }
}

fn scope() -> Arc<Scope> {
    let echo = FunctionSpec::new("echo", "").parameter(ParameterSpec::new("value"));
    let scope = Scope::new().function(FunctionSpec::new("big", "")).function(FunctionSpec::new("many", ""));
    Arc::new(scope.function(echo))
}

/// Runs cells in one session.
fn run(wasm: Wasm, cells: &[&str]) -> Vec<Observation> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut session = wasm.create().await.unwrap();
        session.start().await.unwrap();
        let mut observations = Vec::new();
        for code in cells {
            let cell = Cell::new(*code).scope(scope()).timeout(Duration::from_secs(60));
            observations.push(session.execute(cell, &Functions).await.unwrap());
        }
        observations
    })
}

fn error(observation: &Observation) -> String {
    observation.error.as_ref().map(ToString::to_string).unwrap_or_else(|| format!("{observation:?}"))
}

#[test]
fn a_hundred_and_fifty_untaken_replies_of_ten_megabytes() {
    let grown = grown_bytes("a_hundred_and_fifty_untaken_replies_of_ten_megabytes", || {
        let code = "import time\nfrom concurrent.futures import ThreadPoolExecutor\n\
                    pool = ThreadPoolExecutor(150)\n\
                    calls = [pool.submit(big) for _ in range(150)]\n\
                    end = time.monotonic() + 2\n\
                    while time.monotonic() < end: pass\n\
                    print('left')";
        let observations = run(Wasm::new().memory_limit_bytes(GUEST), &[code, "1 + 1"]);
        assert_eq!(observations[0].stdout.head.trim(), "left", "{}", error(&observations[0]));
        assert!(observations[1].is_ok(), "{:?}", observations[1]);
    });
    // At the end of its cell, the guest takes as many as its own memory can hold.
    assert!(grown < BOUND + GUEST, "{} MB", grown >> 20);
}

#[test]
fn results_that_come_together_are_all_handed_on() {
    let code = "from concurrent.futures import ThreadPoolExecutor\n\
                with ThreadPoolExecutor(60) as pool:\n    \
                print(sum(pool.map(lambda _: len(big()), range(60))))";
    let observations = run(Wasm::new(), &[code]);
    assert_eq!(observations[0].stdout.head.trim(), "600000000", "{}", error(&observations[0]));
}

#[test]
fn a_submission_of_millions_of_items() {
    let grown = grown_bytes("a_submission_of_millions_of_items", || {
        let observations = run(
            Wasm::new(),
            &["SUBMIT([0] * 3_900_000)", "echo([[]] * 3_900_000)", "v = [0] * 3_900_000", "1 + 1"],
        );
        for observation in &observations[..2] {
            assert!(
                error(observation).contains("more than 256 MiB of the host's memory"),
                "{}",
                error(observation)
            );
        }
        assert!(observations[3].is_ok());
    });
    assert!(grown < BOUND, "{} MB", grown >> 20);
}

#[test]
fn large_integers_do_not_hold_up_the_host() {
    let observations =
        run(Wasm::new(), &["n = (1 << 399_999) - 1\necho([n] * 1000)", "SUBMIT([n] * 1500)", "echo(n) == n"]);
    for observation in &observations[..2] {
        assert!(error(observation).contains("large integers"), "{}", error(observation));
    }
    assert_eq!(observations[2].value.as_ref().unwrap().to_string(), "True");
}

#[tokio::test]
async fn an_answer_over_the_budget_is_an_error_of_its_cell() {
    let mut session = Wasm::new().max_message_bytes(1 << 20).create().await.unwrap();
    let cell = Cell::new("print('shown')\nv = 'x' * 2_000_000").read("v");
    let observation = session.execute(cell, &Functions).await.unwrap();
    assert!(error(&observation).contains("more than 1 MiB of the host's memory"), "{}", error(&observation));
    assert_eq!(observation.stdout.head.trim(), "shown");
    let observation = session.execute(Cell::new("len(v)"), &Functions).await.unwrap();
    assert_eq!(observation.value.unwrap().to_string(), "2000000");
}

/// It is said before the host encodes anything, with what Python needs for the objects themselves.
#[tokio::test]
async fn a_list_that_cannot_fit_is_refused_at_once() {
    let mut session = Wasm::new().memory_limit_bytes(64 << 20).create().await.unwrap();
    let texts = Value::list(vec![Value::from("short text"); 2_000_000]);
    let cell = Cell::new("").variable("texts", texts);
    let message = error(&session.execute(cell, &Functions).await.unwrap());
    assert!(
        message.starts_with("MemoryError: the variable `texts` (at least 68 MiB in Python)"),
        "{message}"
    );
    assert!(session.execute(Cell::new("1 + 1"), &Functions).await.unwrap().is_ok());
}

#[test]
fn a_result_that_cannot_fit_is_refused_at_once() {
    let observations = run(Wasm::new().memory_limit_bytes(GUEST), &["many()", "echo(1)"]);
    assert_eq!(error(&observations[0]), "MemoryError: the result does not fit the session's memory");
    assert!(observations[1].is_ok(), "{:?}", observations[1]);
}

#[test]
fn what_cannot_be_passed_on_for_want_of_memory_is_a_memory_error() {
    // Texts that differ: what passes them on needs as much again.
    let full = "x = []\ntry:\n    while True: x.append(str(len(x)) * 100)\nexcept MemoryError: pass";
    let observations =
        run(Wasm::new().memory_limit_bytes(GUEST), &[full, "echo(x)", "SUBMIT(x)", "len(x) > 0"]);
    assert!(observations[0].is_ok(), "{:?}", observations[0]);
    for observation in &observations[1..3] {
        assert!(error(observation).starts_with("MemoryError"), "{}", error(observation));
        assert_eq!((&observation.session_ended, &observation.restored), (&None, &None));
    }
    assert!(observations[3].is_ok(), "{:?}", observations[3]);
}

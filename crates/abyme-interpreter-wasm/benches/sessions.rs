//! Times of the wasm backend, the rows of its README.md:
//! `cargo bench -p abyme-interpreter-wasm --bench sessions`.
//!
//! The comment of each benchmark says what it times. The result of every cell is checked. `with_inputs` makes
//! what is not measured.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::sync::{Arc, OnceLock};

use abyme_core::{
    Cell, CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    NoHostFunctions, Observation, ParameterSpec, Scope, Value,
};
use abyme_interpreter_wasm::Wasm;
use async_trait::async_trait;
use divan::{Bencher, black_box};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// One thread, as for a program that does nothing else.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

fn factory(checkpoints: bool) -> Wasm {
    let factory = Wasm::new().checkpoints(checkpoints).max_sessions(64).memory_limit_bytes(4 << 30);
    runtime().block_on(factory.prepare()).unwrap();
    factory
}

fn run(session: &mut dyn CodeInterpreter, cell: Cell) -> Observation {
    let observation = runtime().block_on(session.execute(cell, &NoHostFunctions)).unwrap();
    assert!(observation.is_ok(), "{observation:?}");
    observation
}

fn create(factory: &Wasm) -> Box<dyn CodeInterpreter> {
    runtime().block_on(factory.create()).unwrap()
}

fn ready(factory: &Wasm) -> Box<dyn CodeInterpreter> {
    let mut session = create(factory);
    let _ = run(session.as_mut(), Cell::new("1"));
    session
}

/// A session is made, runs `print(6 * 7)`, and the output is there. With checkpoints and without.
#[divan::bench(args = [true, false], sample_count = 200)]
fn fresh_session_to_first_output(bencher: Bencher<'_, '_>, checkpoints: bool) {
    let factory = factory(checkpoints);
    bencher.bench_local(|| {
        let mut session = create(&factory);
        let observation = run(session.as_mut(), Cell::new("print(6 * 7)"));
        assert_eq!(observation.stdout.to_string(), "42\n");
        session
    });
}

/// One more cell in a session: `x = x + 1; x`, with its full observation. With checkpoints, of which
/// few are taken, and without.
#[divan::bench(args = [true, false], sample_count = 500)]
fn cell(bencher: Bencher<'_, '_>, checkpoints: bool) {
    let mut session = ready(&factory(checkpoints));
    let _ = run(session.as_mut(), Cell::new("x = 0"));
    bencher.bench_local(|| {
        let observation = run(session.as_mut(), Cell::new("x = x + 1\nx"));
        assert!(observation.value.is_some());
    });
}

/// A thousand calls of a host function with one text, in one cell: the time of one is a thousandth.
#[divan::bench(sample_count = 50)]
fn thousand_host_calls(bencher: Bencher<'_, '_>) {
    let mut session = ready(&factory(false));
    let echo = FunctionSpec::new("echo", "Answers what it gets.").parameter(ParameterSpec::new("value"));
    let scope = Arc::new(Scope::new().function(echo));
    bencher.bench_local(|| {
        let cell = Cell::new("for _ in range(1000): seen = echo('x')\nseen").scope(scope.clone());
        let observation = runtime().block_on(session.execute(cell, &Echo)).unwrap();
        assert_eq!(observation.value.unwrap().to_string(), "'x'");
    });
}

#[derive(Debug)]
struct Echo;

#[async_trait]
impl HostFunctions for Echo {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        Ok(call.kwargs.into_values().next().unwrap_or_default())
    }
}

/// Puts MB of ASCII text into a new session as a variable, and reads its length.
#[divan::bench(args = [10, 100, 1000], sample_count = 5, sample_size = 1)]
fn ascii_text_in(bencher: Bencher<'_, '_>, megabytes: usize) {
    text_in(bencher, "a line of some text, fifty characters long, or so.\n", megabytes);
}

/// The same with Cyrillic text: two bytes for a character, both in UTF-8 and in Python.
#[divan::bench(args = [10, 100, 1000], sample_count = 5, sample_size = 1)]
fn cyrillic_text_in(bencher: Bencher<'_, '_>, megabytes: usize) {
    text_in(bencher, "строкатекстаизсорокашестибуквбезпробелов", megabytes);
}

fn text_in(bencher: Bencher<'_, '_>, line: &str, megabytes: usize) {
    let factory = factory(false);
    let text = Value::from(line.repeat(megabytes * 1_000_000 / line.len()));
    let chars = text.as_text().unwrap().chars().count();
    bencher.with_inputs(|| (ready(&factory), text.clone())).bench_local_values(|(mut session, text)| {
        let observation = run(session.as_mut(), Cell::new("len(text)").variable("text", text));
        assert_eq!(observation.value.unwrap().to_string(), chars.to_string());
        session
    });
}

/// A session with some variables and functions is copied; the copy has not run a cell yet.
#[divan::bench(sample_count = 100)]
fn fork(bencher: Bencher<'_, '_>) {
    let mut session = ready(&factory(true));
    let _ = run(
        session.as_mut(),
        Cell::new("rows = [str(n) for n in range(10_000)]\ndef total(): return len(rows)\ntotal()"),
    );
    bencher.bench_local(|| runtime().block_on(session.fork()).unwrap());
}

/// The same, and the copy's first cell.
#[divan::bench(sample_count = 100)]
fn fork_to_first_output(bencher: Bencher<'_, '_>) {
    let mut session = ready(&factory(true));
    let _ = run(
        session.as_mut(),
        Cell::new("rows = [str(n) for n in range(10_000)]\ndef total(): return len(rows)\ntotal()"),
    );
    bencher.bench_local(|| {
        let mut fork = runtime().block_on(session.fork()).unwrap();
        let observation = runtime().block_on(fork.execute(Cell::new("total()"), &NoHostFunctions)).unwrap();
        assert_eq!(observation.value.unwrap().to_string(), "10000");
        fork
    });
}

/// What a process does once, before its first session, when the cache is filled.
#[divan::bench(sample_count = 20)]
fn load_per_process(bencher: Bencher<'_, '_>) {
    drop(factory(true));
    bencher.bench_local(|| black_box(factory(true)));
}

/// Seconds of pure Python; compare with `python3 benches/speed.py`.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn pure_python(bencher: Bencher<'_, '_>) {
    let factory = factory(false);
    let code = include_str!("speed.py");
    bencher.with_inputs(|| ready(&factory)).bench_local_values(|mut session| {
        println!("{}", run(session.as_mut(), Cell::new(code)).stdout);
        session
    });
}

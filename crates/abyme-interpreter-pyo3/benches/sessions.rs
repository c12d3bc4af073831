//! Times of the pyo3 backend. `cargo bench -p abyme-interpreter-pyo3`.
//!
//! Each benchmark says what it times in its comment; the result of every cell is checked. What is made ready
//! outside of the measured part is made in `with_inputs`.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::sync::{Arc, OnceLock};

use abyme_core::{
    Cell, CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    NoHostFunctions, Observation, ParameterSpec, Scope, Value,
};
use abyme_interpreter_pyo3::Pyo3;
use async_trait::async_trait;
use divan::Bencher;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// One thread, as for a program that does nothing else.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

fn run(session: &mut dyn CodeInterpreter, cell: Cell) -> Observation {
    let observation = runtime().block_on(session.execute(cell, &NoHostFunctions)).unwrap();
    assert!(observation.is_ok(), "{observation:?}");
    observation
}

fn create(pyo3: &Pyo3) -> Box<dyn CodeInterpreter> {
    runtime().block_on(pyo3.create()).unwrap()
}

fn ready() -> Box<dyn CodeInterpreter> {
    let mut session = create(&Pyo3::new());
    let _ = run(&mut session, Cell::new("1"));
    session
}

/// A session is made, runs `print(6 * 7)`, and the output is there. Python runs already.
#[divan::bench(sample_count = 200)]
fn fresh_session_to_first_output(bencher: Bencher<'_, '_>) {
    let pyo3 = Pyo3::new();
    bencher.bench_local(|| {
        let mut session = create(&pyo3);
        let observation = run(&mut session, Cell::new("print(6 * 7)"));
        assert_eq!(observation.stdout.to_string(), "42\n");
        session
    });
}

/// One more cell in a session: `x = x + 1; x`, with its full observation.
#[divan::bench(sample_count = 2000)]
fn cell(bencher: Bencher<'_, '_>) {
    let mut session = ready();
    let _ = run(&mut session, Cell::new("x = 0"));
    bencher.bench_local(|| {
        let observation = run(&mut session, Cell::new("x = x + 1\nx"));
        assert!(observation.value.is_some());
    });
}

/// A thousand calls of a host function with one text, in one cell: the time of one is a thousandth.
#[divan::bench(sample_count = 50)]
fn thousand_host_calls(bencher: Bencher<'_, '_>) {
    let mut session = ready();
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

/// MB of ASCII text put into a fresh session as a variable, and its length asked for.
#[divan::bench(args = [10, 100, 1000], sample_count = 5, sample_size = 1)]
fn ascii_text_in(bencher: Bencher<'_, '_>, megabytes: usize) {
    let line = "a line of some text, fifty characters long, or so.\n";
    let text = Value::from(line.repeat(megabytes * 1_000_000 / line.len()));
    let chars = text.as_text().unwrap().chars().count();
    bencher.with_inputs(|| (ready(), text.clone())).bench_local_values(|(mut session, text)| {
        let observation = run(&mut session, Cell::new("len(text)").variable("text", text));
        assert_eq!(observation.value.unwrap().to_string(), chars.to_string());
        session
    });
}

//! Times of the Docker backend, with the engine and the image of the tests.
//! `cargo bench -p abyme-interpreter-docker`.
//!
//! Each benchmark says what it times in its comment; the result of every cell is checked. What is made ready
//! outside of the measured part is made in `with_inputs`.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::sync::{Arc, OnceLock};

use abyme_core::{
    Cell, CodeInterpreter, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactory,
    NoHostFunctions, Observation, ParameterSpec, Pool, PoolConfig, Scope, Value,
};
use abyme_interpreter_docker::Docker;
use async_trait::async_trait;
use divan::Bencher;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

fn factory() -> Docker {
    let mut docker = Docker::new().memory_limit_bytes(1 << 30);
    if let Ok(image) = std::env::var("ABYME_DOCKER_IMAGE") {
        docker = docker.image(image);
    }
    let factory = docker;
    runtime().block_on(factory.prepare()).unwrap();
    factory
}

fn run(session: &mut dyn CodeInterpreter, cell: Cell) -> Observation {
    let observation = runtime().block_on(session.execute(cell, &NoHostFunctions)).unwrap();
    assert!(observation.is_ok(), "{observation:?}");
    observation
}

fn ready(factory: &impl InterpreterFactory) -> Box<dyn CodeInterpreter> {
    let mut session = runtime().block_on(factory.create()).unwrap();
    let _ = run(&mut *session, Cell::new("1"));
    session
}

fn first_output(factory: &impl InterpreterFactory) -> Box<dyn CodeInterpreter> {
    let mut session = runtime().block_on(factory.create()).unwrap();
    let observation = run(&mut *session, Cell::new("print(6 * 7)"));
    assert_eq!(observation.stdout.to_string(), "42\n");
    session
}

/// A container is made, runs `print(6 * 7)`, and the output is there. Its end is not in it.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn cold_start_to_first_output(bencher: Bencher<'_, '_>) {
    let factory = factory();
    bencher.bench_local(|| first_output(&factory));
}

/// The same from a pool of one started session, which is full again before each turn.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn pooled_start_to_first_output(bencher: Bencher<'_, '_>) {
    let pool = Pool::new(factory(), PoolConfig::default().size(1));
    bencher
        .with_inputs(|| {
            runtime().block_on(async {
                pool.fill().await.unwrap();
                // One that is being started counts as started already.
                while pool.ready() == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            });
        })
        .bench_local_values(|()| first_output(&pool));
}

/// A session is shut down, and its container is gone.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn shutdown(bencher: Bencher<'_, '_>) {
    let factory = factory();
    bencher.with_inputs(|| ready(&factory)).bench_local_values(|mut session| {
        runtime().block_on(session.shutdown()).unwrap();
    });
}

/// One more cell in a session: `x = x + 1; x`, with its full observation.
#[divan::bench(sample_count = 500)]
fn cell(bencher: Bencher<'_, '_>) {
    let mut session = ready(&factory());
    let _ = run(&mut *session, Cell::new("x = 0"));
    bencher.bench_local(|| {
        let observation = run(&mut *session, Cell::new("x = x + 1\nx"));
        assert!(observation.value.is_some());
    });
}

/// A hundred calls of a host function with one text, in one cell: the time of one is a hundredth.
#[divan::bench(sample_count = 50)]
fn hundred_host_calls(bencher: Bencher<'_, '_>) {
    let mut session = ready(&factory());
    let echo = FunctionSpec::new("echo", "Answers what it gets.").parameter(ParameterSpec::new("value"));
    let scope = Arc::new(Scope::new().function(echo));
    bencher.bench_local(|| {
        let cell = Cell::new("for _ in range(100): seen = echo('x')\nseen").scope(scope.clone());
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
#[divan::bench(args = [10, 100], sample_count = 5, sample_size = 1)]
fn text_in(bencher: Bencher<'_, '_>, megabytes: usize) {
    let factory = factory();
    let line = "a line of some text, fifty characters long, or so.\n";
    let text = Value::from(line.repeat(megabytes * 1_000_000 / line.len()));
    let chars = text.as_text().unwrap().chars().count();
    bencher.with_inputs(|| (ready(&factory), text.clone())).bench_local_values(|(mut session, text)| {
        let observation = run(&mut *session, Cell::new("len(text)").variable("text", text));
        assert_eq!(observation.value.unwrap().to_string(), chars.to_string());
        session
    });
}

/// MB of ASCII text read back as a variable.
#[divan::bench(args = [10, 100], sample_count = 5, sample_size = 1)]
fn text_out(bencher: Bencher<'_, '_>, megabytes: usize) {
    let mut session = ready(&factory());
    let _ = run(&mut *session, Cell::new(format!("text = 'x' * {}", megabytes * 1_000_000)));
    bencher.bench_local(|| {
        let observation = run(&mut *session, Cell::new("").read("text"));
        assert_eq!(observation.variables["text"].as_text().unwrap().len(), megabytes * 1_000_000);
    });
}

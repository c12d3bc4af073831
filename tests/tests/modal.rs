//! A run on Modal that is killed after any of its events goes on, as on the other backends. In place of Modal
//! there is the server of its own crate's tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../../crates/abyme-interpreter-modal/tests/common/mod.rs"]
mod common;
#[path = "backends/five_turns.rs"]
mod five_turns;
#[path = "backends/killed.rs"]
mod killed;

use std::{process::ExitCode, sync::Arc};

use abyme::InterpreterFactory;

use self::common::FakeModal;

type Backend = Arc<dyn InterpreterFactory>;

async fn a_killed_run_goes_on() {
    let server = FakeModal::start();
    killed::a_killed_run_goes_on(Arc::new(server.modal())).await;
}

fn main() -> ExitCode {
    let own_server = |_: &str| -> Option<Backend> {
        // This process is killed, and its server ends with it.
        let server = Box::leak(Box::new(FakeModal::start()));
        Some(Arc::new(server.modal()))
    };
    killed::instead_of_tests(own_server).unwrap_or_else(|| run!(a_killed_run_goes_on))
}

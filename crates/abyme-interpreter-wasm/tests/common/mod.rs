//! What the tests of this crate share.

#![allow(dead_code, reason = "each test program uses a part")]

use std::sync::OnceLock;

use abyme_core::{CodeInterpreterExt, InterpreterFactory, Observation, Session};
use abyme_interpreter_wasm::Wasm;

/// One factory for all tests of a program: the interpreter is loaded once.
pub(crate) fn factory() -> &'static Wasm {
    static FACTORY: OnceLock<Wasm> = OnceLock::new();
    FACTORY.get_or_init(|| Wasm::new().max_sessions(200))
}

pub(crate) async fn session() -> Session {
    session_of(factory()).await
}

pub(crate) async fn session_of(factory: &Wasm) -> Session {
    factory.create().await.unwrap().start_session().await.unwrap()
}

/// Runs code that must work, and answers the text of its value.
pub(crate) async fn value(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    assert!(observation.is_ok(), "{code}\n{}", told(&observation));
    observation.value.map(|value| value.to_string()).unwrap_or_default()
}

/// Runs code that must raise, and answers `Type: message`.
pub(crate) async fn error(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    match &observation.error {
        Some(error) => error.to_string(),
        None => panic!("{code}\n{}", told(&observation)),
    }
}

pub(crate) fn told(observation: &Observation) -> String {
    format!("{observation:#?}")
}

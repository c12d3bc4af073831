//! Helpers that the tests of this crate share.

#![allow(dead_code, reason = "each test program uses a part")]

use abyme_core::{InterpreterFactoryExt, Session};
use abyme_interpreter_pyo3::Pyo3;

pub(crate) async fn session() -> Session {
    Pyo3::new().session().await.unwrap()
}

/// Runs code that must work, and returns the text of its value.
pub(crate) async fn value(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    assert!(observation.is_ok(), "{code}\n{observation:#?}");
    observation.value.map(|value| value.to_string()).unwrap_or_default()
}

/// Runs code that must raise, and returns `Type: message`.
pub(crate) async fn error(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    match &observation.error {
        Some(error) => error.to_string(),
        None => panic!("{code}\n{observation:#?}"),
    }
}

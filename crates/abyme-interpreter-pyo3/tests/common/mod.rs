//! What the tests of this crate share.

#![allow(dead_code, reason = "each test program uses a part")]

use abyme_core::{CodeInterpreterExt, InterpreterFactory, Session};
use abyme_interpreter_pyo3::Pyo3;

pub(crate) async fn session() -> Session {
    Pyo3::new().create().await.unwrap().start_session().await.unwrap()
}

/// Runs code that must work, and answers the text of its value.
pub(crate) async fn value(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    assert!(observation.is_ok(), "{code}\n{observation:#?}");
    observation.value.map(|value| value.to_string()).unwrap_or_default()
}

/// Runs code that must raise, and answers `Type: message`.
pub(crate) async fn error(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    match &observation.error {
        Some(error) => error.to_string(),
        None => panic!("{code}\n{observation:#?}"),
    }
}

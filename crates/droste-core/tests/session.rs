//! The wrapper around every interpreter, and the pool.

mod common;

use std::{sync::Arc, time::Duration};

use common::interpreter;
use droste_core::{
    Cell, CodeInterpreter, CodeInterpreterExt, CodePolicy, ErrorKind, InterpreterFactory, NoHostFunctions,
    Pool, PoolConfig, Stage,
};

#[tokio::test]
async fn names_are_checked_before_a_cell_runs() {
    let interpreter = interpreter();
    let mut session = interpreter.clone().into_session();
    for name in ["my var", "class", "SUBMIT", "llm_query", "", "1a"] {
        let error = session.set_variable(name, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
    }
    assert!(interpreter.cells().is_empty());
}

#[tokio::test]
async fn after_its_end_a_session_gives_the_same_reason_every_time() {
    let mut session = interpreter().into_session();
    let observation = session.run_code("die").await.unwrap();
    assert!(observation.session_ended.is_some());
    for _ in 0..2 {
        let error = session.run_code("print a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SessionEnded);
        assert!(error.message().contains("code 3"), "{error}");
    }
    session.shutdown().await.unwrap();
    session.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_submission_terminates_the_repl() {
    let mut session = interpreter().start_session().await.unwrap();
    session.run_code("print a").await.unwrap();
    assert!(!session.is_terminated());
    session.run_code("final 42").await.unwrap();
    assert!(session.is_terminated());
    assert!(session.final_answer().is_some());
}

#[tokio::test]
async fn the_policy_answers_instead_of_the_interpreter() {
    let interpreter = interpreter();
    let policy = Arc::new(CodePolicy::guard_rail());
    let mut session = interpreter.clone().into_session().with_policy(policy);
    let observation = session.execute(Cell::new("x = 1\nimport socket"), &NoHostFunctions).await.unwrap();
    let error = observation.error.unwrap();
    assert_eq!((error.stage, error.line), (Stage::Policy, Some(2)));
    assert!(error.to_string().starts_with("Blocked: line 2"), "{error}");
    assert!(interpreter.cells().iter().all(|cell| cell.code.is_empty()), "nothing of it ran");
    assert!(session.run_code("print('socket')").await.unwrap().error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pool_hands_out_warm_sessions_and_refills() {
    let config = PoolConfig::default().size(2).idle_limit(Duration::from_secs(60));
    let pool = Pool::new(interpreter().factory(), config);
    pool.warm().await.unwrap();
    assert_eq!(pool.ready(), 2);
    let _session = pool.create().await.unwrap();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(pool.ready(), 2, "a session that is handed out is replaced");
    tokio::time::sleep(Duration::from_secs(61)).await;
    tokio::task::yield_now().await;
    assert_eq!(pool.ready(), 0, "sessions that nobody uses are let go");
    assert!(pool.create().await.is_ok());
}

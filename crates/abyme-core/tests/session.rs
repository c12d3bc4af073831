//! The wrapper around every interpreter, and the pool.

mod common;

use std::{sync::Arc, time::Duration};

use abyme_core::{
    Capabilities, Cell, CodeInterpreter, CodeInterpreterExt, CodePolicy, ErrorKind, HostFunctions,
    InterpreterFactory, Isolation, NoHostFunctions, Observation, Pool, PoolConfig, Result, Scope, Stage,
};
use common::interpreter;

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
    let mut session = interpreter.clone().into_session().policy(policy);
    let observation = session.execute(Cell::new("x = 1\nimport socket"), &NoHostFunctions).await.unwrap();
    let error = observation.error.unwrap();
    assert_eq!((error.stage, error.line), (Stage::Policy, Some(2)));
    assert!(error.to_string().starts_with("Blocked: line 2"), "{error}");
    assert!(interpreter.cells().iter().all(|cell| cell.code.is_empty()), "nothing of it ran");
    assert!(session.run_code("print('socket')").await.unwrap().error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pool_hands_out_started_sessions_and_refills() {
    let config = PoolConfig::default().size(2).idle_timeout(Duration::from_secs(60));
    let pool = Pool::new(interpreter().factory(), config);
    pool.fill().await.unwrap();
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

#[tokio::test]
async fn a_fork_goes_on_by_itself_with_all_that_is_around_it() {
    let interpreter = interpreter();
    let scope = Arc::new(Scope::new().output("answer", "str"));
    let mut session = (interpreter.clone().into_session())
        .policy(Arc::new(CodePolicy::guard_rail()))
        .host(scope.clone(), Arc::new(NoHostFunctions))
        .cell_timeout(Duration::from_secs(7))
        .max_output_chars(70);
    session.run_code("final 42").await.unwrap();

    let mut fork = session.fork().await.unwrap();
    assert!(fork.is_terminated(), "a submission is part of what is copied");
    session.shutdown().await.unwrap();
    assert_eq!(fork.ended(), None);
    let refused = fork.run_code("import socket").await.unwrap().error.unwrap();
    assert_eq!(refused.stage, Stage::Policy);
    fork.run_code("print a").await.unwrap();
    let cell = interpreter.cells().pop().unwrap();
    assert!(Arc::ptr_eq(&cell.scope, &scope));
    assert_eq!((cell.timeout, cell.max_output_chars), (Some(Duration::from_secs(7)), 70));

    let error = session.fork().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    let mut fork_of_fork = fork.fork().await.unwrap();
    fork.run_code("die").await.unwrap();
    assert_eq!(fork.fork().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(fork.snapshot().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    fork_of_fork.run_code("print a").await.unwrap();
}

#[tokio::test]
async fn many_forks_are_as_many_sessions() {
    let mut plain = interpreter().into_session();
    let mut forks = plain.fork_many(3).await.unwrap();
    forks[0].shutdown().await.unwrap();
    assert!(forks[1].start().await.is_ok());
    assert_eq!(forks.len(), 3);

    let mut session = interpreter().into_session();
    session.run_code("final 42").await.unwrap();
    let forks = session.fork_many(2).await.unwrap();
    assert_eq!(forks.iter().filter(|fork| fork.is_terminated()).count(), 2);
    assert!(session.fork_many(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_snapshot_is_restored_by_the_factory_also_through_a_pool() {
    let interpreter = interpreter();
    let mut session = interpreter.clone().start_session().await.unwrap();
    let snapshot = session.snapshot().await.unwrap();
    let factory = Arc::new(interpreter.factory());
    let pool = Pool::new(factory.clone(), PoolConfig::default().size(0));
    for factory in [&factory as &dyn InterpreterFactory, &pool] {
        let mut restored = factory.restore(&snapshot).await.unwrap().into_session();
        restored.run_code("print a").await.unwrap();
        let error = factory.restore(&snapshot[1..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_power_that_is_not_declared_is_refused_with_what_to_do() {
    let plain = interpreter().with_capabilities(Capabilities::new(Isolation::Process));
    let mut session = plain.start_session().await.unwrap();
    let fork = session.fork().await.unwrap_err();
    let many = session.fork_many(2).await.unwrap_err();
    let snapshot = session.snapshot().await.unwrap_err();
    for (error, power) in [(fork, "`fork`"), (many, "`fork`"), (snapshot, "`snapshot`")] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        for part in ["in a process", power, "use the wasm backend"] {
            assert!(error.message().contains(part), "{part} is not in: {error}");
        }
    }
    session.run_code("print a").await.unwrap();
}

/// A backend from before there were such powers.
#[derive(Debug)]
struct Least(Capabilities);

#[async_trait::async_trait]
impl CodeInterpreter for Least {
    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    async fn start(&mut self) -> Result<()> {
        Ok(())
    }

    async fn execute(&mut self, _: Cell, _: &dyn HostFunctions) -> Result<Observation> {
        Ok(Observation::default())
    }

    async fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl InterpreterFactory for Least {
    fn name(&self) -> &str {
        "least"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        Ok(Box::new(Least(self.0.clone())))
    }
}

#[tokio::test]
async fn a_backend_that_says_nothing_of_forks_refuses_them() {
    let factory = Arc::new(Least(Capabilities::new(Isolation::Container)));
    let mut boxed = factory.create().await.unwrap();
    let errors = [
        boxed.fork().await.unwrap_err(),
        boxed.snapshot().await.unwrap_err(),
        factory.restore(b"").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("in a container"), "{error}");
    }
}

//! The wrapper around every interpreter, and the pool.

mod common;

use std::{sync::Arc, time::Duration};

use abyme_core::{
    Capabilities, Cell, CodeInterpreter, CodeInterpreterExt, CodePolicy, ErrorKind, FunctionSpec, HostCall,
    HostError, HostFunctions, InterpreterFactory, InterpreterFactoryExt, Interruption, Isolation,
    NoHostFunctions, Observation, Pool, PoolConfig, Result, Rlm, Scope, Stage, Tool, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
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
    let _ = session.run_code("print a").await.unwrap();
    assert!(!session.is_terminated());
    let observation = session.run_code("final 42").await.unwrap();
    assert!(session.is_terminated());
    assert!(observation.submission.is_some());
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
    let _ = session.run_code("final 42").await.unwrap();

    let mut fork = session.fork().await.unwrap();
    assert!(fork.is_terminated(), "a submission is part of what is copied");
    session.shutdown().await.unwrap();
    assert_eq!(fork.ended(), None);
    let refused = fork.run_code("import socket").await.unwrap().error.unwrap();
    assert_eq!(refused.stage, Stage::Policy);
    let _ = fork.run_code("print a").await.unwrap();
    let cell = interpreter.cells().pop().unwrap();
    assert!(Arc::ptr_eq(&cell.scope, &scope));
    assert_eq!((cell.timeout, cell.max_output_chars), (Some(Duration::from_secs(7)), 70));

    let error = session.fork().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    let mut fork_of_fork = fork.fork().await.unwrap();
    let _ = fork.run_code("die").await.unwrap();
    assert_eq!(fork.fork().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    assert_eq!(fork.snapshot().await.unwrap_err().kind(), ErrorKind::SessionEnded);
    let _ = fork_of_fork.run_code("print a").await.unwrap();
}

#[tokio::test]
async fn many_forks_are_as_many_sessions() {
    let mut plain = interpreter().into_session();
    let mut forks = plain.fork_many(3).await.unwrap();
    forks[0].shutdown().await.unwrap();
    assert!(forks[1].start().await.is_ok());
    assert_eq!(forks.len(), 3);

    let mut session = interpreter().into_session();
    let _ = session.run_code("final 42").await.unwrap();
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
        let _ = restored.run_code("print a").await.unwrap();
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
        for part in ["in a process", power, "such as the wasm backend"] {
            assert!(error.message().contains(part), "{part} is not in: {error}");
        }
    }
    let _ = session.run_code("print a").await.unwrap();
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

#[tokio::test]
async fn a_wrapper_that_passes_on_too_little_is_told_so() {
    // What it declares is that of the backend inside.
    let factory = Box::new(Least(interpreter().capabilities().clone()));
    let mut session = factory.session().await.unwrap();
    let errors = [
        session.fork().await.unwrap_err(),
        session.snapshot().await.unwrap_err(),
        factory.restore(b"").await.unwrap_err(),
    ];
    for (error, power) in errors.iter().zip(["`fork`", "`snapshot`", "`snapshot`"]) {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        for part in [power, "declares", "has to pass on every method"] {
            assert!(error.message().contains(part), "{part} is not in: {error}");
        }
        assert!(!error.message().contains("use "), "there is no other backend to use: {error}");
    }
}

#[tokio::test]
async fn only_what_a_cell_is_offered_reaches_the_host() {
    struct All;

    #[async_trait::async_trait]
    impl HostFunctions for All {
        async fn call(&self, call: HostCall) -> Result<Value, HostError> {
            Ok(format!("ran {}", call.name).into())
        }
    }

    let forged = ScriptedInterpreter::calling(|_| {
        ["offered", "taken_back", "secret_admin"].map(HostCall::new).into_iter().collect()
    });
    let mut session = forged.into_session();
    let scope = |names: &[&str]| {
        names.iter().fold(Scope::new(), |scope, name| scope.function(FunctionSpec::new(*name, "")))
    };
    let mut results = Vec::new();
    for offered in [scope(&["offered", "taken_back"]), scope(&["offered"])] {
        let cell = Cell::new("").scope(Arc::new(offered));
        let observation = session.execute(cell, &All).await.unwrap();
        results.extend(observation.value.unwrap().to_string().lines().map(str::to_owned));
    }
    let refused = |name| format!("NameError: this cell is not offered a function `{name}`");
    let (ran, refused_admin) = ("'ran offered'".to_owned(), refused("secret_admin"));
    let first = [ran.clone(), "'ran taken_back'".to_owned(), refused_admin.clone()];
    assert_eq!(results, [first.as_slice(), &[ran, refused("taken_back"), refused_admin]].concat());
}

#[tokio::test]
async fn a_plain_session_has_tools_beside_its_host_functions() {
    struct Host;

    #[async_trait::async_trait]
    impl HostFunctions for Host {
        async fn call(&self, call: HostCall) -> Result<Value, HostError> {
            Ok(call.name.into())
        }
    }

    let interpreter =
        ScriptedInterpreter::calling(|_| ["of_host", "one", "two"].map(HostCall::new).into_iter().collect());
    let tool = |name: &str, number: i64| Tool::new(name, "", move || number);
    let session = interpreter.into_session();
    let session = session.host(Scope::new().function(FunctionSpec::new("of_host", "")), Arc::new(Host));
    let session = session.tools([tool("one", 1)]).unwrap();
    let mut session = session.tools([tool("two", 2)]).unwrap();
    let observation = session.run_code("").await.unwrap();
    assert_eq!(observation.value.unwrap().to_string(), "'of_host'\n1\n2");
    let observation = session.fork().await.unwrap().run_code("").await.unwrap();
    assert_eq!(observation.value.unwrap().to_string(), "'of_host'\n1\n2");
    for name in ["of_host", "one"] {
        let session = session.fork().await.unwrap();
        let error = session.tools([tool(name, 3)]).unwrap_err();
        assert_eq!(error.message(), format!("two functions are called `{name}`: rename one of them"));
    }
}

#[tokio::test]
async fn a_variable_of_a_plain_session_is_no_input() {
    let mut session = interpreter().into_session();
    session.set_variable("json", 1).await.unwrap();
    let error = session.set_variable("llm_query", 1).await.unwrap_err();
    assert_eq!(
        error.message(),
        "`llm_query` cannot be a variable: the session provides something of that name; use another name, \
         such as `llm_query_value`"
    );
    assert_eq!(
        session.get::<i64>("json").await.unwrap_err().message(),
        "the session has no variable `json`: no cell and no `set_variable` has set it"
    );
}

#[tokio::test]
async fn an_exception_is_an_error_where_one_is_asked_for() {
    let mut session = interpreter().into_session();
    let result = |observation: Observation| observation.into_result().map(|_| ());
    assert_eq!(session.run_code("print a").await.unwrap().into_result().unwrap().stdout.to_string(), "a\n");
    let error = result(session.run_code("raise it is 0").await.unwrap()).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Python, "ValueError: it is 0"));
    assert!(format!("{error:?}").contains("traceback"), "{error:?}");
    let error = session.eval::<i64>("1\nraise no").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Python, "ValueError: no"));
    let mut cut_off = Observation::default();
    cut_off.interruption = Some(Interruption::Interrupted);
    assert_eq!(result(cut_off).unwrap_err().message(), "the cell reached its time limit");
    let mut restored = Observation::default();
    restored.restored = Some("it crashed".to_owned());
    let error = result(restored).unwrap_err();
    assert_eq!(error.message(), "the session was put back to its state before the cell: it crashed");
    let error = result(session.run_code("die").await.unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
}

#[test]
fn without_a_tokio_runtime_the_error_says_so() {
    fn now<T>(future: impl Future<Output = T>) -> T {
        futures_util::FutureExt::now_or_never(future).unwrap()
    }

    let pool = Pool::new(interpreter().factory(), PoolConfig::default());
    let rlm = Rlm::builder("q -> a").model(ScriptedModel::replies(["?"])).interpreter(pool.clone());
    let mut session = interpreter().into_session();
    let errors = [
        now(pool.fill()).unwrap_err(),
        now(pool.create()).map(|_| ()).unwrap_err(),
        now(interpreter().factory().session()).map(|_| ()).unwrap_err(),
        now(session.run_code("print a")).map(|_| ()).unwrap_err(),
        now(rlm.build().unwrap().run(inputs! { q: "?" }).into_future()).map(|_| ()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().starts_with("there is no tokio runtime here"), "{error}");
    }
}

//! What the tests with a real engine share: they show as ignored where there is none, with the reason.
#![allow(dead_code, reason = "no target uses all of it")]

use std::{
    future::Future,
    time::{Duration, Instant},
};

use abyme_core::{
    Cell, FunctionSpec, HostCall, HostError, HostFunctions, InterpreterFactoryExt, Observation, Scope,
    Session, Value,
};
use abyme_interpreter_docker::Docker;
use async_trait::async_trait;
use bollard::{
    Docker as EngineClient,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};
use tokio::sync::Notify;

/// The `main` of a target with these tests, one after the other: they look at what containers there are. A
/// test may be preceded by what it needs, as `Option<String>` that says why it cannot be had.
#[macro_export]
macro_rules! run {
    ($($name:ident $(unless $obstacle:expr)?),* $(,)?) => {{
        let harness = abyme_conformance::FactoryHarness::new(common::docker());
        let tests = abyme_conformance::BackendTests::new(harness);
        $(let tests = tests.test_unless([$($obstacle,)? None][0].clone(), stringify!($name), $name);)*
        tests.main_in_turn()
    }};
}

/// The image of the tests.
pub(crate) fn image() -> String {
    std::env::var("ABYME_DOCKER_IMAGE").unwrap_or_else(|_| Docker::DEFAULT_IMAGE.to_owned())
}

/// The backend with the engine and the image of the tests.
pub(crate) fn docker() -> Docker {
    Docker::new().image(image())
}

pub(crate) async fn session(docker: Docker) -> Session {
    docker.session().await.unwrap()
}

pub(crate) async fn value(session: &mut Session, code: &str) -> String {
    shown(&session.run_code(code).await.unwrap())
}

pub(crate) fn shown(observation: &Observation) -> String {
    assert!(observation.is_ok(), "{observation:?}");
    observation.value.as_ref().unwrap().to_string().trim_matches('\'').to_owned()
}

/// The name of the error that the code ends with.
pub(crate) async fn error(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    observation.error.unwrap_or_else(|| panic!("no error from {code}")).type_name
}

/// Hears `begun()`, by which a cell tells how far it is. What it printed before has arrived then.
#[derive(Debug, Default)]
pub(crate) struct BeginSignal(Notify);

impl BeginSignal {
    /// A cell that calls it.
    pub(crate) fn cell(code: &str) -> Cell {
        let begun = FunctionSpec::new("begun", "Tells that the cell has come so far.");
        Cell::new(code).scope(Scope::new().function(begun).into())
    }

    /// Waits until it is called.
    pub(crate) async fn heard(&self) {
        tokio::time::timeout(Duration::from_secs(10), self.0.notified()).await.unwrap();
    }
}

#[async_trait]
impl HostFunctions for BeginSignal {
    async fn call(&self, _: HostCall) -> Result<Value, HostError> {
        self.0.notify_one();
        Ok(Value::None)
    }
}

/// The engine, without the crate's help.
pub(crate) fn engine() -> EngineClient {
    EngineClient::connect_with_defaults().unwrap()
}

/// The running and stopped containers of this process, by name.
pub(crate) async fn containers() -> Vec<String> {
    containers_of(std::process::id()).await
}

pub(crate) async fn containers_of(process: u32) -> Vec<String> {
    let label = format!("dev.abyme.owner.pid={process}");
    let filters = std::collections::HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = engine().list_containers(Some(options)).await.unwrap();
    found.into_iter().map(|container| container.id.unwrap()).collect()
}

/// Waits until something holds, for at most ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: impl Fn() -> F) -> bool {
    let start = Instant::now();
    while !what().await {
        if start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// Waits until this process has no containers.
pub(crate) async fn nothing_is_left() {
    if !eventually(|| async { containers().await.is_empty() }).await {
        panic!("left behind: {:?}", containers().await);
    }
}

pub(crate) async fn remove(container: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let _ = engine().remove_container(container, Some(options)).await;
}

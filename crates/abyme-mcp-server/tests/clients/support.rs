//! Servers whose model follows a script or never answers, and clients that remember what they hear.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use abyme_core::{
    LanguageModel, Request, Response, Result, Rlm,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};
use abyme_mcp_server::{RlmServer, RlmServerBuilder, RlmServerConfig};
use async_trait::async_trait;
use rmcp::{
    ClientHandler, Peer, RoleClient, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation,
        ProgressNotificationParam,
    },
    service::{NotificationContext, RunningService, ServiceError},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A model that never answers, and knows how many wait for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silent {
    waiting: Arc<AtomicUsize>,
}

struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl LanguageModel for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(self.waiting.clone());
        std::future::pending().await
    }
}

impl Silent {
    /// Waits until so many wait for it.
    pub(crate) async fn has(&self, count: usize) {
        eventually("the model is waited for", || self.waiting.load(Ordering::SeqCst) == count).await;
    }

    /// A server whose questions it gets.
    pub(crate) fn server(&self, config: RlmServerConfig) -> RlmServer {
        let backend = ScriptedInterpreter::from_fn(|_| Ok(Default::default())).factory();
        let rlm =
            Rlm::builder("question -> answer").model(self.clone()).interpreter(backend).build().unwrap();
        RlmServer::builder(config).rlm(rlm).sessions(sessions()).build().unwrap()
    }
}

/// Sessions that know their processes by the numbers that the tests know them by.
pub(crate) fn sessions() -> Subprocess {
    Subprocess::new().isolation(IsolationMode::Off)
}

/// A server whose model answers each question with this cell, and that has real sessions.
pub(crate) fn scripted(cell: &'static str, config: RlmServerConfig) -> RlmServerBuilder {
    let model = ScriptedModel::from_fn(move |_| Ok(format!("```python\n{cell}\n```").into()));
    let rlm = Rlm::builder("question -> answer").model(model).interpreter(sessions()).build().unwrap();
    RlmServer::builder(config).rlm(rlm).sessions(sessions())
}

/// A client that remembers the progress it hears of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listener {
    pub(crate) progress: Arc<Mutex<Vec<ProgressNotificationParam>>>,
    pub(crate) knows_tasks: bool,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.knows_tasks {
            true => ClientCapabilities::builder().enable_tasks().build(),
            false => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, Implementation::new("listener", "1"))
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().unwrap().push(progress);
    }
}

pub(crate) type Client = RunningService<RoleClient, Listener>;

/// Connects a client over a pair of streams.
pub(crate) async fn connect(
    server: &RlmServer,
    listener: Listener,
) -> (Client, JoinHandle<abyme_core::Result<()>>) {
    let (client, of_server) = tokio::io::duplex(1 << 16);
    let (read, write) = tokio::io::split(of_server);
    let server = server.clone();
    let serving = tokio::spawn(async move { server.serve_stream(read, write).await });
    (listener.serve(client).await.unwrap(), serving)
}

/// What a call of a tool takes.
pub(crate) fn params(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

/// Calls a tool.
pub(crate) async fn call(
    client: &Peer<RoleClient>,
    tool: &'static str,
    arguments: Value,
) -> Result<CallToolResult, ServiceError> {
    client.call_tool(params(tool, arguments)).await
}

/// The structured content of a call that went well.
pub(crate) async fn ok(client: &Peer<RoleClient>, tool: &'static str, arguments: Value) -> Value {
    let result = call(client, tool, arguments).await.unwrap();
    assert_ne!(result.is_error, Some(true), "{result:?}");
    result.structured_content.unwrap()
}

/// The text of a call that came to nothing.
pub(crate) async fn failed(client: &Peer<RoleClient>, tool: &'static str, arguments: Value) -> String {
    let result = call(client, tool, arguments).await.unwrap();
    assert_eq!(result.is_error, Some(true), "{result:?}");
    text(&result)
}

pub(crate) fn text(result: &CallToolResult) -> String {
    result.content.iter().map(|block| block.as_text().unwrap().text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Opens a session; its id, and the process that it is.
pub(crate) async fn open(client: &Peer<RoleClient>) -> (String, u32) {
    let opened = ok(client, "session_open", json!({})).await;
    let session = opened["session"].as_str().unwrap().to_owned();
    let ran = ok(client, "session_run", json!({"session": session, "code": "import os; os.getpid()"})).await;
    (session, ran["value"].as_str().unwrap().parse().unwrap())
}

/// Waits until a process is gone.
pub(crate) async fn ends(process: u32) {
    let stat = format!("/proc/{process}/stat");
    eventually("the process of the session is gone", || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.is_empty() || stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    })
    .await;
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

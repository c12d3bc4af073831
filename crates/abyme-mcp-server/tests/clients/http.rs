//! Clients over HTTP: with sessions of the protocol and without, with the wrong token, from elsewhere, and
//! gone.

use std::time::Duration;

use abyme_core::ErrorKind;
use abyme_mcp_server::{HttpConfig, RlmServer, RlmServerConfig};
use abyme_model_http::http_client;
use reqwest::{Method, StatusCode};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt,
    model::ProtocolVersion,
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{
    support::{Client, Listener, Silent, call, ends, ok, open, scripted},
    tasks,
};

const TOKEN: &str = "a-token-of-the-tests";
const DEADLINE: Duration = Duration::from_secs(20);

struct Served {
    url: String,
    serving: JoinHandle<abyme_core::Result<()>>,
    http: reqwest::Client,
}

async fn serve(server: &RlmServer, config: HttpConfig) -> Served {
    let http = server.listen(config.token(TOKEN)).await.unwrap();
    let url = http.url();
    let client = http_client(&url.parse().unwrap(), |client| client).unwrap();
    Served { url, serving: tokio::spawn(http.serve()), http: client }
}

fn newest() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

impl Served {
    async fn connect(&self, listener: Listener, lifecycle: ClientLifecycleMode) -> Client {
        let config = StreamableHttpClientTransportConfig::with_uri(&*self.url).auth_header(TOKEN);
        let transport = StreamableHttpClientTransport::with_client(self.http.clone(), config);
        listener.serve_with_lifecycle(transport, lifecycle).await.unwrap()
    }

    fn post(&self, session: Option<&str>, body: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(&self.url).bearer_auth(TOKEN).json(body);
        let request = request.header("accept", "application/json, text/event-stream");
        session.into_iter().fold(request, |request, session| request.header("mcp-session-id", session))
    }

    /// A client with a session of the protocol, which is one header.
    async fn begin(&self) -> String {
        let begun = self.post(None, &hello()).send().await.unwrap();
        assert_eq!(begun.status(), StatusCode::OK);
        begun.headers()["mcp-session-id"].to_str().unwrap().to_owned()
    }
}

fn hello() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        },
    })
}

fn tool_call(id: u32, tool: &str, arguments: &Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_old_and_new_versions_are_answered() {
    let server = scripted("SUBMIT(answer=docs.upper())", RlmServerConfig::default()).build().unwrap();
    let served = serve(&server, HttpConfig::default()).await;
    for lifecycle in [ClientLifecycleMode::Initialize, newest()] {
        let listener = Listener::default();
        let client = served.connect(listener.clone(), lifecycle).await;
        let arguments = json!({"question": "?", "inputs": {"docs": "hay"}});
        assert_eq!(ok(&client, "ask", arguments).await["outputs"]["answer"], "HAY");
        assert!(!listener.progress.lock().unwrap().is_empty());
        let (session, _) = open(&client).await;
        let code = json!({"session": session, "code": "os.getpid() > 0"});
        assert_eq!(ok(&client, "session_run", code).await["value"], "True");
        assert!(!client.list_all_resources().await.unwrap().is_empty());
        client.cancel().await.unwrap();
    }
    // Half of a surrogate pair, as Python's `json` writes it.
    let arguments = json!({"question": "?", "inputs": {"docs": "ab#"}});
    let body = tool_call(2, "ask", &arguments).to_string().replace('#', "\\ud83d");
    let session = served.begin().await;
    let request = served.post(Some(&session), &json!({})).body(body);
    let answer = request.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("AB?"), "{answer}");
    let listener = Listener { knows_tasks: true, ..Listener::default() };
    let client = served.connect(listener, newest()).await;
    let task = tasks::begin(&client).await;
    let ended = tasks::ended(&client, &task).await;
    assert!(serde_json::to_string(&ended).unwrap().contains("HAY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_come_in_is_refused() {
    let config = RlmServerConfig::default().max_message_bytes(10_000);
    let server = scripted("SUBMIT(answer='x')", config).build().unwrap();
    let served =
        serve(&server, HttpConfig::default().max_clients(2).allow_origin("https://ours.example:443")).await;
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    let bare = || {
        served.http.post(&served.url).json(&hello()).header("accept", "application/json, text/event-stream")
    };
    assert_eq!(status(bare()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(bare().bearer_auth("a-token-of-the-test")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        status(bare().header("authorization", format!("Basic {TOKEN}"))).await,
        StatusCode::UNAUTHORIZED
    );
    let refused = bare().send().await.unwrap();
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    assert!(!refused.text().await.unwrap().contains(TOKEN));

    let post = |body: &Value| served.post(None, body);
    assert_eq!(status(post(&hello()).header("host", "evil.example")).await, StatusCode::FORBIDDEN);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(status(post(&hello()).header("origin", origin)).await, StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!(status(post(&hello()).header("origin", "https://ours.example")).await, StatusCode::OK);
    let large = tool_call(2, "ask", &json!({"question": "x".repeat(20_000)}));
    assert_eq!(status(post(&large)).await, StatusCode::PAYLOAD_TOO_LARGE);
    let elsewhere = served.http.post(served.url.replace("/mcp", "/other")).bearer_auth(TOKEN);
    assert_eq!(status(elsewhere).await, StatusCode::NOT_FOUND);
    for body in [json!([]), json!("x"), json!({"jsonrpc": "2.0"}), tool_call(3, "ask", &json!({}))] {
        assert!(status(post(&body)).await.is_client_error(), "{body}");
    }
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let request = served.http.request(method.clone(), &served.url).bearer_auth(TOKEN);
        assert!(status(request.header("accept", "text/event-stream")).await.is_client_error(), "{method}");
    }
    assert_eq!(
        status(served.post(Some("unknown"), &tool_call(4, "ask", &json!({})))).await,
        StatusCode::NOT_FOUND
    );

    let session = served.begin().await;
    assert_eq!(status(post(&hello())).await, StatusCode::SERVICE_UNAVAILABLE, "two are connected");
    let end = served.http.delete(&served.url).bearer_auth(TOKEN).header("mcp-session-id", &session);
    assert!(status(end).await.is_success());
    served.begin().await;

    // One that sends nothing, or half a request, keeps no other from being served.
    let address = served.url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut silent = Vec::new();
    for head in ["", "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n", "\0\0\0\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(status(bare()).await, StatusCode::UNAUTHORIZED);
    let mut answer = String::new();
    silent.pop().unwrap().read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");

    for (config, kind) in [
        (HttpConfig::default().token("short"), ErrorKind::Config),
        (HttpConfig::default().address(address.parse().unwrap()), ErrorKind::Io),
    ] {
        assert_eq!(server.listen(config).await.unwrap_err().kind(), kind);
    }
    let (one, other) =
        (server.listen(HttpConfig::default()).await, server.listen(HttpConfig::default()).await);
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.token().len() == 32 && one.token() != other.token());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_with_the_connection_of_a_client_without_a_session() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default());
    let served = serve(&server, HttpConfig::default()).await;
    let client = served.connect(Listener::default(), newest()).await;
    let peer = client.peer().clone();
    let asked = tokio::spawn(async move { call(&peer, "ask", json!({"question": "?"})).await });
    model.has(1).await;
    asked.abort();
    model.has(0).await;

    // Also before anything was answered, by a program that was killed.
    let mut ask = tool_call(5, "ask", &json!({"question": "?"}));
    ask["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let request = served.post(None, &ask).header("mcp-protocol-version", "2026-07-28");
    let request = request.header("mcp-method", "tools/call").header("mcp-name", "ask");
    let sent = tokio::spawn(request.send());
    model.has(1).await;
    sent.abort();
    model.has(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_session_may_come_again_and_is_gone_after_a_while() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default());
    let config = HttpConfig::default().reconnect_timeout(Duration::from_secs(3));
    let served = serve(&server, config).await;
    let session = served.begin().await;
    let opened = served.post(Some(&session), &tool_call(2, "session_open", &json!({}))).send().await.unwrap();
    let opened = opened.text().await.unwrap();
    let line =
        opened.lines().filter_map(|line| line.strip_prefix("data: ")).find(|line| line.contains("session"));
    let opened: Value = serde_json::from_str(line.unwrap()).unwrap();
    let python = &opened["result"]["structuredContent"]["session"];
    let pid = json!({"session": python, "code": "import os; os.getpid()"});
    let ran = served.post(Some(&session), &tool_call(3, "session_run", &pid)).send().await.unwrap();
    let ran = ran.text().await.unwrap();
    let line = ran.lines().filter_map(|line| line.strip_prefix("data: ")).find(|line| line.contains("value"));
    let ran: Value = serde_json::from_str(line.unwrap()).unwrap();
    let process = ran["result"]["structuredContent"]["value"].as_str().unwrap().parse().unwrap();

    let ask = served.post(Some(&session), &tool_call(4, "ask", &json!({"question": "?"})));
    let mut answer = ask.send().await.unwrap();
    model.has(1).await;
    // It hears nothing for longer than the limit, and is there all the same.
    tokio::time::sleep(Duration::from_secs(4)).await;
    model.has(1).await;
    let event = answer.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&event).unwrap().contains("id: "), "{event:?}");
    drop(answer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    model.has(1).await;
    let ping = json!({"jsonrpc": "2.0", "id": 5, "method": "ping"});
    let ping = served.post(Some(&session), &ping).send().await.unwrap();
    assert!(ping.text().await.unwrap().contains("\"id\":5"));
    model.has(0).await;
    ends(process).await;
    let late = served.post(Some(&session), &json!({"jsonrpc": "2.0", "id": 6, "method": "ping"}));
    assert_eq!(late.send().await.unwrap().status(), StatusCode::NOT_FOUND);

    // A cancellation comes by itself.
    let session = served.begin().await;
    let ask = served.post(Some(&session), &tool_call(2, "ask", &json!({"question": "?"})));
    let _answer = ask.send().await.unwrap();
    model.has(1).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}});
    assert!(served.post(Some(&session), &cancel).send().await.unwrap().status().is_success());
    model.has(0).await;

    // So does the end of the server.
    let ask = served.post(Some(&session), &tool_call(3, "ask", &json!({"question": "?"})));
    let _answer = ask.send().await.unwrap();
    model.has(1).await;
    tokio::time::timeout(DEADLINE, server.close()).await.unwrap();
    model.has(0).await;
    tokio::time::timeout(DEADLINE, served.serving).await.unwrap().unwrap().unwrap();
}

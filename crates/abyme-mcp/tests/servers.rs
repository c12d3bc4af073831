//! Tools of real servers, over stdio and HTTP, and what goes wrong with servers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, reason = "tests")]

#[path = "common/server.rs"]
mod server;

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use abyme_core::{
    ErrorKind, HostCall, HostError, Rlm, Tool, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use abyme_mcp::{McpClient, McpServer};
use hyper::body::{Body, Incoming};
use indexmap::IndexMap;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};

/// Cargo builds the examples for `cargo test`, into a folder beside the tests' own.
fn program() -> String {
    let test = std::env::current_exe().unwrap();
    let file = format!("examples/test_server{}", std::env::consts::EXE_SUFFIX);
    let found: Option<PathBuf> =
        test.ancestors().skip(1).map(|folder| folder.join(&file)).find(|path| path.is_file());
    let found =
        found.unwrap_or_else(|| panic!("no {file}: run `cargo test -p abyme-mcp` without naming a target"));
    found.to_str().unwrap().to_owned()
}

async fn stdio() -> McpClient {
    McpServer::command(program()).env("GIVEN", "1").connect().await.unwrap()
}

/// The URL of a server on this machine.
async fn serve_http() -> String {
    let service = StreamableHttpService::new(
        || Ok(server::TestServer::default()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    listen(move |request| {
        let service = service.clone();
        async move {
            let is_allowed =
                request.headers().get("authorization").is_some_and(|value| value == "Bearer key");
            assert!(is_allowed, "each request has the token");
            service.handle(request).await
        }
    })
    .await
}

/// The URL of what answers requests on this machine.
async fn listen<A, B>(answer: impl Fn(hyper::Request<Incoming>) -> A + Clone + Send + 'static) -> String
where
    A: Future<Output = hyper::Response<B>> + Send,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let serve = hyper::service::service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, std::convert::Infallible>(answered.await) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, serve));
        }
    });
    format!("http://{address}/mcp")
}

fn tool(client: &McpClient, name: &str) -> Tool {
    client.tools().into_iter().find(|tool| tool.name() == name).unwrap()
}

async fn call(client: &McpClient, name: &str, arguments: &[(&str, Value)]) -> Result<Value, HostError> {
    let arguments: IndexMap<_, _> =
        arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    tool(client, name).call(arguments).await
}

/// What tools of any transport do.
async fn all_kinds_of_tools_work(client: &McpClient) {
    let names: Vec<_> = client.tools().iter().map(|tool| tool.name().to_owned()).collect();
    let expected =
        ["get_sum", "print_", "contents", "fail", "refuse", "exit", "garbage", "hang", "env", "pid", "grow"];
    assert_eq!(names, expected, "of all pages");
    let sum = tool(client, "get_sum");
    assert_eq!(
        sum.spec().to_string(),
        "get_sum(from_: int, to_add: list[int], note: str | None = None, scale: int = 1) -> {'sum': int, \
         'got': NotRequired[Any]}"
    );
    assert_eq!(
        sum.spec().description,
        "Adds numbers.\n\nIt changes nothing, its server says.\n\nArgs:\n    from_: The first\n\nRaises \
         TimeoutError when a call takes more than 60 s."
    );
    assert!(tool(client, "grow").spec().description.contains("It may overwrite or delete something"));
    let numbers = Value::List(vec![2.into(), 3.into()]);
    let arguments = [("from_", 1.into()), ("to_add", numbers), ("note", Value::None), ("scale", 2.into())];
    let sum = call(client, "get_sum", &arguments).await.unwrap();
    assert_eq!(sum.repr(999), "{'sum': 12, 'got': ['from', 'to-add', 'scale']}");
    assert_eq!(call(client, "print_", &[("text", "loud".into())]).await.unwrap(), Value::from("LOUD"));
    assert_eq!(
        call(client, "contents", &[]).await.unwrap().repr(9_999),
        "['a text', {'type': 'image', 'mime_type': 'image/png', 'data': b'\\x01\\x02\\x03'}, {'type': \
         'resource', 'uri': 'file:///a', 'mime_type': 'text/plain', 'text': 'inside'}, {'type': \
         'resource_link', 'uri': 'file:///b', 'name': 'b', 'description': None, 'mime_type': None}]"
    );
    assert_eq!(call(client, "fail", &[]).await.unwrap_err().to_string(), "RuntimeError: out of paper");
    assert_eq!(call(client, "refuse", &[]).await.unwrap_err().to_string(), "ValueError: `x` is missing");
    let refused = call(client, "print_", &[("text", Value::Bytes(vec![1].into()))]).await.unwrap_err();
    assert!(refused.to_string().starts_with("TypeError: at text: expected str, got bytes"), "{refused}");
    let late = tool(client, "hang").timeout(Duration::from_millis(50)).call(IndexMap::new()).await;
    assert_eq!(late.unwrap_err().to_string(), "TimeoutError: `hang` took more than 0.05 s");
}

/// The answer of a server that writes half of a surrogate pair, as Python's `json` does.
async fn answer_with_half(mut request: hyper::Request<Incoming>) -> hyper::Response<String> {
    let mut read = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(request.body_mut()).poll_frame(context)).await
    {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    let message = serde_json::from_slice(&read).unwrap_or_default();
    match server::answer_with_half(&message) {
        Some(answer) => hyper::Response::builder()
            .header("content-type", "text/event-stream")
            .body(format!("data: {answer}\n\n"))
            .unwrap(),
        None => hyper::Response::builder().status(202).body(String::new()).unwrap(),
    }
}

/// The list of tools changes while the connection is open.
async fn new_tools_are_there_after_a_refresh(client: &mut McpClient) {
    assert!(!client.tools_changed());
    assert_eq!(call(client, "grow", &[]).await.unwrap(), Value::from("grown"));
    for _ in 0..500 {
        if client.tools_changed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(client.tools_changed());
    client.refresh().await.unwrap();
    assert!(!client.tools_changed());
    assert_eq!(call(client, "late", &[]).await.unwrap(), Value::None);
}

#[tokio::test]
async fn tools_over_stdio() {
    let mut client = stdio().await;
    all_kinds_of_tools_work(&client).await;
    new_tools_are_there_after_a_refresh(&mut client).await;
    assert_eq!(call(&client, "garbage", &[]).await.unwrap(), Value::from("after it"));
}

#[tokio::test]
async fn tools_over_http() {
    let mut client = McpServer::url(serve_http().await).bearer("key").connect().await.unwrap();
    all_kinds_of_tools_work(&client).await;
    new_tools_are_there_after_a_refresh(&mut client).await;
}

/// Where it is refused, the call is never answered.
#[tokio::test]
async fn half_of_a_surrogate_pair_is_a_question_mark() {
    let over_http = McpServer::url(listen(answer_with_half).await);
    for server in [McpServer::command(program()).args(["half"]), over_http] {
        let client = server.call_timeout(Duration::from_secs(20)).connect().await.unwrap();
        assert_eq!(call(&client, "half", &[]).await.unwrap(), Value::from("ab?"));
    }
}

#[tokio::test]
async fn a_server_gets_no_secrets_of_the_hosts_environment() {
    let names = call(&stdio().await, "env", &[]).await.unwrap().repr(9_999);
    let names: Vec<_> = names.trim_matches('\'').split(' ').collect();
    assert!(names.contains(&"GIVEN") && names.contains(&"PATH"), "{names:?}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the host's environment has more");
    assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
}

#[tokio::test]
async fn prefix_and_only_choose_names_and_tools() {
    let server = McpServer::command(program()).prefix("my").only(["print", "get-sum"]);
    let client = server.connect().await.unwrap();
    let names: Vec<_> = client.tools().iter().map(|tool| tool.name().to_owned()).collect();
    assert_eq!(names, ["my_get_sum", "my_print"]);
}

/// A run goes on when a server dies in one of its calls.
#[tokio::test]
async fn a_server_that_dies_is_an_exception_of_the_cell() {
    let client = stdio().await;
    // A cell each: the calls of one cell go out at the same time.
    let interpreter = ScriptedInterpreter::calling(|cell| match cell.code.as_str() {
        tool @ ("exit" | "pid") => vec![HostCall::new(tool)],
        _ => Vec::new(),
    });
    let model = ScriptedModel::replies(["```python\nexit\n```", "```python\npid\n```", "text", "text"]);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter.factory()).tools(client.tools());
    let run = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    for turn in 0..2 {
        let value = run.trajectory().turns()[turn].observation.clone().unwrap().value.unwrap().to_string();
        assert!(value.starts_with("ConnectionError: MCP server `"), "{value}");
    }
    let after = call(&client, "pid", &[]).await.unwrap_err().to_string();
    assert!(
        after.contains("is gone") && after.ends_with("its stderr ends with: the disk is on fire"),
        "{after}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_ends_with_the_last_of_its_client_and_tools() {
    async fn ended(pid: &str) -> bool {
        for _ in 0..1000 {
            // A zombie has no command line any more.
            if std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            } else {
                return true;
            }
        }
        false
    }
    let pid_of = |value: Value| value.repr(99).trim_matches('\'').to_owned();
    let client = stdio().await;
    let pid_tool = tool(&client, "pid");
    drop(client);
    let pid = pid_of(pid_tool.call(IndexMap::new()).await.unwrap());
    drop(pid_tool);
    assert!(ended(&pid).await);

    let client = stdio().await;
    let pid = pid_of(call(&client, "pid", &[]).await.unwrap());
    client.shutdown().await;
    assert!(ended(&pid).await);
    let error = call(&client, "pid", &[]).await.unwrap_err();
    assert_eq!(error.type_name, "ConnectionError");
}

#[tokio::test]
async fn what_cannot_be_connected_to_says_why() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let cases = [
        (McpServer::command("/no/such/program"), "MCP server `/no/such/program` does not start"),
        (McpServer::command(program()).args(["broken"]), "its stderr ends with: no config file"),
        (
            McpServer::command(program()).args(["silent"]).connect_timeout(Duration::from_millis(300)),
            "did not answer within 0.3 s (`connect_timeout`)",
        ),
        (McpServer::url(format!("http://{unused}/mcp?key=s3cret")), "cannot be connected to: "),
    ];
    for (server, expected) in cases {
        let error = server.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains(expected), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
    let error = McpServer::url("ftp://a").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

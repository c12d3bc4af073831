//! `abyme mcp`, driven message by message as an MCP client does.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    run::dir,
    server::{Server, completion},
    support::{TestDir, eventually, exit_within, is_alive, signal},
};

/// A client.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    sent: u32,
}

impl Client {
    /// Starts the command, and begins.
    fn start(dir: &TestDir, args: &[&str]) -> Self {
        let mut child = dir.command(&[&["mcp"], args].concat()).stdin(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut client = Self { child, stdin, stdout, sent: 0 };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        });
        assert_eq!(client.ask("initialize", hello)["result"]["serverInfo"]["name"], "abyme");
        client.line(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn line(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn send(&mut self, method: &str, params: Value) -> u32 {
        self.sent += 1;
        let id = self.sent;
        self.line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// The answer to a request.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        loop {
            let mut line = String::new();
            self.stdout.read_line(&mut line).unwrap();
            let message: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            if message["id"] == id {
                return message;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))["result"].clone()
    }

    /// A session, and the process that it is.
    fn session(&mut self) -> (Value, i64) {
        let session = self.call("session_open", json!({}))["structuredContent"]["session"].clone();
        let code = json!({"session": session, "code": "import os; os.getpid()"});
        let pid = self.call("session_run", code)["structuredContent"]["value"].clone();
        (session, pid.as_str().unwrap().parse().unwrap())
    }
}

#[test]
fn questions_sessions_and_records_over_stdin_and_stdout() {
    let server = Server::scripted(&[
        "```python\nprint(len(report), llm_query('sub'))\n```",
        "```python\nSUBMIT(answer=report.split()[-1] + extra['k'])\n```",
    ]);
    let dir = dir(&server);
    dir.write("report.txt", "far below\nthe needle");
    let mut client = Client::start(&dir, &["--root=.", "--traces=traces"]);
    let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
    assert_eq!(tools.as_array().unwrap().len(), 4);
    let arguments = json!({"question": "Where?", "inputs": {"extra": {"k": "!"}}, "paths": ["report.txt"]});
    let answer = client.call("ask", arguments);
    assert_eq!(answer["content"], json!([{"type": "text", "text": "needle!"}]), "{answer}");
    let uri = answer["structuredContent"]["record"].clone();
    let read = client.ask("resources/read", json!({"uri": uri}))["result"]["contents"][0].clone();
    assert!(read["text"].as_str().unwrap().contains("run_finished"), "{read}");
    let outside = client.call("ask", json!({"question": "?", "paths": ["../../etc/passwd"]}));
    assert!(outside["content"][0]["text"].as_str().unwrap().contains("below the folders"), "{outside}");

    let session = client.call("session_open", json!({"inputs": {"n": 20}}));
    let session = session["structuredContent"]["session"].clone();
    let ran = client.call("session_run", json!({"session": session, "code": "n * 2 + 2"}));
    assert_eq!((&ran["structuredContent"]["value"], &ran["isError"]), (&"42".into(), &false.into()));

    client.stdin.take();
    assert_eq!(exit_within(&mut client.child, Duration::from_secs(10)), 0);
    let id = uri.as_str().unwrap().rsplit('/').next().unwrap();
    let stats = dir.run(&["stats", &format!("traces/{id}.jsonl")]);
    assert!(stats.stdout.contains("submitted"), "{stats:?}");
}

#[test]
fn files_are_read_in_any_form_and_cells_checked_by_the_policy() {
    let dir = TestDir::new();
    std::fs::create_dir(dir.path("data")).unwrap();
    dir.write("data/old.txt", b"f\xfcnf");
    dir.write("data/rows.json", "{\"n\": 1}");
    dir.write("data/noise.bin", b"\0\x01\x02\0");
    let args = ["--sessions-only", "--interpreter=subprocess", "--root=.", "--policy=guard-rail"];
    let mut client = Client::start(&dir, &args);
    let opened = client.call("session_open", json!({"paths": ["data", "data/old.txt"]}));
    assert_eq!(opened["structuredContent"]["variables"], json!(["data", "old"]), "{opened}");
    let session = opened["structuredContent"]["session"].clone();
    let mut run = |code: &str| client.call("session_run", json!({"session": session, "code": code}));
    let ran = run("(sorted(data), data['rows.json']['n'], old, data['old.txt'] == old)");
    assert_eq!(ran["structuredContent"]["value"], "(['old.txt', 'rows.json'], 1, 'fünf', True)", "{ran}");
    let refused = run("import subprocess");
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(refused.to_string().contains("subprocess"), "{refused}");
    let binary = client.call("session_open", json!({"paths": ["data/noise.bin"]}));
    assert!(binary.to_string().contains("binary, which is not read"), "{binary}");
}

#[test]
fn nothing_is_left_of_what_a_client_began() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(60));
        (200, completion("too late"))
    });
    let dir = dir(&server);
    let ask = json!({"name": "ask", "arguments": {"question": "?"}});
    let start = |expected: usize| {
        let mut client = Client::start(&dir, &["--interpreter=subprocess", "--isolation=off"]);
        let (_, pid) = client.session();
        client.send("tools/call", ask.clone());
        eventually("the model is asked", || server.began().len() == expected);
        (client, pid)
    };
    let (mut client, pid) = start(1);
    client.stdin.take();
    assert_eq!(exit_within(&mut client.child, Duration::from_secs(15)), 0);
    eventually("the session is gone", || !is_alive(pid));

    let (mut client, pid) = start(2);
    signal(&client.child, "TERM");
    assert_eq!(exit_within(&mut client.child, Duration::from_secs(10)), 143);
    eventually("the session is gone", || !is_alive(pid));

    let (mut client, pid) = start(3);
    client.child.kill().unwrap();
    client.child.wait().unwrap();
    eventually("the session is gone", || !is_alive(pid));
}

#[test]
fn over_http_clients_need_the_token() {
    let dir = TestDir::new();
    let start = |token: Option<&str>| {
        let mut command = dir.command(&["mcp", "--sessions-only", "--interpreter=subprocess", "--http"]);
        let mut child = command.envs(token.map(|token| ("ABYME_MCP_TOKEN", token))).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        (child, url.trim_end().to_owned(), stdout)
    };
    let status = |url: &str, token: &str| {
        let hello = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "curl", "version": "1"},
            },
        });
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let body = hello.to_string();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        BufReader::new(stream).read_line(&mut head).unwrap();
        head.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let (mut child, url, mut stdout) = start(None);
    let mut header = String::new();
    stdout.read_line(&mut header).unwrap();
    let token = header.trim_end().strip_prefix("Authorization: Bearer ").unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/mcp"), "{url}");
    assert_eq!((status(&url, &token), status(&url, "another-token")), (200, 401));
    signal(&child, "INT");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 0, "that is how a server ends");

    let (mut child, _, mut stdout) = start(Some(" \n"));
    header.clear();
    stdout.read_line(&mut header).unwrap();
    assert!(header.starts_with("Authorization: Bearer "), "an empty token is none: {header}");
    signal(&child, "INT");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 0);

    let (mut child, url, mut stdout) = start(Some(" canary-0123456789\n"));
    assert_eq!((status(&url, "canary-0123456789"), status(&url, &token)), (200, 401));
    signal(&child, "TERM");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 0);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut rest).unwrap();
    assert!(!rest.contains("canary"), "{rest}");
}

#[test]
fn what_cannot_work_is_said() {
    let dir = TestDir::new();
    dir.write("file", "");
    for (args, code, parts) in [
        (&["mcp"][..], 2, &["model"][..]),
        (&["mcp", "--sessions-only", "--interpreter=nothing"], 2, &["`nothing` is no interpreter"]),
        (&["mcp", "--sessions-only", "--root=missing"], 2, &["missing", "cannot be allowed"]),
        (&["mcp", "--sessions-only", "--root=file"], 2, &["file", "cannot be allowed"]),
        (&["mcp", "--sessions-only", "--max-sessions=0"], 2, &["--max-sessions"]),
        (&["mcp", "--sessions-only", "--http=example.com"], 2, &["--http"]),
        (&["mcp", "--sessions-only", "--allow-host=x"], 2, &["--http"]),
        (&["mcp", "--sessions-only", "--tool=file"], 2, &["--sessions-only", "--tool"]),
        (&["mcp", "--model=m", "--api-base=http://127.0.0.1:9/v1", "--traces=file"], 2, &["no directory"]),
    ] {
        dir.run(args).failed(code, parts);
    }
    let ended = dir.run_with_stdin(
        &["mcp", "--sessions-only"],
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n",
    );
    ended.failed(2, &["did not begin with `initialize`", "--http"]);
    let ended = dir.run_with_stdin(&["mcp", "--sessions-only"], b"");
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (0, "", ""));
    let weak = dir.command(&["mcp", "--sessions-only", "--http"]).env("ABYME_MCP_TOKEN", "short").output();
    let weak = String::from_utf8(weak.unwrap().stderr).unwrap();
    assert!(weak.contains("less than 16 characters") && !weak.contains("short"), "{weak}");
}

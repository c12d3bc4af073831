//! Clients over a pair of streams, as over stdin and stdout.

use std::time::Duration;

use abyme_core::{ErrorKind, Inputs, Trajectory};
use abyme_mcp_server::RlmServerConfig;
use rmcp::{
    model::{ErrorCode, ReadResourceRequestParams, ResourceContents},
    service::ServiceError,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::{Listener, Silent, call, connect, ends, failed, ok, open, scripted, text};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_progress_and_its_record_can_be_read() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("notes.txt"), "needle").unwrap();
    let load = |paths: &[std::path::PathBuf]| {
        let text = |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        Ok(paths.iter().map(|path| ("notes", text(path))).collect::<Inputs>())
    };
    let traces = temp.path().join("traces");
    let config = RlmServerConfig::default().trace_dir(&traces);
    let cell = "print(llm_query('x')[:3])\nSUBMIT(answer=f'{question} {docs} {notes}', total=len(docs))";
    let server = scripted(cell, config).files([temp.path()], load).build().unwrap();
    let listener = Listener::default();
    let (client, serving) = connect(&server, listener.clone()).await;
    let tools: Vec<_> = client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name).collect();
    assert_eq!(tools, ["ask", "session_open", "session_run", "session_close"]);

    let arguments = json!({
        "question": "Where?", "inputs": {"docs": ["a", {"b": 1}]}, "paths": ["notes.txt"],
        "outputs": "answer, total: int",
    });
    let answer = ok(&client, "ask", arguments).await;
    let outputs = json!({"answer": "Where? ['a', {'b': 1}] needle", "total": 2});
    assert_eq!((&answer["outputs"], &answer["status"]), (&outputs, &"submitted".into()));
    assert_eq!((&answer["turns"], &answer["usage"]["calls"]), (&1.into(), &2.into()));

    let heard = listener.progress.lock().unwrap().clone();
    assert!(!heard.is_empty() && heard.is_sorted_by(|a, b| a.progress < b.progress), "{heard:?}");
    assert!(heard.iter().all(|step| step.message.is_some()), "{heard:?}");

    let records = client.list_all_resources().await.unwrap();
    assert_eq!((records.len(), &*records[0].name), (1, "Where?"));
    assert_eq!(records[0].uri, answer["record"].as_str().unwrap());
    let read = client.read_resource(ReadResourceRequestParams::new(&records[0].uri)).await.unwrap();
    let [ResourceContents::TextResourceContents { text: record, .. }] = &read.contents[..] else {
        panic!("{read:?}");
    };
    let trajectory = Trajectory::from_jsonl(record).unwrap();
    assert_eq!(trajectory.turns().len(), 1);
    let file = traces.join(format!("{}.jsonl", trajectory.run()));
    assert_eq!(Trajectory::load(file).unwrap().turns().len(), 1);

    client.cancel().await.unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said() {
    let server = scripted("SUBMIT(answer='x')", RlmServerConfig::default().max_records(1)).build().unwrap();
    let (client, _serving) = connect(&server, Listener::default()).await;
    for (arguments, expected) in [
        (json!({}), "missing field `question`"),
        (json!({"question": 3}), "expected a string"),
        (json!({"question": "?", "documents": "x"}), "unknown field `documents`"),
        (json!({"question": "?", "inputs": "x"}), "wrong arguments"),
        (json!({"question": "?", "inputs": {"question": "x"}}), "an input is called `question`"),
        (json!({"question": "?", "inputs": {"a: int, b": "x"}}), "not a Python name"),
        (json!({"question": "?", "inputs": {"print": "x"}}), "`print`"),
        (json!({"question": "?", "outputs": "a -> b"}), "names with types alone"),
        (json!({"question": "?", "outputs": "a: nonsense!"}), "nonsense"),
        (json!({"question": "?", "paths": ["/etc/passwd"]}), "allows no folder"),
    ] {
        let said = failed(&client, "ask", arguments.clone()).await;
        assert!(said.contains(expected), "{arguments}: {said}");
    }
    let run = |arguments| failed(&client, "session_run", arguments);
    assert!(run(json!({"session": "none", "code": "1"})).await.contains("there is no session `none`"));
    let (session, _) = open(&client).await;
    let said = run(json!({"session": session, "code": "1", "timeout_seconds": -1})).await;
    assert!(said.contains("which is no time"), "{said}");
    for given in [json!(null), json!({"nested": [1, 2.5, null]})] {
        ok(&client, "session_open", json!({"inputs": {"x": given}})).await;
    }
    assert!(failed(&client, "session_open", json!({"inputs": {"a b": 1}})).await.contains("a b"));
    let ServiceError::McpError(error) = call(&client, "no_such_tool", json!({})).await.unwrap_err() else {
        panic!("an error of the protocol");
    };
    assert_eq!((error.code, &*error.message), (ErrorCode::INVALID_PARAMS, "there is no tool `no_such_tool`"));
    let missing = client.read_resource(ReadResourceRequestParams::new("file:///etc/passwd")).await;
    assert!(missing.unwrap_err().to_string().contains("there is no record"));

    // Only the newest record is kept.
    let first = ok(&client, "ask", json!({"question": "?", "inputs": null})).await;
    let second = ok(&client, "ask", json!({"question": "?"})).await;
    let records = client.list_all_resources().await.unwrap();
    assert_eq!(records.iter().map(|record| &*record.uri).collect::<Vec<_>>(), [&second["record"]]);
    assert_ne!(first["record"], second["record"]);
}

#[tokio::test]
async fn a_run_that_fails_says_why_and_keeps_its_record() {
    let server = scripted("1 / 0", RlmServerConfig::default()).build().unwrap();
    let (client, _serving) = connect(&server, Listener::default()).await;
    // The model repeats itself until its turns are used up, and then gives no outputs.
    let said = failed(&client, "ask", json!({"question": "?"})).await;
    let records = client.list_all_resources().await.unwrap();
    assert!(said.contains(&records[0].uri) && said.starts_with("the run failed: "), "{said}");
    assert!(records[0].description.as_ref().unwrap().contains("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_ends_its_run() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default().max_runs(1).max_queued(1));
    let (client, _serving) = connect(&server, Listener::default()).await;
    let peer = client.peer().clone();
    let ask = || {
        let peer = peer.clone();
        tokio::spawn(async move { call(&peer, "ask", json!({"question": "?"})).await })
    };
    let at_work = ask();
    model.has(1).await;
    let waits = ask();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = ask().await.unwrap().unwrap();
    assert!(text(&refused).contains("1 questions are at work and 1 wait"), "{refused:?}");
    at_work.abort();
    // Its place goes to the one that waits.
    tokio::time::sleep(Duration::from_millis(300)).await;
    model.has(1).await;
    waits.abort();
    model.has(0).await;
    let records = client.list_all_resources().await.unwrap();
    assert!(records.iter().all(|record| record.description.as_ref().unwrap().contains("cancelled")));
    assert!(!records.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default());
    let (client, serving) = connect(&server, Listener::default()).await;
    let (_, process) = open(&client).await;
    let peer = client.peer().clone();
    let asked = tokio::spawn(async move { call(&peer, "ask", json!({"question": "?"})).await });
    model.has(1).await;
    drop(client);
    asked.await.unwrap().unwrap_err();
    tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap().unwrap();
    model.has(0).await;
    ends(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_ends_what_is_at_work() {
    let model = Silent::default();
    let server = model.server(RlmServerConfig::default());
    let (client, serving) = connect(&server, Listener::default()).await;
    let (_, process) = open(&client).await;
    let peer = client.peer().clone();
    let asked = tokio::spawn(async move { call(&peer, "ask", json!({"question": "?"})).await });
    model.has(1).await;
    tokio::time::timeout(DEADLINE, server.close()).await.unwrap();
    model.has(0).await;
    ends(process).await;
    asked.await.unwrap().unwrap_err();
    tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn malformed_messages_are_answered_or_passed_over() {
    let config = RlmServerConfig::default().max_message_bytes(100_000);
    let server = scripted("SUBMIT(answer=f'{question} is fine')", config).build().unwrap();
    let (client, of_server) = tokio::io::duplex(1 << 20);
    let (read, write) = tokio::io::split(of_server);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve_stream(read, write).await }
    });
    let (read, mut write) = tokio::io::split(client);
    let mut lines = BufReader::new(read).lines();
    let mut garbage =
        b"this is no message\n{\"jsonrpc\": 7}\n[]\n\xff\xfe\n\n{\"jsonrpc\":\"2.0\",\"id\":5}\n".to_vec();
    garbage.extend(vec![b'x'; 200_000]);
    garbage.extend(b"\n");
    garbage.extend(vec![b'['; 50_000]);
    garbage.extend(
        b"\n{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"tools/call\",\"params\":{\"name\":\"ask\"}}\n",
    );
    write.write_all(&garbage).await.unwrap();
    let send = |id: u32, method: &str, params: Value| {
        format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    };
    let hello = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"},
    });
    write.write_all(send(10, "initialize", hello).as_bytes()).await.unwrap();
    let mut answered = async |id: u32| {
        let wait = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the server goes on");
                let message: Value = serde_json::from_str(&line).unwrap();
                if message["id"] == id {
                    return message;
                }
                // What came before is answered with an error, if at all.
                assert!(message["error"].is_object(), "{message}");
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap()
    };
    assert_eq!(answered(10).await["result"]["serverInfo"]["name"], "abyme");
    for (id, params) in
        [(11, json!({})), (12, json!({"name": 3})), (13, json!({"name": "ask", "arguments": []}))]
    {
        write.write_all(send(id, "tools/call", params).as_bytes()).await.unwrap();
        assert!(answered(id).await["error"].is_object());
    }
    write.write_all(send(14, "no/such/method", json!({})).as_bytes()).await.unwrap();
    assert_eq!(answered(14).await["error"]["code"], -32601);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 999}});
    write.write_all(format!("{cancel}\n").as_bytes()).await.unwrap();
    // Half of a surrogate pair, as Python's `json` writes it.
    let ask = json!({"name": "ask", "arguments": {"question": "ab#"}});
    write.write_all(send(15, "tools/call", ask).replace('#', "\\ud83d").as_bytes()).await.unwrap();
    assert_eq!(answered(15).await["result"]["content"][0]["text"], "ab? is fine");
    drop((lines, write));
    tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap().unwrap();

    // One that speaks something else is told so; one that says nothing may go.
    let served = server.serve_stream(
        &b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n"[..],
        tokio::io::sink(),
    );
    assert_eq!(served.await.unwrap_err().kind(), ErrorKind::Protocol);
    server.serve_stream(tokio::io::empty(), tokio::io::sink()).await.unwrap();
}

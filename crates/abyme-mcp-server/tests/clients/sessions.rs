//! Sessions that clients keep.

use std::time::Duration;

use abyme_core::Inputs;
use abyme_mcp_server::{RlmServer, RlmServerConfig};
use serde_json::json;

use crate::support::{Listener, call, connect, ends, failed, ok, open, sessions, text};

fn server(config: RlmServerConfig) -> RlmServer {
    RlmServer::builder(config).sessions(sessions()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_variables_and_says_what_happened() {
    let config = RlmServerConfig::default().cell_timeout(Duration::from_secs(30)).max_output_chars(100);
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("a"), "from a file").unwrap();
    let server = RlmServer::builder(config)
        .sessions(sessions())
        .files(
            [temp.path()],
            |paths| Ok(Inputs::new().with("a", std::fs::read_to_string(&paths[0]).unwrap())),
        )
        .build()
        .unwrap();
    let (client, _serving) = connect(&server, Listener::default()).await;
    assert_eq!(client.list_all_tools().await.unwrap().len(), 3, "without an Rlm");
    let opened = ok(&client, "session_open", json!({"inputs": {"n": 2}, "paths": ["a"]})).await;
    assert_eq!((&opened["variables"], &opened["interpreter"]), (&json!(["n", "a"]), &"subprocess".into()));
    let session = opened["session"].as_str().unwrap();
    let run = async |code: &str| {
        let result = call(&client, "session_run", json!({"session": session, "code": code})).await.unwrap();
        (result.is_error.unwrap(), text(&result), result.structured_content.unwrap())
    };
    run("def double(x):\n    return 2 * x").await;
    let (is_error, shown, ran) =
        run("import sys\nprint('out'); print('err', file=sys.stderr)\ndouble(n), a").await;
    assert!(!is_error && shown.contains("(4, 'from a file')"), "{shown}");
    assert_eq!(
        (&ran["stdout"], &ran["stderr"], &ran["error"]),
        (&"out\n".into(), &"err\n".into(), &json!(null))
    );
    let (is_error, _, ran) = run("print('x' * 10_000)\n1 / 0").await;
    assert!(is_error && ran["stdout"].as_str().unwrap().len() < 400, "{ran}");
    assert_eq!((&ran["error"]["type"], &ran["is_open"]), (&"ZeroDivisionError".into(), &true.into()));
    assert!(ran["error"]["traceback"].as_str().unwrap().contains("line 2"), "{ran}");

    // A cell that takes too long, and one that its client does not wait for.
    let limited = json!({"session": session, "code": "while True: pass", "timeout_seconds": 0.3});
    let (_, shown, ran) = {
        let result = call(&client, "session_run", limited).await.unwrap();
        (result.is_error, text(&result), result.structured_content.unwrap())
    };
    assert!(shown.contains("[time limit]") && ran["is_open"] == true, "{shown}");
    let peer = client.peer().clone();
    let endless = json!({"session": session, "code": "begun = True\nwhile True: pass"});
    let dropped = tokio::spawn(async move { call(&peer, "session_run", endless).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    dropped.abort();
    assert_eq!(run("begun, n").await.2["value"], "(True, 2)");

    // Calls of one session come one after the other.
    let slow = json!({"session": session, "code": "import time; time.sleep(0.3); n = 5"});
    let peer = client.peer().clone();
    let slow = tokio::spawn(async move { ok(&peer, "session_run", slow).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(run("n").await.2["value"], "5");
    slow.await.unwrap();

    let (is_error, _, ran) = run("import os; os._exit(3)").await;
    assert!(is_error && ran["is_open"] == false, "{ran}");
    let again = json!({"session": session, "code": "1"});
    assert!(failed(&client, "session_run", again).await.contains("there is no session"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bounded_and_closed() {
    let config = RlmServerConfig::default().max_sessions(2);
    let server = server(config.session_idle_timeout(Duration::from_secs(2)));
    let (client, _serving) = connect(&server, Listener::default()).await;
    let (first, process) = open(&client).await;
    let (second, of_second) = open(&client).await;
    let said = failed(&client, "session_open", json!({})).await;
    assert!(said.contains("2 sessions are open"), "{said}");

    // A call that runs ends with its session.
    let peer = client.peer().clone();
    let endless = json!({"session": first, "code": "while True: pass"});
    let cut = tokio::spawn(async move { failed(&peer, "session_run", endless).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ok(&client, "session_close", json!({"session": first})).await["session"], first.as_str());
    assert!(cut.await.unwrap().contains("closed while"));
    ends(process).await;
    assert!(failed(&client, "session_close", json!({"session": first})).await.contains("no session"));

    // One that works for longer than the limit is not idle, and one that does nothing is.
    let busy = json!({"session": second, "code": "import time; time.sleep(3); 'done'"});
    assert_eq!(ok(&client, "session_run", busy).await["value"], "'done'");
    ends(of_second).await;
    open(&client).await;
    open(&client).await;
}

//! `abyme serve`: an answer over HTTP, an end in order, and what is no server.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::ffi::OsStrExt,
    process::{Child, Command},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    server::{Server, completion},
    support::{CommandEnd, TestDir, exit_within, signal},
};

const TOKEN: &str = "a-token-of-these-tests";

/// Starts a server and waits for its address.
fn start(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().strip_prefix("http://").and_then(|url| url.strip_suffix("/v1"));
    (child, address.unwrap_or_else(|| panic!("no address: {url:?}")).to_owned())
}

/// Asks a question, and reads the answer when that is called for.
fn asked(address: &str, token: &str, question: &str) -> impl FnOnce() -> (String, Value) + use<> {
    let body = json!({"model": "abyme", "messages": [
        {"role": "user", "content": "x".repeat(100_000)}, {"role": "user", "content": question},
    ]});
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    move || {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
    }
}

#[test]
fn questions_are_answered_until_the_server_is_ended_in_order() {
    let model = Server::start(|request| {
        let text = request["messages"].to_string();
        if text.contains("slowly") {
            std::thread::sleep(Duration::from_millis(1500));
        }
        let cell = "```python\nSUBMIT(f\"{question} {len(messages[0]['content'])}\")\n```";
        (200, completion(cell))
    });
    let dir = TestDir::new();
    let base = format!("--api-base={}", model.url());
    let args = ["serve", "--listen=127.0.0.1:0", "--model=test-model", &base, "--verbose"];
    let more = ["--interpreter=subprocess", "--traces=runs", "--usage=usage.json", "--key-tokens=40"];
    let command = || {
        let mut command = dir.command(&[&args[..], &more].concat());
        command.env("ABYME_SERVE_TOKEN", TOKEN);
        command
    };
    let (mut child, address) = start(&mut command());
    let (status, refused) = asked(&address, "another-token-of-tests", "What?")();
    assert_eq!(
        (status.as_str(), &refused["error"]["code"]),
        ("HTTP/1.1 401 Unauthorized", &json!("invalid_api_key"))
    );
    let (status, answer) = asked(&address, TOKEN, "What?")();
    assert_eq!(status, "HTTP/1.1 200 OK", "{answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "What? 100000");
    assert_eq!(answer["usage"]["total_tokens"], 15);
    let trace = dir.path("runs").join(format!("{}.jsonl", answer["abyme"]["run"].as_str().unwrap()));
    assert!(std::fs::read_to_string(trace).unwrap().contains("\"label\":\"default\""));

    // A run at work comes to its end.
    let late = asked(&address, TOKEN, "slowly?");
    let began = || model.began().iter().any(|request| request.to_string().contains("slowly"));
    crate::support::eventually("the run is at work", began);
    signal(&child, "TERM");
    let (status, answer) = late();
    assert_eq!(
        (status.as_str(), &answer["usage"]["total_tokens"]),
        ("HTTP/1.1 200 OK", &json!(15)),
        "{answer}"
    );
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 0);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr.matches("of default: submitted after").count(), 2, "{stderr}");
    assert!(!stderr.contains(TOKEN), "{stderr}");

    // What was used today is remembered: 30 tokens of 40, and the last run may go over.
    let (mut child, address) = start(&mut command());
    assert_eq!(asked(&address, TOKEN, "More?")().0, "HTTP/1.1 200 OK");
    assert_eq!(asked(&address, TOKEN, "More?")().1["error"]["code"], "insufficient_quota");
    signal(&child, "INT");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    let model = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(15));
        (200, completion("late"))
    });
    let dir = TestDir::new();
    let base = format!("--api-base={}", model.url());
    let args = ["serve", "--listen=127.0.0.1:0", "--model=test-model", &base, "--no-token"];
    let (mut child, address) = start(&mut dir.command(&[&args[..], &["--interpreter=subprocess"]].concat()));
    let _late = asked(&address, "", "slowly?");
    crate::support::eventually("the run is at work", || !model.began().is_empty());
    signal(&child, "TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the run is at work");
    signal(&child, "TERM");
    assert_eq!(exit_within(&mut child, Duration::from_secs(5)), 143);
}

#[test]
fn what_is_no_server_is_said_in_one_line() {
    let dir = TestDir::new();
    dir.write("keys.json", r#"{"keys": {"alice": {"token": "secret-but-short", "max_concurent": 2}}}"#);
    dir.write("short.json", r#"{"keys": {"alice": {"token": "short"}}}"#);
    dir.write("taken", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--listen={}", taken.local_addr().unwrap());
    let model = ["--model=test-model", "--api-base=http://127.0.0.1:9/v1"];
    for (args, parts) in [
        (&[][..], &["no token", "ABYME_SERVE_TOKEN", "--no-token"][..]),
        (&["--no-token", "--listen=0.0.0.0:0"], &["loopback"]),
        (&["--no-token", &taken], &["cannot listen on 127.0.0.1"]),
        (&["--no-token", "--listen=nowhere"], &["--listen", "invalid socket address"]),
        (&["--no-token", "--max-runs=0"], &["max_runs is 0"]),
        (&["--no-token", "--keys=keys.json"], &["cannot be used with"]),
        (&["--no-token", "--key-rpm=3"], &["cannot be used with"]),
        (&["--no-token", "--traces=taken"], &["cannot make the directory `taken`"]),
        (&["--keys=none.json"], &["--keys", "none.json"]),
        (&["--keys=keys.json"], &["--keys", "key `alice`", "max_concurent"]),
        (&["--keys=short.json"], &["key `alice`", "less than 16"]),
    ] {
        let ended = dir.run(&[&["serve"], &model[..], args].concat());
        ended.failed(2, parts);
        assert!(!ended.stderr.contains("secret-but-short"), "{ended:?}");
    }
    let not_utf8 = OsStr::from_bytes(b"a-token-of-\xff\xfe-these-tests");
    for (token, problem) in [
        (OsStr::new(" \n"), "no token, and without one anybody could use the server"),
        (not_utf8, "ABYME_SERVE_TOKEN: the token has a character that is no letter"),
        ("too-short".as_ref(), "ABYME_SERVE_TOKEN: the token has less than 16 characters"),
    ] {
        let mut command = dir.command(&[&["serve"], &model[..]].concat());
        let ended: CommandEnd = command.env("ABYME_SERVE_TOKEN", token).output().unwrap().into();
        ended.failed(2, &[problem]);
    }
    let mut command = dir.command(&[&["serve", "--key-cost=1", "--listen=127.0.0.1:0"], &model[..]].concat());
    let ended: CommandEnd = command.env("ABYME_SERVE_TOKEN", TOKEN).output().unwrap().into();
    ended.failed(2, &["nothing says what a call of model `test-model` costs"]);
}

//! The server of a run that goes on: who is let in, and what comes when.

#![cfg(feature = "follow")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, time::Duration};

use abyme_core::{
    ErrorKind, Observation, Rlm, Submission, Trajectory, Via, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use abyme_view::Follow;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn recorded() -> Trajectory {
    let interpreter = ScriptedInterpreter::from_fn(|_| {
        let mut observation = Observation::default();
        observation.submission = Some(Submission::value(Via::Final, "42"));
        Ok(observation)
    });
    let model = ScriptedModel::replies(["```python\nFINAL('42')\n```"]);
    let rlm = Rlm::builder("-> answer").model(model).interpreter(interpreter.factory()).build().unwrap();
    rlm.run(inputs! {}).await.unwrap().trajectory().clone()
}

/// The address and the token of a server that follows a file.
async fn served(path: &Path) -> (String, String) {
    let follow = Follow::bind(path, 0).await.unwrap();
    let url = follow.url();
    tokio::spawn(follow.serve());
    let rest = url.strip_prefix("http://").unwrap();
    let (address, token) = rest.split_once('/').unwrap();
    (address.to_owned(), token.trim_end_matches('/').to_owned())
}

/// What the server answers until it ends the connection, or until `enough`.
async fn answer(address: &str, request: &str, enough: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains(enough) {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn only_who_has_the_token_on_this_machine_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    recorded().await.save(&path).unwrap();
    let (address, token) = served(&path).await;
    let port = address.split_once(':').unwrap().1.to_owned();
    let page = answer(&address, &get(&format!("/{token}/"), &address), "</html>").await;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("connect-src 'self'"), "{page}");
    for header in ["cache-control: no-store", "referrer-policy: no-referrer", "x-frame-options: DENY"] {
        assert!(page.contains(header), "{header}");
    }
    let other = "0".repeat(32);
    let evil = format!("evil.example:{port}");
    for (request, status) in [
        (get("/", &address), 403),
        (get(&format!("/{other}/"), &address), 403),
        (get(&format!("/{}/", &token[..31]), &address), 403),
        (get(&format!("/{other}/events"), &address), 403),
        (get(&format!("/{token}/"), &evil), 403),
        (get(&format!("/{token}/events"), &evil), 403),
        (get(&format!("/{token}/../../etc/passwd"), &address), 404),
        (get(&format!("/{token}/"), &address).replacen("GET", "POST", 1), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (get(&format!("/{}", "a".repeat(100_000)), &address), 414),
    ] {
        let answer = answer(&address, &request, "\r\n\r\n").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{}: {answer}",
            &request[..40.min(request.len())]
        );
        assert!(!answer.contains("run_started"), "{answer}");
    }
    // A name of this machine, as a tunnel has it.
    let page = answer(&address, &get(&format!("/{token}/"), "localhost:9999"), "</html>").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
}

#[tokio::test]
async fn records_come_as_they_are_written_and_each_once() {
    let record = recorded().await;
    let (count, whole) = (record.records().count(), record.to_jsonl());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (address, token) = served(&path).await;
    let events = get(&format!("/{token}/events?from=0"), &address);
    let (server, request) = (address.clone(), events.clone());
    let listening = tokio::spawn(async move { answer(&server, &request, "run_finished").await });
    // The file comes later, and in two pieces, the first of which ends within a line.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let middle = whole.len() / 2;
    std::fs::write(&path, &whole[..middle]).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    std::fs::write(directory.path().join("whole"), &whole).unwrap();
    std::fs::rename(directory.path().join("whole"), &path).unwrap();
    let heard = listening.await.unwrap();
    assert!(heard.contains("content-type: text/event-stream"), "{heard}");
    for id in 0..count {
        assert_eq!(heard.matches(&format!("id: {id}\n")).count(), 1, "{id}: {heard}");
    }
    // A browser that lost its connection goes on after what it had.
    let again = events.replacen("\r\n\r\n", &format!("\r\nLast-Event-ID: {}\r\n\r\n", count - 2), 1);
    let heard = answer(&address, &again, "run_finished").await;
    assert_eq!(heard.matches("id: ").count(), 1, "{heard}");
}

#[tokio::test]
async fn a_page_of_an_earlier_run_learns_that_the_file_began_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let record = recorded().await;
    record.save(&path).unwrap();
    let (address, token) = served(&path).await;
    let count = record.records().count();
    let page = async |generation: u64| {
        for _ in 0..100 {
            let page = answer(&address, &get(&format!("/{token}/"), &address), "</html>").await;
            if page.contains(&format!("\"from\":{count},\"generation\":{generation}}}")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no page with {generation}");
    };
    page(0).await;
    let other = recorded().await;
    assert_ne!(other.run(), record.run());
    other.save(directory.path().join("other")).unwrap();
    std::fs::rename(directory.path().join("other"), &path).unwrap();
    page(1).await;

    let events = |query: &str| get(&format!("/{token}/events?{query}"), &address);
    // It asks for the first time, or again because its connection was lost.
    let first = events(&format!("from={count}&generation=0"));
    let again = first.replacen("\r\n\r\n", &format!("\r\nLast-Event-ID: {}\r\n\r\n", count - 1), 1);
    for request in [first, again] {
        let heard = answer(&address, &request, "event: restart").await;
        assert!(heard.contains("event: restart\ndata: {}\n\n"), "{heard}");
    }
    let heard = answer(&address, &events("from=0&generation=1"), "run_finished").await;
    assert!(!heard.contains("event: restart") && heard.contains(other.run()), "{heard}");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (address, token) = served(&path).await;
    // A file of holes: it takes no space.
    std::fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let error = Follow::bind(&path, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("holds 3072 MiB, and at most 2048 MiB"), "{error}");
    let heard = answer(&address, &get(&format!("/{token}/events?from=0"), &address), "3072 MiB").await;
    assert!(heard.contains("event: notes\n"), "{heard}");
}

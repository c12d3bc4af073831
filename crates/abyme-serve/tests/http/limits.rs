//! What keys may do, and the queue: who is refused, who waits, and what is counted.

use std::time::Duration;

use abyme_core::ErrorKind;
use abyme_serve::{KeyLimits, ServeConfig, Server};

use crate::support::{Reply, TestServer, Wire, WordModel, asked, get, key, post, rlm};

/// Sends a request whose answer is read later.
async fn sent(server: &TestServer, key: &str, question: &str) -> Wire {
    let mut wire = Wire::open(server.address).await;
    wire.write(post(key, &asked(question)).as_bytes()).await;
    wire
}

fn retry_after(reply: &Reply) -> u64 {
    reply.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_full_queue_pushes_back_and_the_others_come_in_turn() {
    let config = ServeConfig::default().max_runs(1).max_queued(1);
    let server = TestServer::with_keys(config, [key("a"), key("metrics").reads_metrics(true)]).await;
    let mut first = sent(&server, "a", "please_wait echo_first").await;
    server.begun(1).await;
    let mut second = sent(&server, "a", "please_wait echo_second").await;
    let waits = async {
        while server.figure("abyme_requests_waiting").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::LONG, waits).await.unwrap();
    assert_eq!(server.figure("abyme_runs_at_work").await, Some(1.0));
    let third = server.ask("echo_third").await;
    third.refused(429, "queue_full");
    assert!((1..=60).contains(&retry_after(&third)) && third.header("x-should-retry") == Some("true"));

    server.release(1);
    assert_eq!(first.reply().await.content(), "echo_first");
    server.release(1);
    assert_eq!(second.reply().await.content(), "echo_second");
    assert_eq!(server.ask("echo_fourth").await.content(), "echo_fourth");

    for (figure, value) in [
        ("abyme_requests_total{key=\"a\",status=\"200\"}", 3.0),
        ("abyme_requests_total{key=\"a\",status=\"429\"}", 1.0),
        ("abyme_runs_total{key=\"a\",outcome=\"submitted\"}", 3.0),
        ("abyme_tokens_total{key=\"a\",kind=\"input\"}", 300.0),
        ("abyme_tokens_total{key=\"a\",kind=\"output\"}", 60.0),
        ("abyme_model_calls_total{key=\"a\"}", 3.0),
        ("abyme_cost_dollars_total{key=\"a\"}", 0.75),
        ("abyme_run_seconds_count", 3.0),
        ("abyme_queue_seconds_count", 3.0),
        ("abyme_runs_at_work", 0.0),
        ("abyme_requests_waiting", 0.0),
    ] {
        assert_eq!(server.figure(figure).await, Some(value), "{figure}");
    }
}

#[tokio::test]
async fn a_request_waits_no_longer_than_it_may() {
    let config = ServeConfig::default().max_runs(1).queue_timeout(Duration::from_millis(50));
    let server = TestServer::start(config).await;
    let mut first = sent(&server, "a", "please_wait echo_first").await;
    server.begun(1).await;
    server.ask("echo_second").await.refused(429, "queue_timeout");
    server.release(1);
    assert_eq!(first.reply().await.content(), "echo_first");
}

#[tokio::test]
async fn the_limits_of_a_key_are_its_own() {
    let keys = [
        key("a"),
        key("once").limits(KeyLimits::default().max_concurrent(1)),
        key("rare").limits(KeyLimits::default().requests_per_minute(2)),
        key("poor").limits(KeyLimits::default().max_tokens_per_day(150)),
        key("cheap").limits(KeyLimits::default().max_cost_per_day(0.4)),
    ];
    let server = TestServer::with_keys(ServeConfig::default().max_runs(1), keys).await;
    let ask = async |key: &str| server.send(&post(key, &asked("echo_it"))).await;

    let mut first = sent(&server, "once", "please_wait echo_first").await;
    server.begun(1).await;
    let second = ask("once").await;
    second.refused(429, "too_many_requests_at_once");
    assert!(retry_after(&second) > 0);
    server.release(1);
    assert_eq!(first.reply().await.content(), "echo_first");
    assert_eq!(ask("once").await.content(), "echo_it");

    assert_eq!((ask("rare").await.status, ask("rare").await.status), (200, 200));
    let third = ask("rare").await;
    third.refused(429, "rate_limit_exceeded");
    assert!((1..=60).contains(&retry_after(&third)), "{third:?}");

    // A run takes 120 tokens and 0.25 dollars. The last one may exceed the budget by its last call.
    for key in ["poor", "cheap"] {
        assert_eq!((ask(key).await.status, ask(key).await.status), (200, 200), "{key}");
        let third = ask(key).await;
        third.refused(429, "insufficient_quota");
        // A client that tries again by itself would do so until midnight.
        assert_eq!(third.header("x-should-retry"), Some("false"));
    }
    assert_eq!(ask("a").await.content(), "echo_it");
}

/// As many as 10 000, over 50 connections at once: the queue stays as short as it is, and the server answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_are_answered_or_refused_at_once() {
    let config = ServeConfig::default().max_runs(1).max_queued(40);
    let server = TestServer::with_keys(config, [key("a"), key("metrics").reads_metrics(true)]).await;
    let mut at_work = sent(&server, "a", "please_wait echo_first").await;
    server.begun(1).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(sent(&server, "a", "echo_it").await);
    }
    let full = async {
        while server.figure("abyme_requests_waiting").await != Some(40.0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::LONG, full).await.unwrap();

    let request = post("a", &asked("echo_it")).replacen("Connection: close\r\n", "", 1);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (address, request) = (server.address, request.clone());
        clients.spawn(async move {
            let mut wire = Wire::open(address).await;
            for _ in 0..200 {
                wire.write(request.as_bytes()).await;
                let reply = wire.until("queue_full").await;
                assert!(reply.starts_with("HTTP/1.1 429 "), "{reply}");
                if !reply.ends_with("\"}}") {
                    wire.until("}}").await;
                }
            }
        });
    }
    clients.join_all().await;
    assert_eq!(server.figure("abyme_requests_total{key=\"a\",status=\"429\"}").await, Some(10_000.0));
    server.release(1);
    assert_eq!(at_work.reply().await.content(), "echo_first");
    for mut wire in waiting {
        assert_eq!(wire.reply().await.content(), "echo_it");
    }
}

#[tokio::test]
async fn a_server_that_lets_everybody_in_is_for_this_machine() {
    let served = || {
        let (model, ended) = (WordModel::default(), std::sync::Arc::default());
        (Server::new("abyme", rlm(model.clone(), std::sync::Arc::clone(&ended))), model, ended)
    };
    let loopback = "127.0.0.1:0".parse().unwrap();
    for (server, address, part) in [
        (served().0, loopback, "no key"),
        (served().0.key(key("a")).without_keys(), loopback, "without one"),
        (served().0.without_keys(), "0.0.0.0:0".parse().unwrap(), "loopback"),
        (served().0.without_keys(), "[::]:0".parse().unwrap(), "loopback"),
    ] {
        let error = server.bind(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(part), "{error}");
    }
    let (server, model, ended) = served();
    let server = TestServer::serve(server.without_keys(), model, ended).await;
    let request = post("nobody", &asked("echo_it"));
    assert_eq!(server.send(&request).await.content(), "echo_it");
    // A page of another site, whose name points here.
    let other = request.replacen("Host: 127.0.0.1", "Host: evil.example", 1);
    server.send(&other).await.refused(403, "wrong_host");
    let other = get("nobody", "/metrics").replacen("Host: 127.0.0.1", "Host: evil.example", 1);
    server.send(&other).await.refused(403, "wrong_host");
}

#[tokio::test]
async fn what_would_fail_in_every_run_is_found_before() {
    let address = "127.0.0.1:0".parse().unwrap();
    let other_task = abyme_core::Rlm::builder("docs -> answer").model(WordModel::default());
    let interpreter = abyme_core::testing::ScriptedInterpreter::from_fn(|_| Ok(Default::default()));
    let other_task = other_task.interpreter(interpreter.factory()).build().unwrap();
    let error = Server::new("x", other_task).key(key("a")).bind(address).await.unwrap_err();
    assert!(error.message().contains("model `x`") && error.message().contains("`docs`"), "{error}");

    let unpriced = abyme_core::Rlm::builder(abyme_serve::signature()).model(Unpriced);
    let unpriced = unpriced.interpreter(interpreter.factory()).build().unwrap();
    let limits = KeyLimits::default().max_cost_per_day(1.0);
    let server = Server::new("x", unpriced).key(key("a").limits(limits));
    let error = server.bind(address).await.unwrap_err();
    assert!(error.message().contains("nothing says what a call of model"), "{error}");
}

/// A model whose calls cost nobody knows what.
#[derive(Debug)]
struct Unpriced;

#[async_trait::async_trait]
impl abyme_core::LanguageModel for Unpriced {
    fn name(&self) -> &str {
        "unpriced"
    }

    async fn complete(&self, _: &abyme_core::Request) -> abyme_core::Result<abyme_core::Response> {
        panic!("it is not asked")
    }
}

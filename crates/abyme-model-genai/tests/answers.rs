//! What becomes of the answers of two providers of genai, by way of a server on loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

#[path = "../../abyme-model-anthropic/tests/answers/server.rs"]
mod server;

use std::time::Duration;

use abyme_core::{Delta, Error, ErrorKind, FinishReason, LanguageModel, Message, Request, Usage};
use abyme_model_genai::Genai;
use futures_util::StreamExt;
use serde_json::{Value, json};

use self::server::{Answer, Server};

const KEY: &str = "co-canary-0123456789";

/// Together's API is OpenAI's, which most providers of genai have in common.
fn model(server: &Server) -> Genai {
    Genai::new("together/llama").base_url(server.url()).api_key(KEY)
}

async fn failure(answer: Answer) -> Error {
    let server = Server::new([answer]).await;
    let error = model(&server).complete(&Request::prompt("?")).await.unwrap_err();
    let mut shown = format!("{error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        shown.push_str(&format!("{next:?}"));
        cause = next.source();
    }
    assert!(!shown.contains("canary"), "{shown}");
    error
}

fn piece(delta: Value, finish: Option<&str>) -> Value {
    json!({"model": "llama", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn sse(pieces: &[Value]) -> String {
    pieces.iter().map(|piece| format!("data: {piece}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}

#[tokio::test]
async fn a_reply_in_pieces() {
    let usage =
        json!({"choices": [], "usage": {"prompt_tokens": 15, "completion_tokens": 3, "total_tokens": 18}});
    let body = sse(&[
        piece(json!({"role": "assistant", "content": "Par"}), None),
        piece(json!({"content": "is"}), None),
        piece(json!({}), Some("length")),
        usage,
    ]);
    let server = Server::new([Answer::events(body)]).await;
    let model = model(&server);
    let request =
        Request::new(vec![Message::system("rules"), Message::user("?")]).max_tokens(9).cache_points([0, 1]);
    let pieces: Vec<_> = model.stream(&request).map(|delta| delta.unwrap()).collect().await;
    assert_eq!(pieces[..2], [Delta::Text("Par".into()), Delta::Text("is".into())]);
    let Some(Delta::Done(response)) = pieces.last() else { panic!("{pieces:?}") };
    assert_eq!((response.text.as_str(), &response.finish_reason), ("Paris", &FinishReason::Length));
    assert_eq!(response.usage, Usage::tokens(15, 3));

    let sent = &server.requests()[0];
    assert!(sent.head.to_lowercase().contains(&format!("authorization: bearer {KEY}")), "{}", sent.head);
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(body["messages"][1]["content"], "?");
}

#[tokio::test]
async fn cohere_in_its_own_form() {
    let events = [
        json!({"is_finished": false, "event_type": "stream-start"}),
        json!({"is_finished": false, "event_type": "text-generation", "text": "Paris"}),
        json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "MAX_TOKENS",
               "response": {"meta": {"tokens": {"input_tokens": 5, "output_tokens": 2}}}}),
    ];
    let body: String = events.iter().map(|event| format!("{event}\n")).collect();
    let answer = Answer::new(200, "application/stream+json", body);
    let server = Server::new([answer]).await;
    let model = Genai::new("cohere/command").base_url(server.url()).api_key(KEY);
    let response = model.complete(&Request::prompt("?")).await.unwrap();
    assert_eq!((response.text.as_str(), response.finish_reason), ("Paris", FinishReason::Length));
    assert_eq!(response.usage, Usage::tokens(5, 2));
    assert!(server.requests()[0].body.contains("command"));
}

#[tokio::test]
async fn failures_have_their_kinds() {
    let body = |message: &str| json!({"error": {"message": message}}).to_string();
    for (status, message, expected) in [
        (400, "no", ErrorKind::BadRequest),
        (400, "maximum context length is 8192 tokens", ErrorKind::ContextTooLong),
        (401, "bad key co-canary-0123456789", ErrorKind::Auth),
        (402, "no", ErrorKind::QuotaExceeded),
        (429, "slow", ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) }),
        (500, "no", ErrorKind::Server),
        (529, "no", ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) }),
    ] {
        let error = failure(Answer::json(status, body(message)).header("retry-after", "7")).await;
        assert_eq!(error.kind(), expected, "{status}: {error}");
    }
    // The page of a proxy says which encoding it has, and is an answer that can be asked for again.
    let page = failure(Answer::new(503, "text/html", "<meta charset=utf-8>busy")).await;
    assert!(page.is_temporary(), "{page:?}");
    let redirect = Answer::new(307, "text/plain", "").header("location", "http://127.0.0.2:1/");
    assert_eq!(failure(redirect).await.kind(), ErrorKind::BadRequest);
    let closed = Genai::new("together/llama").base_url("http://127.0.0.1:1").api_key(KEY);
    let error = closed.complete(&Request::prompt("?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn what_is_no_reply_is_an_error_in_bounded_time() {
    for (what, answer) in [
        ("an event that is not JSON", Answer::events("data: {\"choices\"\n\n")),
        ("a stream that ends early", Answer::events("data: {\"choices\": []}\n\n")),
        ("HTML", Answer::new(200, "text/html", "<html></html>")),
    ] {
        let error = failure(answer).await;
        assert!(
            matches!(error.kind(), ErrorKind::MalformedReply | ErrorKind::Connection),
            "{what}: {error:?}"
        );
    }
    let piece = format!("data: {}\n\n", piece(json!({"content": "Par"}), None));
    let server =
        Server::new([Answer::events(piece.clone()).endless(), Answer::events(piece).endless()]).await;
    let request = Request::prompt("?").timeout(Duration::from_millis(200));
    let error = model(&server).complete(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelTimeout, "{error}");
    let model = model(&server).idle_timeout(Duration::from_millis(200));
    let error = model.complete(&Request::prompt("?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelTimeout, "{error}");
}

#[tokio::test]
async fn a_missing_key_or_another_provider_shows_before_anything_is_sent() {
    let error = Genai::new("together/llama").base_url("ftp://x").check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let server = Server::new([]).await;
    let request = Request::prompt("?").model("cohere/command".to_owned());
    let error = model(&server).complete(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

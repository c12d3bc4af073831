//! Everything a server can answer, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

#[path = "../../../abyme-model-anthropic/tests/answers/server.rs"]
mod server;

use std::time::Duration;

use abyme_core::{Delta, Error, ErrorKind, FinishReason, LanguageModel, Request, Response, Result};
use abyme_model_gemini::Gemini;
use futures_util::StreamExt;
use serde_json::{Value, json};

use self::server::{Answer, Server};

const KEY: &str = "AIza-canary-0123456789";

fn model(server: &Server) -> Gemini {
    Gemini::new("gemini/gemini-x").base_url(server.url()).api_key(KEY)
}

async fn ask(answer: Answer) -> Result<Response> {
    let server = Server::new([answer]).await;
    model(&server).complete(&Request::prompt("?")).await
}

async fn failure(answer: Answer) -> Error {
    let error = ask(answer).await.unwrap_err();
    let mut shown = format!("{error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        shown.push_str(&format!("{next:?}"));
        cause = next.source();
    }
    assert!(!shown.contains("canary"), "{shown}");
    error
}

fn text(text: &str) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]})
}

fn end(reason: &str) -> Value {
    json!({
        "candidates": [{"finishReason": reason}], "modelVersion": "gemini-x-001", "responseId": "r7",
        "usageMetadata": {"promptTokenCount": 15, "candidatesTokenCount": 3, "cachedContentTokenCount": 5},
    })
}

fn sse(pieces: &[Value]) -> String {
    pieces.iter().map(|piece| format!("data: {piece}\r\n\r\n")).collect()
}

fn error_body(status: u16, name: &str, message: &str, details: Value) -> String {
    json!({"error": {"code": status, "message": message, "status": name, "details": details}}).to_string()
}

#[tokio::test]
async fn a_call_sends_what_the_api_wants_and_reads_what_it_answers() {
    let server = Server::new([Answer::events(sse(&[text("Par"), text("is"), end("STOP")]))]).await;
    let model = model(&server);
    let request = Request::prompt("?").max_tokens(9);
    let pieces: Vec<_> = model.stream(&request).map(|delta| delta.unwrap()).collect().await;
    let Some(Delta::Done(response)) = pieces.last() else { panic!("{pieces:?}") };
    assert_eq!(pieces[..2], [Delta::Text("Par".into()), Delta::Text("is".into())]);
    assert_eq!((response.text.as_str(), response.usage.input_tokens), ("Paris", Some(15)));
    assert_eq!((response.usage.cached_tokens, response.usage.output_tokens), (Some(5), Some(3)));
    assert_eq!(response.request_id.as_deref(), Some("r7"));

    let sent = &server.requests()[0];
    let line = sent.head.lines().next().unwrap();
    assert_eq!(line, "POST /v1beta/models/gemini-x:streamGenerateContent?alt=sse HTTP/1.1");
    assert!(sent.head.to_lowercase().contains(&format!("x-goog-api-key: {}", KEY.to_lowercase())));
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(body["generationConfig"], json!({"maxOutputTokens": 9}));
}

#[tokio::test]
async fn another_model_of_the_provider_is_asked_at_its_own_address() {
    let server = Server::new([Answer::events(sse(&[text("x"), end("STOP")]))]).await;
    let model = model(&server);
    model.complete(&Request::prompt("?").model("gemini/gemini-y".to_owned())).await.unwrap();
    assert!(server.requests()[0].head.contains("/models/gemini-y:"));
    let error = model.complete(&Request::prompt("?").model("openai/gpt-5".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_filters_do() {
    let response = ask(Answer::events(sse(&[text("Once "), end("SAFETY")]))).await.unwrap();
    assert_eq!((response.text.as_str(), response.finish_reason), ("Once ", FinishReason::ContentFilter));
    let response = ask(Answer::events(sse(&[end("RECITATION")]))).await.unwrap();
    assert_eq!((response.text.as_str(), response.finish_reason), ("", FinishReason::ContentFilter));
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                         "usageMetadata": {"promptTokenCount": 4}});
    for answer in
        [Answer::events(sse(std::slice::from_ref(&blocked))), Answer::json(200, blocked.to_string())]
    {
        let error = failure(answer).await;
        assert!(error.kind() == ErrorKind::ContentRefused && error.message().contains("PROHIBITED_CONTENT"));
        assert_eq!(error.usage().unwrap().input_tokens, Some(4));
    }
}

#[tokio::test]
async fn failures_have_their_kinds() {
    let none = || json!([]);
    let quota = |id: &str| {
        json!([
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
        ])
    };
    let key = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    let in_34_s = ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(34)) };
    for (status, name, message, details, expected) in [
        (400, "INVALID_ARGUMENT", "Invalid JSON payload", none(), ErrorKind::BadRequest),
        (400, "INVALID_ARGUMENT", "no", key, ErrorKind::Auth),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            none(),
            ErrorKind::ContextTooLong,
        ),
        (403, "PERMISSION_DENIED", "no: AIza-canary-0123456789", none(), ErrorKind::Auth),
        (
            404,
            "NOT_FOUND",
            "models/gemini-x is not found for API version v1beta",
            none(),
            ErrorKind::BadRequest,
        ),
        (429, "RESOURCE_EXHAUSTED", "quota", quota("GenerateRequestsPerMinutePerProjectPerModel"), in_34_s),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "quota",
            quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            ErrorKind::QuotaExceeded,
        ),
        (500, "INTERNAL", "no", none(), ErrorKind::Server),
        (503, "UNAVAILABLE", "The model is overloaded.", none(), ErrorKind::Server),
        (504, "DEADLINE_EXCEEDED", "no", none(), ErrorKind::Server),
    ] {
        let body = error_body(status, name, message, details);
        let error = failure(Answer::json(status, body.clone())).await;
        assert_eq!(error.kind(), expected, "{status} {message}: {error}");
        // The same error inside of a stream, and inside of a list as the API writes it without events.
        let error = failure(Answer::events(format!("{}data: {body}\n\n", sse(&[text("Par")])))).await;
        assert_eq!(error.kind(), expected, "in a stream: {error}");
        assert_eq!(failure(Answer::json(status, format!("[{body}]"))).await.kind(), expected);
    }
}

#[tokio::test]
async fn what_is_no_reply_is_an_error_in_bounded_time() {
    for (what, answer, expected) in [
        ("HTML", Answer::new(200, "text/html", "<html>Sign in</html>"), ErrorKind::MalformedReply),
        ("HTML of a failure", Answer::new(502, "text/html", "<html>502</html>"), ErrorKind::Server),
        ("nothing", Answer::json(200, ""), ErrorKind::MalformedReply),
        ("other JSON", Answer::json(200, r#"{"choices": []}"#), ErrorKind::MalformedReply),
        ("no event", Answer::events(": hello\n\n"), ErrorKind::MalformedReply),
        ("half an event", Answer::events("data: {\"candidates\"\n\n"), ErrorKind::MalformedReply),
        ("a stream that ends early", Answer::events(sse(&[text("Par")])), ErrorKind::Connection),
        ("a body that is cut", Answer::events(sse(&[text("Par")])).cut(), ErrorKind::Connection),
        (
            "another host",
            Answer::new(308, "text/plain", "").header("location", "http://127.0.0.2:1/"),
            ErrorKind::BadRequest,
        ),
    ] {
        let error = failure(answer).await;
        assert_eq!(error.kind(), expected, "{what}: {error}");
    }
    // What comes after the end does not matter, and nobody waits long for it.
    let whole = sse(&[text("Paris"), end("STOP")]);
    assert_eq!(ask(Answer::events(format!("{whole}data: {{"))).await.unwrap().text, "Paris");
    assert_eq!(ask(Answer::events(whole.clone() + &sse(&[end("STOP")]))).await.unwrap().text, "Paris");
    assert_eq!(ask(Answer::events(whole).cut()).await.unwrap().text, "Paris");
    let list = format!("[{},\n{}]", text("Paris"), end("STOP"));
    assert_eq!(ask(Answer::json(200, list)).await.unwrap().text, "Paris");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let server = Server::new([Answer::events(sse(&[text("Par")])).endless()]).await;
    let model = model(&server).idle_timeout(Duration::from_millis(100));
    let error = model.complete(&Request::prompt("?")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::ModelTimeout && error.message().contains("idle"), "{error}");
}

#[tokio::test]
async fn what_a_model_refuses_is_left_out_from_then_on() {
    let refusal = error_body(400, "INVALID_ARGUMENT", "Thinking is not enabled for this model", json!([]));
    let good = || Answer::events(sse(&[text("ok"), end("STOP")]));
    let server = Server::new([Answer::json(400, refusal), good(), good()]).await;
    let model = model(&server).thinking_budget(100);
    for _ in 0..2 {
        assert_eq!(model.complete(&Request::prompt("?")).await.unwrap().text, "ok");
    }
    let with_budget: Vec<_> =
        server.requests().iter().map(|sent| sent.body.contains("thinkingBudget")).collect();
    assert_eq!(with_budget, [true, false, false]);
}

#[tokio::test]
async fn the_models_of_the_server_are_listed_as_they_are_asked_for() {
    let list = json!({"models": [{"name": "models/gemini-x"}, {"name": "tunedModels/mine"}, {"other": 1}]});
    let server = Server::new([Answer::json(200, list.to_string()), Answer::json(200, "{}")]).await;
    let model = model(&server);
    assert_eq!(model.available_models().await.unwrap(), ["gemini-x", "tunedModels/mine"]);
    assert!(server.requests()[0].head.starts_with("GET /v1beta/models HTTP/1.1\r\n"));
    assert_eq!(model.available_models().await.unwrap_err().kind(), ErrorKind::MalformedReply);
}

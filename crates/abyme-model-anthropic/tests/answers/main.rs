//! Everything a server can answer, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

mod server;

use std::time::Duration;

use abyme_core::{Delta, Error, ErrorKind, LanguageModel, Message, NativeCall, Request, Response, Result};
use abyme_model_anthropic::Anthropic;
use futures_util::StreamExt;
use serde_json::{Value, json};

use self::server::{Answer, Server};

const KEY: &str = "sk-ant-canary-0123456789";

fn model(server: &Server) -> Anthropic {
    Anthropic::new("claude-haiku-4-5").base_url(server.url()).api_key(KEY)
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

/// The events of a reply of this text.
fn events(text: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {
            "type": "message", "model": "claude-haiku-4-5-20251001", "content": [],
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
        }}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]
}

fn sse(events: &[Value]) -> String {
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"));
    events.iter().map(event).collect()
}

fn error_body(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).to_string()
}

#[tokio::test]
async fn a_call_sends_what_the_api_wants_and_reads_what_it_answers() {
    let answer = Answer::events(sse(&events("Paris")))
        .header("request-id", "req_7")
        .header("anthropic-ratelimit-requests-remaining", "49")
        .header("anthropic-ratelimit-input-tokens-remaining", "29000");
    let server = Server::new([answer]).await;
    let request = Request::new(vec![Message::system("rules"), Message::user("?")]).cache_points([0, 1]);
    let response = model(&server).complete(&request).await.unwrap();
    assert_eq!((response.text.as_str(), response.usage.input_tokens), ("Paris", Some(15)));
    assert_eq!((response.usage.cached_tokens, response.usage.output_tokens), (Some(5), Some(3)));
    assert_eq!(response.request_id.as_deref(), Some("req_7"));
    let limits = response.rate_limits.unwrap();
    assert_eq!((limits.requests.remaining, limits.input_tokens.remaining), (Some(49), Some(29_000)));

    let sent = &server.requests()[0];
    assert!(sent.head.starts_with("POST /v1/messages HTTP/1.1"), "{}", sent.head);
    let head = sent.head.to_lowercase();
    for header in [&format!("x-api-key: {KEY}"), "anthropic-version: 2023-06-01"] {
        assert!(head.contains(header), "{head}");
    }
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!((&body["model"], &body["stream"]), (&json!("claude-haiku-4-5"), &json!(true)));
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
}

#[tokio::test]
async fn a_stream_is_the_answer_in_pieces() {
    let mut all = events("Par");
    all.insert(1, json!({"type": "ping"}));
    all.insert(
        4,
        json!({"type": "content_block_delta", "index": 0,
                         "delta": {"type": "text_delta", "text": "is"}}),
    );
    let server = Server::new([Answer::events(format!(": comment\n\n{}", sse(&all)))]).await;
    let model = model(&server);
    let request = Request::prompt("?");
    let pieces: Vec<_> = model.stream(&request).map(|delta| delta.unwrap()).collect().await;
    let texts: Vec<_> = pieces
        .iter()
        .filter_map(|piece| if let Delta::Text(text) = piece { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(texts, ["Par", "i", "s"], "with an `s`, the key may begin");
    let Some(Delta::Done(response)) = pieces.last() else { panic!("{pieces:?}") };
    assert_eq!(response.text, "Paris");
    assert!(matches!(pieces[0], Delta::Usage(_)), "what the request used is known first");
}

#[tokio::test]
async fn a_message_that_is_not_streamed_is_read_too() {
    let message = json!({
        "type": "message", "model": "m", "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "content": [
            {"type": "text", "text": "I call"},
            {"type": "tool_use", "name": "python", "input": {"code": "1"}},
        ],
    });
    let response = ask(Answer::json(200, message.to_string())).await.unwrap();
    assert_eq!((response.text.as_str(), response.usage.output_tokens), ("I call", Some(2)));
    assert_eq!(response.native_call, Some(NativeCall::new("python", r#"{"code":"1"}"#)));
}

#[tokio::test]
async fn failures_have_their_kinds() {
    let wait = |seconds| ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
    for (status, kind, message, expected) in [
        (400, "invalid_request_error", "max_tokens: Field required", ErrorKind::BadRequest),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            ErrorKind::ContextTooLong,
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
            ErrorKind::ContextTooLong,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            ErrorKind::QuotaExceeded,
        ),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            ErrorKind::ContentRefused,
        ),
        (
            400,
            "invalid_request_error",
            "This model does not support assistant message prefill. The conversation must end with a user \
             message.",
            ErrorKind::BadRequest,
        ),
        (401, "authentication_error", "invalid x-api-key sk-ant-canary-0123456789", ErrorKind::Auth),
        (402, "billing_error", "no", ErrorKind::QuotaExceeded),
        (403, "permission_error", "no", ErrorKind::Auth),
        (404, "not_found_error", "model: claude-x", ErrorKind::BadRequest),
        (413, "request_too_large", "Request exceeds the maximum size", ErrorKind::ContextTooLong),
        (429, "rate_limit_error", "slow down", ErrorKind::RateLimited { retry_after: None }),
        (500, "api_error", "Internal server error", ErrorKind::Server),
        (504, "timeout_error", "no", ErrorKind::Server),
        (529, "overloaded_error", "Overloaded", ErrorKind::Server),
    ] {
        let error = failure(Answer::json(status, error_body(kind, message))).await;
        assert_eq!(error.kind(), expected, "{status} {message}: {error}");
    }
    let limited = Answer::json(429, error_body("rate_limit_error", "slow down"))
        .header("retry-after", "7")
        .header("anthropic-ratelimit-requests-remaining", "0");
    let error = failure(limited).await;
    assert_eq!(error.kind(), wait(7));
    assert_eq!(error.rate_limits().unwrap().requests.remaining, Some(0));
    let overloaded =
        Answer::json(529, error_body("overloaded_error", "Overloaded")).header("retry-after", "3");
    assert_eq!(failure(overloaded).await.kind(), wait(3));
}

#[tokio::test]
async fn an_error_inside_of_a_stream_or_a_200_is_one() {
    for (kind, expected) in [
        ("overloaded_error", ErrorKind::Server),
        ("api_error", ErrorKind::Server),
        ("rate_limit_error", ErrorKind::RateLimited { retry_after: None }),
        ("invalid_request_error", ErrorKind::BadRequest),
        ("authentication_error", ErrorKind::Auth),
        ("permission_error", ErrorKind::Auth),
        ("billing_error", ErrorKind::QuotaExceeded),
        ("request_too_large", ErrorKind::ContextTooLong),
        ("not_found_error", ErrorKind::BadRequest),
    ] {
        let started = sse(&events("Par")[..3]);
        let body = error_body(kind, "no");
        let error = failure(Answer::events(format!("{started}event: error\ndata: {body}\n\n"))).await;
        assert_eq!(error.kind(), expected, "{kind} in a stream: {error}");
        assert_eq!(error.usage().unwrap().input_tokens, Some(15), "what was used is known");
        assert_eq!(failure(Answer::json(200, body)).await.kind(), expected, "{kind} in a 200");
    }
}

#[tokio::test]
async fn what_is_no_reply_is_an_error_in_bounded_time() {
    let whole = sse(&events("Paris"));
    let cut = |at: usize| whole[..whole.len() - at].to_owned();
    for (what, answer, expected) in [
        ("HTML", Answer::new(200, "text/html", "<html>Bad gateway</html>"), ErrorKind::MalformedReply),
        ("HTML of a failure", Answer::new(502, "text/html", "<html>Bad gateway</html>"), ErrorKind::Server),
        ("nothing", Answer::json(200, ""), ErrorKind::MalformedReply),
        ("other JSON", Answer::json(200, r#"{"choices": []}"#), ErrorKind::MalformedReply),
        ("a stream without events", Answer::events(": hello\n\n"), ErrorKind::MalformedReply),
        ("an event that is not JSON", Answer::events("data: {\"type\"\n\n"), ErrorKind::MalformedReply),
        ("a stream that ends early", Answer::events(sse(&events("Paris")[..4])), ErrorKind::Connection),
        (
            "half an event",
            Answer::events(sse(&events("Paris")[..2]) + "data: {\"ty"),
            ErrorKind::MalformedReply,
        ),
        ("a body that is cut", Answer::events(sse(&events("Paris")[..3])).cut(), ErrorKind::Connection),
        (
            "another host",
            Answer::new(307, "text/plain", "").header("location", "http://127.0.0.2:1/"),
            ErrorKind::BadRequest,
        ),
        ("a wrong address", Answer::new(404, "text/html", "<h1>Not Found</h1>"), ErrorKind::BadRequest),
        (
            "bytes that are no gzip",
            Answer::json(200, "xxxx").header("content-encoding", "gzip"),
            ErrorKind::MalformedReply,
        ),
    ] {
        let error = failure(answer).await;
        assert_eq!(error.kind(), expected, "{what}: {error}");
    }
    // What comes after the model has stopped does not matter.
    assert_eq!(ask(Answer::events(cut(30))).await.unwrap().text, "Paris");
    let twice = [whole.clone(), sse(&events("!")[4..])].concat();
    assert_eq!(ask(Answer::events(twice)).await.unwrap().text, "Paris");
    assert_eq!(ask(Answer::events(whole).endless()).await.unwrap().text, "Paris", "nobody waits for the end");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let silent = |head: &str| Answer::events(head).endless();
    let server = Server::new([silent(&sse(&events("Par")[..3])), silent(""), silent("")]).await;
    let model = model(&server).idle_timeout(Duration::from_millis(100));
    let error = model.complete(&Request::prompt("?")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::ModelTimeout && error.message().contains("idle"), "{error}");
    let model = model.idle_timeout(Duration::from_secs(60));
    let request = Request::prompt("?").timeout(Duration::from_millis(100));
    let error = model.complete(&request).await.unwrap_err();
    assert!(error.kind() == ErrorKind::ModelTimeout && error.message().contains("total"), "{error}");
}

#[tokio::test]
async fn text_that_is_cut_inside_of_a_character_and_replies_without_an_end() {
    let mut bytes = sse(&events("Paris é")).into_bytes();
    let at = bytes.windows(2).position(|pair| pair == "é".as_bytes()).unwrap();
    bytes.remove(at + 1);
    assert_eq!(ask(Answer::events(bytes)).await.unwrap().text, "Paris \u{fffd}");

    // The whole text is one event, so none of it can be read.
    let server = Server::new([Answer::events(sse(&events(&"x".repeat(200_000))))]).await;
    let model = model(&server).max_body_bytes(50_000);
    let error = model.complete(&Request::prompt("?")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::MalformedReply, false));
}

#[tokio::test]
async fn what_a_model_refuses_is_left_out_from_then_on() {
    let refusal = |message: &str| Answer::json(400, error_body("invalid_request_error", message));
    let server = Server::new([
        refusal("`temperature` is deprecated for this model."),
        refusal("max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for m"),
        Answer::events(sse(&events("one"))),
        Answer::events(sse(&events("two"))),
    ])
    .await;
    let model = Anthropic::new("m").base_url(server.url());
    let request = Request::prompt("?").temperature(0.5);
    assert_eq!(model.complete(&request).await.unwrap().text, "one");
    assert_eq!(model.complete(&request).await.unwrap().text, "two");
    let sent: Vec<Value> =
        server.requests().iter().map(|sent| serde_json::from_str(&sent.body).unwrap()).collect();
    let told: Vec<_> =
        sent.iter().map(|body| (body.get("temperature").is_some(), &body["max_tokens"])).collect();
    let (most, fewer) = (json!(32_000), json!(8_192));
    assert_eq!(told, [(true, &most), (false, &most), (false, &fewer), (false, &fewer)]);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let server = Server::new([Answer::events(sse(&events("Par")[..3])).endless()]).await;
    let model = model(&server);
    let request = Request::prompt("?");
    let mut stream = model.stream(&request);
    while !matches!(stream.next().await.unwrap().unwrap(), Delta::Text(_)) {}
    drop(stream);
    server.closed().await;
}

#[tokio::test]
async fn the_models_of_the_server_are_listed() {
    let list = json!({"data": [{"type": "model", "id": "claude-x"}, {"type": "model", "id": "claude-y"}]});
    let server = Server::new([Answer::json(200, list.to_string()), Answer::json(200, "{}")]).await;
    let model = model(&server);
    assert_eq!(model.available_models().await.unwrap(), ["claude-x", "claude-y"]);
    assert!(server.requests()[0].head.starts_with("GET /v1/models HTTP/1.1\r\n"));
    assert_eq!(model.available_models().await.unwrap_err().kind(), ErrorKind::MalformedReply);
}

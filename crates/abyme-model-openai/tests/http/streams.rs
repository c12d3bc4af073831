//! Answers that come in pieces, and all that can go wrong with them.

use std::time::{Duration, Instant};

use abyme_core::{
    Delta, ErrorKind, FinishReason, LanguageModel, LanguageModelExt, Request, Response, Result,
    model::collect,
};
use abyme_model_openai::{Api, OpenAi};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use wiremock::{Request as Received, ResponseTemplate};

use crate::{
    completion, model, policy, requests, serve,
    server::{RawServer, read_request, reset},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_9\r\n\
    x-ratelimit-remaining-requests: 7\r\ntransfer-encoding: chunked\r\n\r\n";

/// An event of a piece of the text.
fn piece(text: &str) -> String {
    event(&json!({"choices": [{"delta": {"content": text}}]}))
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn finish(reason: &str) -> String {
    event(&json!({"choices": [{"delta": {}, "finish_reason": reason}]}))
}

const DONE: &str = "data: [DONE]\n\n";

/// Writes a part of a body.
async fn write(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}

/// A server whose answers have these parts, and an end.
async fn streaming(parts: Vec<String>) -> RawServer {
    RawServer::start(move |_, mut stream| {
        let parts = parts.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(HEAD.as_bytes()).await.unwrap();
                for part in &parts {
                    if write(&mut stream, part).await.is_err() {
                        return;
                    }
                }
                let _ = stream.write_all(b"0\r\n\r\n").await;
            }
        }
    })
    .await
}

/// A server that sends these parts, and then nothing more, with the connection open.
async fn stalling(parts: Vec<String>) -> RawServer {
    RawServer::start(move |_, mut stream| {
        let parts = parts.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            for part in &parts {
                write(&mut stream, part).await.unwrap();
            }
            sleep(Duration::from_secs(60)).await;
        }
    })
    .await
}

/// The texts, and the end.
async fn read(model: &OpenAi) -> (Vec<String>, Result<Response>) {
    let request = Request::prompt("x");
    let (mut stream, mut texts) = (model.stream(&request), Vec::new());
    loop {
        match stream.next().await.expect("a stream ends with a response or an error") {
            Ok(Delta::Text(text)) => texts.push(text),
            Ok(Delta::Done(response)) => {
                assert!(stream.next().await.is_none(), "nothing follows the end");
                assert_eq!(texts.concat(), response.text);
                return (texts, Ok(response));
            }
            Ok(_) => {}
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (texts, Err(error));
            }
        }
    }
}

async fn read_at(server: &RawServer) -> (Vec<String>, Result<Response>) {
    read(&model(&server.url)).await
}

#[tokio::test]
async fn pieces_come_as_they_are_sent() {
    let (go, mut may_go) = tokio::sync::mpsc::channel::<()>(1);
    let gate = std::sync::Mutex::new(Some(async move { may_go.recv().await }));
    let server = RawServer::start(move |_, mut stream| {
        let gate = gate.lock().unwrap().take();
        async move {
            let request = read_request(&mut stream).await.unwrap();
            assert!(
                request.contains(r#""stream":true,"stream_options":{"include_usage":true}"#),
                "{request}"
            );
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            write(&mut stream, &piece("Hel")).await.unwrap();
            gate.unwrap().await.unwrap();
            let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
            let rest = format!("{}{}{}{DONE}", piece("lo"), finish("stop"), event(&usage));
            write(&mut stream, &rest).await.unwrap();
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let (model, request) = (model(&server.url), Request::prompt("x"));
    let mut stream = model.stream(&request);
    // The rest is not sent before this piece is here.
    assert_eq!(stream.next().await.unwrap().unwrap(), Delta::Text("Hel".into()));
    let Delta::RateLimits(limits) = stream.next().await.unwrap().unwrap() else { panic!("no limits") };
    assert_eq!(limits.requests.remaining, Some(7));
    go.send(()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), Delta::Text("lo".into()));
    let Delta::Usage(usage) = stream.next().await.unwrap().unwrap() else { panic!("no usage") };
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(3), Some(2)));
    let Delta::Done(response) = stream.next().await.unwrap().unwrap() else { panic!("no end") };
    assert_eq!((response.text.as_str(), response.finish_reason), ("Hello", FinishReason::Stop));
    assert_eq!(response.request_id.as_deref(), Some("req_9"));
    assert_eq!(response.rate_limits.unwrap().requests.remaining, Some(7));
    assert_eq!(response.usage, usage);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn streams_and_calls_share_one_connection() {
    let server = streaming(vec![piece("hi") + &finish("stop"), DONE.to_owned()]).await;
    let model = model(&server.url);
    for _ in 0..5 {
        assert_eq!(read(&model).await.1.unwrap().text, "hi");
        // The end of the body comes after that of the reply.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(model.complete(&Request::prompt("x")).await.unwrap().text, "hi");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_dropped_stream_ends_the_request() {
    let (gone, was_gone) = tokio::sync::oneshot::channel();
    let gone = std::sync::Mutex::new(Some(gone));
    let server = RawServer::start(move |_, mut stream| {
        let gone = gone.lock().unwrap().take();
        async move {
            read_request(&mut stream).await;
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            write(&mut stream, &piece("and so on")).await.unwrap();
            // The client sends nothing more; the end of the stream is its going away.
            read_request(&mut stream).await;
            let _ = gone.unwrap().send(());
        }
    })
    .await;
    let (model, request) = (model(&server.url), Request::prompt("x"));
    let mut stream = model.stream(&request);
    assert!(matches!(stream.next().await, Some(Ok(Delta::Text(_)))));
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), was_gone).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn however_the_bytes_are_cut_the_reply_is_the_same() {
    let thought = event(&json!({"choices": [{"delta": {"reasoning_content": "hm 😀"}}]}));
    let whole = format!(
        "\u{feff}: keep-alive\r\n\r\n{thought}: ping\n\n{}event: message\nid: 7\n{}\n\n{}{}{DONE}",
        piece("Grü").replace('\n', "\r\n"),
        piece("ße 😀"),
        finish("length"),
        // Twice is no other reply.
        finish("length"),
    );
    for size in [1, 3, 7, 4096] {
        let bytes = whole.as_bytes().to_vec();
        let server = RawServer::start(move |_, mut stream| {
            let bytes = bytes.clone();
            async move {
                read_request(&mut stream).await;
                stream.set_nodelay(true).unwrap();
                stream.write_all(HEAD.as_bytes()).await.unwrap();
                for part in bytes.chunks(size) {
                    let part = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
                    stream.write_all(&part).await.unwrap();
                }
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
        })
        .await;
        let response = read_at(&server).await.1.unwrap();
        assert_eq!((response.text.as_str(), response.reasoning.as_str()), ("Grüße 😀", "hm 😀"), "{size}");
        assert_eq!(response.finish_reason, FinishReason::Length);
    }
}

#[tokio::test]
async fn a_reply_is_over_when_it_is_finished() {
    // No end of the stream, but a finished reply: what fails after it does not matter.
    for (parts, text) in [
        (vec![piece("hi"), finish("stop")], "hi"),
        (vec![piece("hi"), finish("stop"), "data: {\"usa".to_owned()], "hi"),
        (vec![piece("hi"), DONE.to_owned()], "hi"),
        (vec![finish("stop"), DONE.to_owned(), piece("too late")], ""),
    ] {
        let response = read_at(&streaming(parts.clone()).await).await.1.unwrap();
        assert_eq!(response.text, text, "{parts:?}");
    }
    let cut = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        write(&mut stream, &(piece("hi") + &finish("stop"))).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        reset(&stream);
    })
    .await;
    assert_eq!(read_at(&cut).await.1.unwrap().text, "hi");

    let start = Instant::now();
    let silent = stalling(vec![piece("hi"), finish("stop")]).await;
    assert_eq!(read_at(&silent).await.1.unwrap().text, "hi");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stream_that_ends_before_its_reply_is_cut() {
    for parts in [vec![piece("hi")], vec![piece("hi"), "data: [DO".to_owned()]] {
        let (texts, end) = read_at(&streaming(parts).await).await;
        let error = end.unwrap_err();
        assert_eq!(texts, ["hi"]);
        assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::MalformedReply), "{error:?}");
        assert!(error.is_temporary() && format!("{error:?}").contains("req_9"), "{error:?}");
    }
    let reset_midway = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        write(&mut stream, &piece("hi")).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        reset(&stream);
    })
    .await;
    let error = read_at(&reset_midway).await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("was cut after"), "{error}");
    let empty = read_at(&streaming(vec![": ping\n\n".to_owned()]).await).await.1.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::MalformedReply);
    assert!(empty.to_string().contains("without events"), "{empty}");
}

#[tokio::test]
async fn errors_in_a_stream_have_their_kind() {
    for (error, kind) in [
        (json!({"code": 429, "message": "slow"}), ErrorKind::RateLimited { retry_after: None }),
        (json!({"code": "context_length_exceeded", "message": "long"}), ErrorKind::ContextTooLong),
        (json!({"message": "overloaded"}), ErrorKind::Server),
    ] {
        let parts = vec![piece("so far"), event(&json!({ "error": error }))];
        let (texts, end) = read_at(&streaming(parts).await).await;
        assert_eq!(texts, ["so far"]);
        let error = end.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(format!("{error:?}").contains("in: OpenAi::stream"), "{error:?}");
    }
    let refusal = event(&json!({"choices": [{"delta": {"refusal": "I'd rather not."}}]}));
    let refused = read_at(&streaming(vec![refusal, finish("stop"), DONE.to_owned()]).await).await.1;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ContentRefused);
    let garbage = read_at(&streaming(vec!["data: <html>\n\n".to_owned()]).await).await.1;
    assert_eq!(garbage.unwrap_err().kind(), ErrorKind::MalformedReply);
}

#[tokio::test]
async fn answers_that_are_no_stream_are_read_all_the_same() {
    let server = serve(ResponseTemplate::new(200).set_body_json(completion("at once"))).await;
    let (texts, end) = read(&model(&server.uri())).await;
    assert_eq!((texts, end.unwrap().usage.input_tokens), (vec!["at once".to_owned()], Some(9)));
    for (status, body, kind) in [
        (200, json!({"error": {"code": 503, "message": "overloaded"}}), ErrorKind::Server),
        (401, json!({"error": {"message": "who are you"}}), ErrorKind::Auth),
        (200, json!("<html>"), ErrorKind::MalformedReply),
    ] {
        let server = serve(ResponseTemplate::new(status).set_body_json(body)).await;
        assert_eq!(read(&model(&server.uri())).await.1.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn the_wish_for_usage_is_left_out_where_it_is_refused() {
    let refusal = json!({"error": {"message": "Unrecognized request argument supplied: stream_options"}});
    let server = serve(move |request: &Received| {
        match String::from_utf8_lossy(&request.body).contains("stream_options") {
            true => ResponseTemplate::new(400).set_body_json(&refusal),
            false => ResponseTemplate::new(200)
                .set_body_raw(piece("taken") + &finish("stop") + DONE, "text/event-stream"),
        }
    })
    .await;
    let model = model(&server.uri());
    for _ in 0..2 {
        assert_eq!(read(&model).await.1.unwrap().text, "taken");
    }
    assert_eq!(requests(&server).await, 3, "refused once, then remembered");
}

#[tokio::test]
async fn a_stream_above_the_cap_is_a_reply_that_was_cut() {
    let endless = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        let text = piece(&"x".repeat(1000));
        while write(&mut stream, &text).await.is_ok() {}
    })
    .await;
    let response = read(&model(&endless.url).max_body_bytes(100_000)).await.1.unwrap();
    assert_eq!(response.finish_reason, FinishReason::Length);
    assert!((50_000..100_000).contains(&response.text.len()), "{}", response.text.len());

    // Without a line break there is no event, however much comes.
    let line = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        while write(&mut stream, "data: xxxxxxxxxxxxxxxxxxxxxxxxxxx").await.is_ok() {}
    })
    .await;
    let error = read(&model(&line.url).max_body_bytes(100_000)).await.1.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::MalformedReply, false));
    assert!(error.message().contains("larger than 100000 bytes"), "{error}");

    let bomb = ResponseTemplate::new(200).insert_header("content-encoding", "gzip");
    let bomb = bomb.set_body_raw(include_bytes!("fixtures/spaces.gz").to_vec(), "text/event-stream");
    let error = read(&model(&serve(bomb).await.uri()).max_body_bytes(64 << 10)).await.1.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::MalformedReply, false));
}

#[tokio::test]
async fn the_time_limits_hold_for_the_whole_stream() {
    let stalled = stalling(vec![piece("hi")]).await;
    let error = read(&model(&stalled.url).idle_timeout(Duration::from_millis(200))).await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(error.to_string().contains("(idle timeout)"), "{error}");

    // Comments keep the connection alive, and not the call.
    let dripping = RawServer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        while write(&mut stream, ": ping\n\n").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (model, request) = (model(&dripping.url), Request::prompt("x").timeout(Duration::from_millis(400)));
    let start = Instant::now();
    let error = collect(model.stream(&request)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
    assert!(error.to_string().contains("(total timeout)"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stream_is_tried_again_until_its_first_piece() {
    let server = RawServer::start(|number, mut stream| async move {
        read_request(&mut stream).await;
        if number == 0 {
            return reset(&stream);
        }
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        write(&mut stream, &(piece("recovered") + &finish("stop") + DONE)).await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let (model, request) = (model(&server.url).with_retry(policy()), Request::prompt("x"));
    assert_eq!(collect(model.stream(&request)).await.unwrap().text, "recovered");
    assert_eq!(server.connections(), 2);
}

/// The answer of the Responses API, whole or as a stream.
fn responses_answer(request: &Received) -> ResponseTemplate {
    let body: Value = request.body_json().unwrap();
    let whole = json!({
        "model": "gpt-5-pro-2026", "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2},
    });
    let parts = [
        json!({"type": "response.output_text.delta", "delta": "Hel"}),
        json!({"type": "response.output_text.delta", "delta": "lo"}),
        json!({"type": "response.completed", "response": whole}),
    ];
    match (request.url.path(), body["stream"] == true) {
        ("/v1/responses", true) => {
            let events: String = parts.iter().map(event).collect();
            ResponseTemplate::new(200).set_body_raw(events, "text/event-stream")
        }
        ("/v1/responses", false) => ResponseTemplate::new(200).set_body_json(whole),
        _ => ResponseTemplate::new(404).set_body_json(json!({"error": {
            "message": "This model is only supported in v1/responses and not in v1/chat/completions.",
            "type": "invalid_request_error", "param": "model", "code": null,
        }})),
    }
}

#[tokio::test]
async fn a_model_of_the_responses_api_alone_is_asked_there() {
    let server = serve(responses_answer).await;
    let learning = model(&server.uri());
    for _ in 0..2 {
        let response = learning.complete(&Request::prompt("x")).await.unwrap();
        assert_eq!((response.text.as_str(), response.usage.output_tokens), ("Hello", Some(2)));
        let (texts, end) = read(&learning).await;
        assert_eq!((texts, end.unwrap().usage.input_tokens), (vec!["Hel".into(), "lo".into()], Some(3)));
    }
    assert_eq!(requests(&server).await, 5, "refused once, then remembered");
    let told = model(&server.uri()).api(Api::Responses);
    assert_eq!(told.complete(&Request::prompt("x")).await.unwrap().text, "Hello");
    assert_eq!(requests(&server).await, 6);
}

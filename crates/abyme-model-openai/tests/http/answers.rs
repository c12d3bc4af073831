//! What is sent, byte for byte, and what comes of answers that have an HTTP form.

use abyme_core::{ErrorKind, FinishReason, LanguageModel, LanguageModelExt, Message, Request};
use serde_json::json;
use wiremock::{Request as Received, ResponseTemplate};

use crate::{ask, completion, model, policy, requests, serve};

fn ok(json: serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json)
}

#[tokio::test]
async fn a_request_as_it_goes_out() {
    let server = serve(ok(completion("hi"))).await;
    let model = model(&server.uri())
        .api_key("sk-test-key")
        .organization("org-1")
        .header("X-Title", "Abyme")
        .max_tokens(100)
        .extra("reasoning_effort", "low");
    let request = Request::new(vec![
        Message::system("Be \"brief\"."),
        Message::user("Grüße\n"),
        Message::assistant("ok"),
    ]);
    model.complete(&request.temperature(0.2)).await.unwrap();

    let received = &server.received_requests().await.unwrap()[0];
    assert_eq!((received.method.as_str(), received.url.path()), ("POST", "/v1/chat/completions"));
    assert_eq!(
        String::from_utf8_lossy(&received.body),
        concat!(
            r#"{"model":"test-model","messages":[{"role":"system","content":"Be \"brief\"."},"#,
            r#"{"role":"user","content":"Grüße\n"},{"role":"assistant","content":"ok"}],"#,
            r#""max_tokens":100,"reasoning_effort":"low","temperature":0.2}"#
        )
    );
    let header = |name: &str| received.headers[name].to_str().unwrap();
    assert_eq!(header("authorization"), "Bearer sk-test-key");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("openai-organization"), "org-1");
    assert_eq!(header("x-title"), "Abyme");
    assert!(header("user-agent").starts_with("abyme/"));
    assert!(header("accept-encoding").contains("gzip"));
}

#[tokio::test]
async fn an_answer_with_all_its_parts() {
    let server = serve(ok(completion("hi"))).await;
    let model = model(&server.uri());
    let response = model.complete(&Request::prompt("x").model("openai/other".to_owned())).await.unwrap();
    assert_eq!((response.text.as_str(), response.finish_reason), ("hi", FinishReason::Stop));
    assert_eq!(response.model.as_deref(), Some("test-model-2026"));
    let usage = response.usage;
    assert_eq!((usage.calls, usage.input_tokens, usage.output_tokens), (1, Some(9), Some(2)));
    assert_eq!((usage.cached_tokens, usage.reasoning_tokens, usage.cost), (Some(4), Some(1), None));
    assert_eq!(model.name(), "openai/test-model");
    let received = &server.received_requests().await.unwrap()[0];
    assert_eq!(received.body_json::<serde_json::Value>().unwrap()["model"], "other");
    assert!(!received.headers.contains_key("authorization"), "no key, no header");
}

#[tokio::test]
async fn compressed_answers() {
    let gzip = |bytes: &[u8]| {
        let template = ResponseTemplate::new(200).insert_header("content-encoding", "gzip");
        template.set_body_raw(bytes.to_vec(), "application/json")
    };
    let server = serve(gzip(include_bytes!("fixtures/completion.json.gz"))).await;
    assert_eq!(ask(&server.uri()).await.unwrap().text, "unpacked");

    let bomb = serve(gzip(include_bytes!("fixtures/spaces.gz"))).await;
    let model = model(&bomb.uri()).max_body_bytes(64 << 10);
    let error = model.with_retry(policy()).complete(&Request::prompt("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedReply);
    assert!(error.message().contains("is larger than 65536 bytes (`max_body_bytes`)"), "{error}");
    assert_eq!(requests(&bomb).await, 1, "a second try would be no smaller");

    let garbage = serve(gzip(b"this is not gzip")).await;
    let error = ask(&garbage.uri()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedReply);
    assert!(error.to_string().contains("decompressed"), "{error}");
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let server = serve(ok(completion(&"x".repeat(200_000)))).await;
    let error =
        model(&server.uri()).max_body_bytes(100_000).complete(&Request::prompt("x")).await.unwrap_err();
    // Half of a JSON is no text, and the next one would be as large and paid for too.
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::MalformedReply, false));
    assert_eq!(ask(&server.uri()).await.unwrap().text.len(), 200_000);
}

#[tokio::test]
async fn what_is_not_a_completion_gets_one_more_chance() {
    for (body, content_type, expected) in [
        ("{\"choices\": [", "application/json", "application/json that is not JSON"),
        ("<html>busy</html>", "text/html", "<html>busy</html>"),
        ("data: {}\n\ndata: [DONE]", "text/event-stream", "no event of its stream"),
        ("data: [DONE]", "application/json", "no event of its stream"),
        ("{\"choices\": []}", "application/json", "`choices` are empty"),
        ("{\"choices\": [{\"message\": {\"content\": 5}}]}", "application/json", "neither a text"),
        ("\u{feff}", "text/plain", "nothing"),
    ] {
        let server = serve(ResponseTemplate::new(200).set_body_raw(body, content_type)).await;
        let error = ask(&server.uri()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MalformedReply, "{body}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(format!("{error:?}").contains("tries: 2"), "{error:?}");
        assert_eq!(requests(&server).await, 2, "{body}");
    }
}

#[tokio::test]
async fn refusals_are_final() {
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "I'd rather not."}}]});
    let server = serve(ok(refusal)).await;
    let error = ask(&server.uri()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentRefused);
    assert!(error.to_string().contains("I'd rather not."), "{error}");
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn redirects_to_another_host_are_not_followed() {
    let elsewhere = serve(ok(completion("stolen"))).await;
    for status in [301, 302, 307, 308] {
        let location = format!("{}/v1/chat/completions?x=1", elsewhere.uri());
        let server = serve(ResponseTemplate::new(status).insert_header("location", location)).await;
        let error = model(&server.uri())
            .api_key("sk-canary")
            .with_retry(policy())
            .complete(&Request::prompt("x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest);
        assert!(error.to_string().contains(&elsewhere.uri()), "{error}");
        assert_eq!(requests(&server).await, 1);
    }
    assert_eq!(requests(&elsewhere).await, 0);
}

#[tokio::test]
async fn a_redirect_on_the_same_origin_repeats_the_request() {
    let server = serve(|request: &Received| match request.url.path() {
        "/v1/chat/completions" => ResponseTemplate::new(307).insert_header("location", "/v2/"),
        _ => ok(completion(&String::from_utf8_lossy(&request.body))),
    })
    .await;
    let text = model(&server.uri())
        .api_key("sk-canary")
        .with_retry(policy())
        .complete(&Request::prompt("again"))
        .await
        .unwrap()
        .text;
    assert!(text.contains("again"), "{text}");
    let received = server.received_requests().await.unwrap();
    assert_eq!(received[1].headers["authorization"], "Bearer sk-canary");
}

#[tokio::test]
async fn fifty_at_once_get_their_own_answers() {
    let server = serve(|request: &Received| {
        let body: serde_json::Value = request.body_json().unwrap();
        ok(completion(body["messages"][0]["content"].as_str().unwrap()))
    })
    .await;
    let model = model(&server.uri());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let model = model.clone();
        tasks.spawn(async move {
            let text = model.complete(&Request::prompt(format!("{number}"))).await.unwrap().text;
            assert_eq!(text, format!("{number}"));
        });
    }
    assert_eq!(tasks.join_all().await.len(), 50);
}

/// A server that answers `refusal` to requests that hold `refused`, and a completion to all others.
async fn picky(refused: &'static str, status: u16, refusal: serde_json::Value) -> wiremock::MockServer {
    serve(move |request: &Received| match String::from_utf8_lossy(&request.body).contains(refused) {
        true => ResponseTemplate::new(status).set_body_json(&refusal),
        false => ok(completion("taken")),
    })
    .await
}

#[tokio::test]
async fn what_a_server_refuses_is_left_out_at_once_and_from_then_on() {
    let system =
        json!({"error": {"code": 500, "message": "System role not supported", "type": "server_error"}});
    for (refused, status, refusal) in [
        (
            "\"max_tokens\"",
            400,
            json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this \
                model. Use 'max_completion_tokens' instead.", "param": "max_tokens"}}),
        ),
        (
            "temperature",
            400,
            json!({"error": {"message": "Unsupported value: 'temperature' does not support 0.5 with this \
                model. Only the default (1) value is supported."}}),
        ),
        ("\"system\"", 500, system),
    ] {
        let server = picky(refused, status, refusal).await;
        let model = model(&server.uri()).max_tokens(7).temperature(0.5);
        let request = Request::new(vec![Message::system("rules"), Message::user("task")]);
        for _ in 0..2 {
            assert_eq!(model.complete(&request).await.unwrap().text, "taken", "{refused}");
        }
        assert_eq!(requests(&server).await, 3, "refused once, then remembered: {refused}");
        let last = server.received_requests().await.unwrap()[2].body_json::<serde_json::Value>().unwrap();
        let all = last.to_string();
        assert!(all.contains("rules") && all.contains("task"), "{all}");
        assert_eq!(last["temperature"].is_null(), refused == "temperature");
        let tokens = if refused.contains("max") { "max_completion_tokens" } else { "max_tokens" };
        assert_eq!(last[tokens], 7, "{all}");
    }
}

#[tokio::test]
async fn a_refusal_that_stays_is_told() {
    let refusal = json!({"error": {"message": "temperature is not supported, nor is anything else"}});
    let server = serve(ResponseTemplate::new(400).set_body_json(refusal)).await;
    let model = model(&server.uri()).temperature(0.5);
    for calls in [2, 4] {
        let error = model.complete(&Request::prompt("x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest);
        assert_eq!(requests(&server).await, calls, "nothing is remembered that did not help");
    }
}

#[tokio::test]
async fn a_stream_that_nobody_asked_for_is_read() {
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    for content_type in ["text/event-stream; charset=utf-8", "application/json"] {
        let server = serve(ResponseTemplate::new(200).set_body_raw(events, content_type)).await;
        let response = model(&server.uri()).complete(&Request::prompt("x")).await.unwrap();
        assert_eq!((response.text.as_str(), response.usage.input_tokens), ("Hello", Some(3)));
    }
}

#[tokio::test]
async fn half_of_a_surrogate_pair_does_not_cost_the_reply() {
    let body = r#"{"choices":[{"message":{"content":"ab\ud83d"}}]}"#;
    let server = serve(ResponseTemplate::new(200).set_body_raw(body, "application/json")).await;
    assert_eq!(ask(&server.uri()).await.unwrap().text, "ab?");
}

//! What is answered: one object, a stream, models, health; and what is refused, and how.

use std::time::Duration;

use abyme_serve::{ServeConfig, Server};
use serde_json::{Value, json};

use crate::support::{Reply, TestServer, WordModel, asked, get, key, post, post_text, rlm};

#[tokio::test]
async fn a_run_answers_in_the_form_of_a_completion() {
    let directory = tempfile::tempdir().unwrap();
    let traces = directory.path().join("runs");
    let server = TestServer::start(ServeConfig::default().trace_dir(&traces)).await;
    let reply = server.ask("echo_hello").await;
    let object = reply.json();
    let run = object["abyme"]["run"].as_str().unwrap().to_owned();
    let created = object["created"].as_u64().unwrap();
    let expected = json!({
        "id": format!("chatcmpl-{run}"), "object": "chat.completion", "created": created, "model": "abyme",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": "echo_hello", "refusal": null},
        }],
        "usage": {
            "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
            "cost": 0.25,
        },
        "abyme": {"run": run, "status": "submitted", "turns": 1, "model_calls": 1},
    });
    assert_eq!((reply.status, &object), (200, &expected));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-request-id"), Some(run.as_str()));

    // The run is recorded under its id, and the key is its label.
    let record = abyme_core::Trajectory::load(traces.join(format!("{run}.jsonl"))).unwrap();
    assert!(record.to_jsonl().contains(r#""label":"a""#));

    let mut body = asked("echo_one_two_three");
    body["stop"] = json!(["_three", "_two"]);
    assert_eq!(server.send(&post("a", &body)).await.content(), "echo_one");
}

#[tokio::test]
async fn a_stream_adds_up_to_the_answer_and_ends_with_the_usage() {
    let server = TestServer::start(ServeConfig::default()).await;
    let mut body = asked("echo_many_3000");
    let whole = server.send(&post("a", &body)).await.content();
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let reply = server.send(&post("a", &body)).await;
    let mut events = reply.events();
    assert_eq!(events.pop(), Some("[DONE]"));
    let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let id = &events[0]["id"];
    assert!(events.iter().all(|event| event["id"] == *id && event["object"] == "chat.completion.chunk"));

    let delta = |event: &Value, name: &str| {
        event["choices"][0]["delta"][name].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(events.iter().map(|event| delta(event, "content")).collect::<String>(), whole);
    let thoughts: String = events.iter().map(|event| delta(event, "reasoning_content")).collect();
    assert!(thoughts.starts_with("Let me see."), "{thoughts}");
    assert!(events.iter().all(|event| event.to_string().len() < 16 << 10), "short lines");

    let [.., end, usage] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (&end["choices"][0]["finish_reason"], &end["choices"][0]["delta"]),
        (&json!("stop"), &json!({}))
    );
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(120)));
    let finished = events.iter().filter(|event| !event["choices"][0]["finish_reason"].is_null()).count();
    assert_eq!(finished, 1);

    // Without these wishes there are none.
    let quiet = TestServer::start(ServeConfig::default().reasoning(false)).await;
    body["stream_options"] = Value::Null;
    let reply = quiet.send(&post("a", &body)).await;
    assert!(!reply.body.contains("reasoning_content") && !reply.body.contains("\"usage\""), "{reply:?}");
}

#[tokio::test]
async fn a_stream_shows_that_it_is_alive() {
    let config = ServeConfig::default().keep_alive_interval(Duration::from_millis(30));
    let server = TestServer::start(config).await;
    let mut body = asked("please_wait echo_late");
    body["stream"] = true.into();
    let mut wire = crate::support::Wire::open(server.address).await;
    wire.write(post("a", &body).as_bytes()).await;
    let until = wire.until(": still at work").await;
    assert!(until.starts_with("HTTP/1.1 200 ") && until.contains("\"role\":\"assistant\""), "{until}");
    server.release(1);
    let rest = wire.until("[DONE]").await;
    assert!(rest.contains("\"content\":\"echo_late\""), "{rest}");
}

#[tokio::test]
async fn models_and_health_are_told() {
    let (model, ended) = (WordModel::default(), std::sync::Arc::default());
    let served = rlm(model.clone(), std::sync::Arc::clone(&ended));
    let server = Server::new("abyme", served.clone()).model("team/large", served).key(key("a"));
    let server = TestServer::serve(server, model, ended).await;
    let models = server.send(&get("a", "/v1/models")).await.json();
    let ids: Vec<_> =
        models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((&models["object"], ids), (&json!("list"), vec!["abyme", "team/large"]));
    let large = server.send(&get("a", "/v1/models/team/large")).await.json();
    assert_eq!((&large["id"], &large["object"]), (&json!("team/large"), &json!("model")));
    server.send(&get("a", "/v1/models/other")).await.refused(404, "model_not_found");
    let mut body = asked("echo_it");
    body["model"] = "team/large".into();
    assert_eq!(server.send(&post("a", &body)).await.content(), "echo_it");

    let health = server.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let server = TestServer::start(ServeConfig::default().max_body_bytes(10_000)).await;
    let good = post("a", &asked("echo_it"));
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let line = |name: &str| good.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let token = line("Authorization");
    let kind = line("Content-Type");
    for (request, status, code) in [
        (with(&token, "Authorization: Bearer wrong-token-0123456"), 401, "invalid_api_key"),
        (with(&token, &token[..token.len() - 1]), 401, "invalid_api_key"),
        (with(&token, &format!("{token}x")), 401, "invalid_api_key"),
        (with(&token, "X-Api-Key: nothing"), 401, "invalid_api_key"),
        (get("b", "/v1/models"), 401, "invalid_api_key"),
        (get("a", "/metrics"), 403, "no_permission"),
        (get("a", "/chat/completions"), 404, "unknown_url"),
        (get("a", "/v1/chat/completions"), 405, "wrong_method"),
        (with(&kind, "Content-Type: text/plain"), 415, "wrong_content_type"),
        (with(&kind, &format!("{kind}\r\nContent-Encoding: gzip")), 415, "wrong_content_encoding"),
        (post_text("a", "{\"model\":"), 400, "invalid_request"),
        (post("a", &json!({"model": "abyme", "messages": []})), 400, "invalid_request"),
        (
            post("a", &json!({"model": "gpt", "messages": [{"role": "user", "content": "?"}]})),
            404,
            "model_not_found",
        ),
        (post("a", &asked(&"x".repeat(10_000))), 413, "request_too_large"),
    ] {
        let reply = server.send(&request).await;
        reply.refused(status, code);
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{reply:?}");
        assert!(!reply.body.contains("token-of-the-tests"), "{reply:?}");
    }
    // In pieces, no length is known before.
    let chunked = with("Content-Length: ", "Transfer-Encoding: chunked\r\nX-Was: ");
    let (head, _) = chunked.split_once("\r\n\r\n").unwrap();
    let pieces = format!("400\r\n{}\r\n", " ".repeat(1024)).repeat(12);
    server.send(&format!("{head}\r\n\r\n{pieces}0\r\n\r\n")).await.refused(413, "request_too_large");
    assert_eq!(server.send(&good).await.content(), "echo_it");
}

#[tokio::test]
async fn a_failed_run_is_an_error_that_says_whether_to_try_again() {
    let server = TestServer::start(ServeConfig::default()).await;
    for (word, status, code, retry) in [
        ("fail_auth", 502, "model_failed", None),
        ("fail_limited", 429, "model_rate_limited", Some("7")),
        ("fail_timeout", 504, "model_timeout", None),
        ("fail_refused", 400, "content_filter", None),
    ] {
        let reply = server.ask(word).await;
        reply.refused(status, code);
        assert_eq!(reply.header("retry-after"), retry, "{reply:?}");
        assert_eq!(reply.header("x-should-retry"), Some(if retry.is_some() { "true" } else { "false" }));
        assert!(reply.body.contains(word), "{reply:?}");

        // A stream has begun already.
        let mut body = asked(word);
        body["stream"] = true.into();
        let reply: Reply = server.send(&post("a", &body)).await;
        let last: Value = serde_json::from_str(reply.events().last().unwrap()).unwrap();
        assert_eq!((reply.status, &last["error"]["code"]), (200, &json!(code)));
        assert!(!reply.body.contains("[DONE]"));
    }
}

//! Which failures are tried again, how often, and after which wait.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use abyme_core::{ErrorKind, LanguageModel, LanguageModelExt, Request, RetryPolicy};
use abyme_model_openai::OpenAi;
use serde_json::json;
use wiremock::{Request as Received, Respond, ResponseTemplate};

use crate::{ask, completion, model, policy, requests, serve};

/// Answers with `first`, then with a completion.
fn once(first: ResponseTemplate) -> impl Respond {
    let count = AtomicUsize::new(0);
    move |_: &Received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => first.clone(),
        _ => ResponseTemplate::new(200).set_body_json(completion("at last")),
    }
}

fn error(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({"error": {"message": message}}))
}

#[tokio::test]
async fn too_many_requests_are_tried_again_when_the_provider_says() {
    let server = serve(once(error(429, "slow down").insert_header("retry-after-ms", "200"))).await;
    let start = Instant::now();
    assert_eq!(ask(&server.uri()).await.unwrap().text, "at last");
    assert!(start.elapsed() >= Duration::from_millis(200));

    let server = serve(once(error(429, "slow down").insert_header("retry-after", "1"))).await;
    let start = Instant::now();
    assert_eq!(ask(&server.uri()).await.unwrap().text, "at last");
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_of_a_day_is_left_to_the_caller() {
    let server = serve(error(429, "come back tomorrow").insert_header("retry-after", "86400")).await;
    let error = ask(&server.uri()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(86_400)));
    assert!(error.to_string().contains("come back tomorrow"));
    assert!(!error.is_temporary(), "an outer layer does not try again");
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_wait_that_makes_no_sense_is_ignored() {
    for nonsense in ["-10", "later", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let server = serve(once(error(429, "slow").insert_header("retry-after", nonsense))).await;
        assert_eq!(ask(&server.uri()).await.unwrap().text, "at last", "{nonsense}");
    }
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again() {
    for status in [408, 409, 500, 502, 503, 504, 529] {
        let server = serve(once(error(status, "oops"))).await;
        assert_eq!(ask(&server.uri()).await.unwrap().text, "at last", "{status}");
        assert_eq!(requests(&server).await, 2);
    }
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_given_up_with_a_full_report() {
    let server = serve(error(500, "no capacity").insert_header("x-request-id", "req_42")).await;
    let error = ask(&server.uri()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Server, false));
    assert_eq!(requests(&server).await, 4);
    let host = server.address().to_string();
    assert_eq!(error.to_string(), format!("{host} failed (500): no capacity"));
    let report = format!("{error:?}");
    for fact in
        ["model: test-model", &format!("host: {host}"), "status: 500", "tries: 4", "elapsed: ", "req_42"]
    {
        assert!(report.contains(fact), "{fact} in {report}");
    }
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    for (status, body, kind) in [
        (400, json!({"message": "unknown field"}), ErrorKind::BadRequest),
        (404, json!({"message": "no such model"}), ErrorKind::BadRequest),
        (422, json!({"message": "n is too small"}), ErrorKind::BadRequest),
        (400, json!({"message": "too long", "code": "context_length_exceeded"}), ErrorKind::ContextTooLong),
        (401, json!({"message": "who are you"}), ErrorKind::Auth),
        (403, json!({"message": "not you"}), ErrorKind::Auth),
        (429, json!({"message": "no money", "type": "insufficient_quota"}), ErrorKind::QuotaExceeded),
        (400, json!({"message": "filtered", "code": "content_filter"}), ErrorKind::ContentRefused),
    ] {
        let server = serve(ResponseTemplate::new(status).set_body_json(json!({ "error": body }))).await;
        let error = ask(&server.uri()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{body}");
        assert!(error.to_string().contains(body["message"].as_str().unwrap()), "{error}");
        assert!(format!("{error:?}").contains("tries: 1"), "{error:?}");
        assert_eq!(requests(&server).await, 1);
    }
}

#[tokio::test]
async fn an_error_in_an_answer_of_200_is_an_error() {
    let busy = json!({"error": {"code": 503, "message": "overloaded"}});
    let server = serve(once(ResponseTemplate::new(200).set_body_json(busy))).await;
    assert_eq!(ask(&server.uri()).await.unwrap().text, "at last");
}

#[tokio::test]
async fn dropping_the_call_ends_a_wait() {
    let server = serve(error(429, "slow").insert_header("retry-after", "30")).await;
    let model = model(&server.uri()).with_retry(policy());
    let task = tokio::spawn(async move { model.complete(&Request::prompt("x")).await });
    while requests(&server).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    task.abort();
    let ended = tokio::time::timeout(Duration::from_secs(5), task).await.expect("ends at once");
    assert!(ended.unwrap_err().is_cancelled());
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_policy_without_retries() {
    let server = serve(error(500, "oops")).await;
    let model = model(&server.uri()).with_retry(RetryPolicy::none());
    assert_eq!(model.complete(&Request::prompt("x")).await.unwrap_err().kind(), ErrorKind::Server);
    assert_eq!(requests(&server).await, 1);
}

#[test]
fn what_a_provider_counts_together_has_one_limiter() {
    let client = |name: &str, url: &str, key: &str| OpenAi::new(name).base_url(url).api_key(key);
    let (url, key) = ("http://127.0.0.1:1/v1", "sk-canary-0123456789");
    let one = client("a", url, key);
    let limiter = one.rate_limiter().unwrap();
    assert_eq!(Some(limiter.clone()), client("a", url, key).temperature(0.5).rate_limiter());
    for other in [client("b", url, key), client("a", "http://127.0.0.1:2/v1", key), client("a", url, "sk-2")]
    {
        assert_ne!(Some(limiter.clone()), other.rate_limiter(), "{other:?}");
    }
    assert!(!format!("{limiter:?}").contains("canary"));
    assert_eq!(one.with_rate_limit(&limiter).rate_limiter(), None, "it waits by itself");
}

//! Failures as real providers write them.

use reqwest::{StatusCode, header::HeaderValue};
use serde_json::json;

use super::*;
use crate::secret::Secret;

const KEY: &str = "sk-canary-0123456789";

fn exchange() -> Exchange {
    Exchange {
        host: "api.test".into(),
        origin: "https://api.test".into(),
        path: "/v1/chat/completions".into(),
        model: "m".into(),
        written: "openai/m".into(),
        has_key: false,
        mask: Mask::new([Secret::new(KEY)]),
        most: 100,
    }
}

fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
    let headers = headers.iter().map(|(name, value)| {
        (reqwest::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    });
    let head = Head { status: StatusCode::from_u16(status).unwrap(), headers: headers.collect() };
    Reply { head, body: body.as_bytes().to_vec(), is_cut: false }
}

/// A reader of answers such as `{"text": ..}`.
fn read(answer: &Value) -> Result<Response, Unusable> {
    if let Some(error) = ProviderError::find(answer) {
        return Err(Unusable::failed(error));
    }
    let text = answer["text"].as_str().ok_or_else(|| Unusable::malformed("it has no `text`"))?;
    Ok(Response::new(text).usage(answer["cost"].as_f64().into_iter().fold(Usage::call(), Usage::cost)))
}

fn error(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
    exchange().response(&reply(status, headers, body), read).unwrap_err()
}

fn told(status: u16, error_object: Value) -> Error {
    error(status, &[], &json!({ "error": error_object }).to_string())
}

#[test]
fn requests_that_are_too_long() {
    for (status, message) in [
        (
            400,
            "This model's maximum context length is 8192 tokens. However, your messages \
             resulted in 9000 tokens.",
        ),
        (400, "prompt is too long: 200001 tokens > 199999 maximum"),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        (400, "Please reduce the length of the messages or completion."),
        (400, "This model's maximum prompt length is 131072 but the request contains 600000 tokens."),
        (500, "the request exceeds the available context size. try increasing the context size"),
        (413, "Request too large for model `llama` on tokens per minute (TPM): Limit 6000, Requested 9000"),
        (429, "Request too large for gpt-5 on tokens per min (TPM): Limit 30000, Requested 90000."),
    ] {
        let error = told(status, json!({"message": message}));
        assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{message}");
        assert!(error.to_string().ends_with(message), "{error}");
    }
    assert_eq!(told(400, json!({"code": "context_length_exceeded"})).kind(), ErrorKind::ContextTooLong);
    let not =
        told(400, json!({"message": "max_tokens is too large: 100000. This model supports at most 16384"}));
    assert_eq!(not.kind(), ErrorKind::BadRequest);
}

#[test]
fn kinds_by_status_and_code() {
    let plain = |status| told(status, json!({"message": "no"})).kind();
    assert_eq!([400, 404, 405, 422].map(plain), [ErrorKind::BadRequest; 4]);
    assert_eq!([401, 403].map(plain), [ErrorKind::Auth; 2]);
    assert_eq!([408, 409, 500, 502, 503, 504, 529].map(plain), [ErrorKind::Server; 7]);
    assert_eq!(plain(402), ErrorKind::QuotaExceeded);
    assert_eq!(plain(429), ErrorKind::RateLimited { retry_after: None });
    let quota =
        told(429, json!({"message": "You exceeded your current quota", "code": "insufficient_quota"}));
    assert_eq!((quota.kind(), quota.is_temporary()), (ErrorKind::QuotaExceeded, false));
    assert_eq!(
        told(400, json!({"code": "content_filter", "message": "x"})).kind(),
        ErrorKind::ContentRefused
    );
    assert_eq!(told(403, json!({"message": "m requires moderation on X"})).kind(), ErrorKind::ContentRefused);
    assert_eq!(told(400, json!({"message": "API key not valid. Pass another."})).kind(), ErrorKind::Auth);
}

#[test]
fn errors_that_come_with_status_200() {
    assert_eq!(
        told(200, json!({"code": 429, "message": "x"})).kind(),
        ErrorKind::RateLimited { retry_after: None }
    );
    assert_eq!(
        told(200, json!({"message": "x", "type": "invalid_request_error"})).kind(),
        ErrorKind::BadRequest
    );
    assert_eq!(told(200, json!("overloaded")).kind(), ErrorKind::Server);
    let overloaded = told(200, json!({"type": "overloaded_error", "message": "Overloaded"}));
    assert_eq!(overloaded.kind(), ErrorKind::Server);
    assert_eq!(overloaded.to_string(), "api.test failed (529): Overloaded");
}

#[test]
fn an_answer_that_is_too_large_is_not_asked_for_again() {
    let exchange = Exchange { most: 8 << 20, ..exchange() };
    let cut = Reply { is_cut: true, ..reply(200, &[("x-request-id", "req_7")], "{") };
    let error = exchange.response(&cut, read).unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::MalformedReply, false));
    assert_eq!(
        error.to_string(),
        "the answer of api.test is larger than 8 MiB (`max_body_bytes`), and no text came until there"
    );
    assert!(format!("{error:?}").contains("req_7"));
}

#[test]
fn redirections_say_where_they_lead() {
    let to = |status, location| error(status, &[("location", location)], "").to_string();
    for location in ["/v1/x", "https://api.test/v1/x"] {
        let circle =
            format!("api.test redirects in a circle, at last to {location} (307): check the base URL");
        assert_eq!(to(307, location), circle);
    }
    let elsewhere = to(301, "/v2/x");
    assert!(
        elsewhere.starts_with("api.test redirects to https://api.test/v2/x (301): set that as"),
        "{elsewhere}"
    );
    let plain = to(308, "http://api.test/v1/x");
    assert!(plain.starts_with("api.test redirects to http://api.test/v1/x (308): set that as"), "{plain}");
    let other = to(308, "https://other.test/x?key=1");
    assert!(other.starts_with("api.test redirects to https://other.test/x (308): set that as"), "{other}");
}

#[test]
fn waits_that_providers_ask_for() {
    let seconds = |error: Error| error.retry_after().map(|wait| wait.as_secs_f64());
    assert_eq!(seconds(error(429, &[("retry-after", "2")], "{}")), Some(2.0));
    assert_eq!(seconds(error(503, &[("retry-after", "2")], "{}")), Some(2.0));
    assert_eq!(seconds(told(429, json!({"message": "Please try again in 6m0s."}))), Some(360.0));
    let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]);
    let gemini = json!([{"error": {"code": 429, "message": "quota", "details": details}}]);
    assert_eq!(seconds(error(429, &[], &gemini.to_string())), Some(34.0));
    let loading = told(503, json!({"message": "Loading model", "type": "unavailable_error", "code": 503}));
    assert_eq!((loading.kind(), loading.is_temporary()), (ErrorKind::Server, true));
}

#[test]
fn what_litellm_says() {
    let budget = json!({"message": "Budget has been exceeded! Current cost: 0.1, Max budget: 0.05",
        "type": "budget_exceeded", "param": null, "code": "400"});
    assert_eq!(told(400, budget.clone()).kind(), ErrorKind::QuotaExceeded);
    assert_eq!(told(429, budget).kind(), ErrorKind::QuotaExceeded);
    let no_database =
        told(400, json!({"message": "No connected db.", "type": "no_db_connection", "code": "400"}));
    assert_eq!(no_database.kind(), ErrorKind::Auth);
    assert!(no_database.to_string().contains("master key"), "{no_database}");
    let bare = told(500, json!({"message": "Internal server error", "type": "internal_server_error"}));
    assert!(bare.to_string().contains("no key was sent"), "{bare}");
}

#[test]
fn an_unknown_model_is_named_with_the_prefix_that_was_dropped() {
    for message in ["The model `m` does not exist", "Invalid model name passed in model=m"] {
        let error = told(404, json!({"message": message}));
        assert!(error.to_string().contains("`openai/m` was asked for as `m`"), "{error}");
        assert!(error.to_string().contains("write `openai/openai/m`"), "{error}");
    }
    let other = told(400, json!({"message": "n is unknown"})).to_string();
    assert!(!other.contains("asked for"), "{other}");
}

#[test]
fn what_the_head_of_an_answer_says_besides() {
    let headers = [
        ("x-litellm-response-cost", "2.5e-05"),
        ("x-request-id", "req_7"),
        ("x-ratelimit-remaining-requests", "9"),
    ];
    let response = |body: &str| exchange().response(&reply(200, &headers, body), read).unwrap();
    let told = response(r#"{"text": "x"}"#);
    assert_eq!((told.usage.cost, told.request_id.as_deref()), (Some(2.5e-5), Some("req_7")));
    assert_eq!(told.rate_limits.unwrap().requests.remaining, Some(9));
    assert_eq!(response(r#"{"text": "x", "cost": 0.5}"#).usage.cost, Some(0.5));
    let failed = error(429, &headers, "{}");
    assert_eq!(failed.rate_limits().unwrap().requests.remaining, Some(9));
}

#[test]
fn what_an_unusable_answer_used_is_kept() {
    let used = |_: &Value| Err(Unusable::refused("no").usage(Usage::tokens(5, 1)));
    let error =
        exchange().response(&reply(200, &[("x-litellm-response-cost", "1")], "{}"), used).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentRefused);
    assert_eq!(error.usage(), Some(&Usage::tokens(5, 1).cost(1.0)));
}

#[test]
fn the_report_has_what_is_needed_to_ask_the_provider() {
    let body =
        r#"{"error": {"message": "Incorrect API key provided: sk-canary-0123456789 (sk-can****6789)"}}"#;
    let error = error(401, &[("x-request-id", "req_7-sk-canary-0123456789")], body);
    assert_eq!(
        error.to_string(),
        "check the API key for api.test (401): Incorrect API key provided: *** (***"
    );
    let report = format!("{error:?}");
    assert!(report.contains("status: 401") && report.contains("request id: req_7-***"), "{report}");
    assert!(!report.contains("canary"), "{report}");
}

#[test]
fn what_a_provider_says_is_kept_to_one_bounded_line() {
    let long = error(502, &[("content-type", "text/html")], &format!("<html>\n{}", "x".repeat(10_000)));
    assert_eq!(long.kind(), ErrorKind::Server);
    assert!(long.to_string().len() < 600 && !long.to_string().contains('\n'), "{long}");
    let hint = error(404, &[], "404 page not found");
    assert!(format!("{hint:?}").contains("base URL"), "{hint:?}");
    let empty = error(503, &[], "");
    assert_eq!(empty.to_string(), "api.test failed (503)");
}

#[test]
fn answers_that_are_not_json() {
    let html = error(200, &[("content-type", "text/html")], "<html><body>Hello</body></html>");
    assert_eq!(html.kind(), ErrorKind::MalformedReply);
    assert_eq!(
        html.to_string(),
        "api.test answered with text/html that is not JSON: <html><body>Hello</body></html>"
    );
    assert!(error(200, &[], "").to_string().contains("no content type"));
    for wrong in ["{\"choices\": [", "\u{feff}{}", "nul"] {
        assert_eq!(error(200, &[], wrong).kind(), ErrorKind::MalformedReply, "{wrong}");
    }
}

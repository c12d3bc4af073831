//! Failures as real providers write them.

use reqwest::{StatusCode, header::HeaderValue};
use serde_json::json;

use super::*;
use crate::Secret;

fn error(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
    let mask = Mask::new([Secret::new("sk-canary-0123456789")]);
    let exchange = Exchange { host: "api.test", path: "/v1/chat/completions", model: "m", mask: &mask };
    let headers = headers.iter().map(|(name, value)| {
        (reqwest::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    });
    let status = StatusCode::from_u16(status).unwrap();
    let reply = Reply { status, headers: headers.collect(), body: body.as_bytes().to_vec() };
    exchange.response(&reply).unwrap_err()
}

fn told(status: u16, error_object: Value) -> Error {
    error(status, &[], &json!({ "error": error_object }).to_string())
}

fn waits(header: &'static str, value: &str) -> Option<Duration> {
    error(429, &[(header, value)], "{}").retry_after()
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
}

#[test]
fn waits_that_providers_ask_for() {
    assert_eq!(waits("retry-after", "2"), Some(Duration::from_secs(2)));
    assert_eq!(waits("retry-after", "0.5"), Some(Duration::from_millis(500)));
    assert_eq!(waits("retry-after-ms", "250"), Some(Duration::from_millis(250)));
    assert!(waits("retry-after", "99999999999999999999").unwrap() > Duration::from_secs(86_400));
    for garbage in ["-5", "soon", "", "NaN", "inf", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        assert_eq!(waits("retry-after", garbage), None, "{garbage}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("Thu, 01 Jan 1970 00:01:30 GMT"));
    assert_eq!(retry_after(&headers, SystemTime::UNIX_EPOCH), Some(Duration::from_secs(90)));
    let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]);
    let gemini = json!([{"error": {"code": 429, "message": "quota", "details": details}}]);
    assert_eq!(error(429, &[], &gemini.to_string()).retry_after(), Some(Duration::from_secs(34)));
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
    for wrong in
        ["{\"choices\": [", "\u{feff}{}", "{\"choices\":[{\"message\":{\"content\":\"\\ud800\"}}]}", "nul"]
    {
        assert_eq!(error(200, &[], wrong).kind(), ErrorKind::MalformedReply, "{wrong}");
    }
}

//! A key that must appear nowhere but in the header it is for.

use std::{
    io,
    sync::{Arc, Mutex},
};

use abyme_core::{LanguageModel, Request, model::collect};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::{completion, model, serve};

const KEY: &str = "sk-canary-4f1d9c0e77aa";
const PROMPT: &str = "the-prompt-is-private";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_key_is_in_no_error_and_no_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let echo = format!("Incorrect API key provided: {KEY} (sk-canar******77aa). Bearer {KEY}");
    let mut shown = String::new();
    for template in [
        ResponseTemplate::new(401).set_body_json(json!({"error": {"message": echo}})),
        ResponseTemplate::new(500).set_body_string(echo.clone()),
        ResponseTemplate::new(200).set_body_raw(echo.clone(), KEY),
        ResponseTemplate::new(200).set_body_json(json!({"error": echo})),
        ResponseTemplate::new(200).set_body_json(json!({"choices": [{"message": {"refusal": echo}}]})),
        ResponseTemplate::new(302).insert_header("location", format!("https://x.test/{KEY}?key={KEY}")),
        ResponseTemplate::new(200)
            .set_body_raw(format!("data: {}\n\n", json!({"error": {"message": echo}})), "text/event-stream"),
        ResponseTemplate::new(200).set_body_raw(format!("data: {echo}\n\n"), "text/event-stream"),
        ResponseTemplate::new(200).set_body_json(completion("fine")),
    ] {
        let server = serve(template.insert_header("x-request-id", format!("req-{KEY}"))).await;
        let model = model(&server.uri()).api_key(KEY).header("X-Extra", format!("{KEY}-extra"));
        shown += &format!("{model:?} {}", serde_json::to_string(&model).unwrap());
        match model.complete(&Request::prompt(PROMPT)).await {
            Ok(response) => assert_eq!(response.text, "fine"),
            Err(error) => shown += &format!("{error} {error:?} {error:#?}"),
        }
        let request = Request::prompt(PROMPT);
        match collect(model.stream(&request)).await {
            Ok(response) => assert_eq!(response.text, "fine"),
            Err(error) => shown += &format!("{error} {error:?} {error:#?}"),
        }
        shown += &format!("{:?}", model.available_models().await);
        let received = server.received_requests().await.unwrap();
        assert_eq!(received[0].headers["authorization"], format!("Bearer {KEY}"));
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("asking the model"), "the log is not empty: {logged}");
    for (what, text) in [("errors", &shown), ("logs", &logged)] {
        assert!(!text.contains("canar") && !text.contains("77aa"), "the key is in the {what}: {text}");
    }
    let ours = logged.lines().filter(|line| line.contains("abyme"));
    assert!(!ours.clone().any(|line| line.contains(PROMPT)));
    assert!(ours.count() > 0);
}

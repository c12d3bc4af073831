//! Faults of a model that no other test tries.

use std::{sync::Arc, time::Duration};

use abyme::{Error, ErrorKind, Event, LanguageModel, Request, Response, RetryPolicy, Rlm, Wasm, inputs};
use tokio::sync::Notify;

/// Never answers, and says when it was asked.
#[derive(Debug)]
struct Overloaded(Arc<Notify>);

#[async_trait::async_trait]
impl LanguageModel for Overloaded {
    fn name(&self) -> &str {
        "overloaded"
    }

    async fn complete(&self, _: &Request) -> abyme::Result<Response> {
        self.0.notify_one();
        let wait = Some(Duration::from_secs(600));
        Err(Error::new(ErrorKind::RateLimited { retry_after: wait }, "come back in ten minutes"))
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_between_two_tries_ends_then() {
    let asked = Arc::new(Notify::new());
    let rlm = Rlm::builder("q -> a").model(Overloaded(asked.clone())).interpreter(Wasm::new());
    let patient = RetryPolicy::default().max_total_backoff(Duration::from_secs(3_600));
    let run = rlm.retry(patient).build().unwrap().run(inputs! { q: "?" });
    let handle = run.cancel_handle();
    let run = tokio::spawn(run.into_future());
    asked.notified().await;
    // It waits ten minutes now, and the test fails long before.
    tokio::task::yield_now().await;
    handle.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), run).await.expect("it ends at once").unwrap();
    let error = ended.expect_err("it was cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    let record = error.trajectory().unwrap();
    assert!(matches!(record.events().last(), Some(Event::RunFailed { .. })));
    let failed = record.events().filter(|event| matches!(event, Event::ModelCallFailed { .. })).count();
    assert_eq!(failed, 1, "the try is in the record");
}

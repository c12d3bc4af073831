//! Dropping a run stops everything.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme_core::{LanguageModel, Request, Response, Result, Rlm, inputs};
use common::interpreter;

/// Never answers, and notes when its call is dropped.
#[derive(Debug, Default)]
struct Stuck {
    dropped: Arc<AtomicBool>,
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl LanguageModel for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        let _note = OnDrop(self.dropped.clone());
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_drops_its_model_call() {
    let dropped = Arc::new(AtomicBool::new(false));
    let model = Stuck { dropped: dropped.clone() };
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(1), rlm.run(inputs! { q: "?" })).await;
    assert!(ended.is_err());
    assert!(dropped.load(Ordering::SeqCst));
}

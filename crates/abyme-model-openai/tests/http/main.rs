//! The model against real servers on loopback: well-behaved ones and all others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers included")]

mod answers;
mod connections;
mod faults;
mod retries;
mod secrets;
mod server;
mod streams;

use std::time::Duration;

use abyme_core::{LanguageModel, LanguageModelExt, Request, Response, Result, RetryPolicy};
use abyme_model_openai::OpenAi;
use wiremock::{Mock, MockServer, Respond, matchers::any};

/// A model at the server at `url`.
fn model(url: &str) -> OpenAi {
    OpenAi::new("openai/test-model").base_url(format!("{url}/v1"))
}

/// A policy whose pauses are short.
fn policy() -> RetryPolicy {
    RetryPolicy::default().max_retries(3).initial_backoff(Duration::from_millis(2))
}

/// One call of the model at `url`, with retries.
async fn ask(url: &str) -> Result<Response> {
    model(url).with_retry(policy()).complete(&Request::prompt("hello")).await
}

/// A server that answers everything with `respond`.
async fn serve(respond: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(respond).mount(&server).await;
    server
}

/// How many requests the server had.
async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

/// A completion of this text.
fn completion(text: &str) -> serde_json::Value {
    serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "test-model-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 1}},
    })
}

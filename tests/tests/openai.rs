//! A whole run through the real model client, against a server on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use abyme::{ErrorKind, OpenAi, Rlm, Subprocess, inputs};
use serde_json::{Value as Json, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

/// Plans a cell that makes a sub-call; answers the sub-call; then submits what it saw.
struct Server;

impl Respond for Server {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Json = request.body_json().unwrap();
        let messages = body["messages"].as_array().unwrap();
        let last = messages.last().unwrap()["content"].as_str().unwrap();
        let text = match (body["model"].as_str().unwrap(), messages.len()) {
            ("small", _) => format!("{} characters", last.len()),
            (_, 2) => "```python\nreply = llm_query('x' * 1000)\nprint(reply)\n```".to_owned(),
            _ => {
                assert!(last.contains("1000 characters"), "{last}");
                "```python\nSUBMIT(reply)\n```".to_owned()
            }
        };
        ResponseTemplate::new(200).set_body_json(json!({
            "model": body["model"],
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }))
    }
}

#[tokio::test]
async fn a_run_over_http() {
    let server = MockServer::start().await;
    Mock::given(matchers::path("/v1/chat/completions")).respond_with(Server).expect(3).mount(&server).await;
    let model = |name: &str| OpenAi::new(name).base_url(format!("{}/v1", server.uri())).api_key("sk-canary");
    let rlm =
        Rlm::builder("question -> answer").model(model("openai/large")).sub_model(model("openai/small"));
    let rlm = rlm.interpreter(Subprocess::new()).build().unwrap();
    let answer = rlm.run(inputs! { question: "how long?" }).await.unwrap();
    assert_eq!(answer.get::<String>("answer").unwrap(), "1000 characters");
    assert_eq!((answer.usage().input_tokens, answer.usage().output_tokens), (Some(300), Some(30)));
    assert!(!answer.trajectory().to_jsonl().contains("sk-canary"));
}

#[tokio::test]
async fn a_wrong_key_is_one_clear_error() {
    let server = MockServer::start().await;
    let refusal =
        ResponseTemplate::new(401).set_body_json(json!({"error": {"message": "bad key sk-canary"}}));
    Mock::given(matchers::any()).respond_with(refusal).expect(1).mount(&server).await;
    let model = OpenAi::new("m").base_url(server.uri()).api_key("sk-canary");
    let rlm = Rlm::builder("q -> a").model(model);
    let error =
        rlm.interpreter(Subprocess::new()).build().unwrap().run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error} {error:?}").contains("sk-canary"), "{error:?}");
}

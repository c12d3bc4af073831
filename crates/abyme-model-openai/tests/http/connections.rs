//! Where requests go: accounts, Azure, proxies, certificates of one's own, and lists of models.

use std::{io::Write, net::TcpListener, sync::Arc};

use abyme_core::{ErrorKind, LanguageModel, Request};
use abyme_model_openai::OpenAi;
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::{completion, model, requests, serve};

fn answer() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(completion("hi"))
}

#[tokio::test]
async fn the_account_is_named_in_headers() {
    let server = serve(answer()).await;
    let model = model(&server.uri()).organization("org-1").project("proj-2").reasoning_effort("low");
    model.complete(&Request::prompt("x")).await.unwrap();
    let received = &server.received_requests().await.unwrap()[0];
    assert_eq!(received.headers["openai-organization"], "org-1");
    assert_eq!(received.headers["openai-project"], "proj-2");
    assert_eq!(received.body_json::<serde_json::Value>().unwrap()["reasoning_effort"], "low");
}

#[tokio::test]
async fn azure_has_its_own_url_and_header() {
    let server = serve(answer()).await;
    let model = OpenAi::new("azure/my-gpt").base_url(server.uri()).api_key("key-a").api_version("2025-01-01");
    model.complete(&Request::prompt("x").model("azure/other".to_owned())).await.unwrap();
    model.complete(&Request::prompt("x").max_tokens(5)).await.unwrap();
    let received = server.received_requests().await.unwrap();
    assert_eq!(received[0].url.path(), "/openai/deployments/other/chat/completions");
    assert_eq!(received[1].url.path(), "/openai/deployments/my-gpt/chat/completions");
    assert_eq!(received[1].url.query(), Some("api-version=2025-01-01"));
    assert_eq!(received[1].headers["api-key"], "key-a");
    assert!(!received[1].headers.contains_key("authorization"));
    assert_eq!(received[1].body_json::<serde_json::Value>().unwrap()["max_completion_tokens"], 5);
}

#[tokio::test]
async fn a_proxy_that_is_set_gets_the_request() {
    let proxy = serve(answer()).await;
    let model = OpenAi::new("openai/m").base_url("http://abyme.invalid/v1").proxy(proxy.uri());
    assert_eq!(model.complete(&Request::prompt("x")).await.unwrap().text, "hi");
    assert_eq!(requests(&proxy).await, 1);
}

#[tokio::test]
async fn the_models_that_a_server_has() {
    let list = json!({"object": "list", "data": [{"id": "b"}, {"id": "a", "object": "model"}, {"x": 1}]});
    let server = serve(ResponseTemplate::new(200).set_body_json(list)).await;
    let model = model(&server.uri()).api_key("sk-test");
    assert_eq!(model.available_models().await.unwrap(), ["b", "a"]);
    let received = &server.received_requests().await.unwrap()[0];
    assert_eq!((received.method.as_str(), received.url.path()), ("GET", "/v1/models"));
    assert_eq!(received.headers["authorization"], "Bearer sk-test");
    for (status, body, kind) in [
        (401, json!({"error": {"message": "no"}}), ErrorKind::Auth),
        (404, json!({"detail": "Not Found"}), ErrorKind::BadRequest),
        (200, json!({"hello": "world"}), ErrorKind::MalformedReply),
    ] {
        let server = serve(ResponseTemplate::new(status).set_body_json(body)).await;
        assert_eq!(crate::model(&server.uri()).available_models().await.unwrap_err().kind(), kind);
    }
}

/// A server with a certificate of its own authority, for one connection.
fn serve_tls() -> String {
    let chain = CertificateDer::from_pem_slice(include_bytes!("fixtures/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/server.key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/v1", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = Stream::new(&mut connection, &mut socket);
        let body = completion("over TLS").to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        // The client waits for the answer to a request that is not read.
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
    });
    url
}

#[tokio::test]
async fn certificates_of_ones_own_authority_count_when_they_are_given() {
    let ca = include_str!("fixtures/ca.pem");
    let model = |url: String| OpenAi::new("openai/m").base_url(url);
    let trusting = model(serve_tls()).certificate_authorities(ca);
    assert_eq!(trusting.complete(&Request::prompt("x")).await.unwrap().text, "over TLS");
    let error = model(serve_tls()).complete(&Request::prompt("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("(TLS)"), "{error:?}");
}

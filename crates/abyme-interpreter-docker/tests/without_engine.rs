//! What is said where there is no engine.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use abyme_core::{ErrorKind, InterpreterFactory, InterpreterFactoryExt};
use abyme_interpreter_docker::Docker;

async fn said(host: &str) -> String {
    let docker = Docker::new().host(host);
    let error = docker.session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        docker.engine().await.unwrap_err().kind(),
        ErrorKind::Unavailable,
        "it is tried again each time"
    );
    error.message().to_owned()
}

#[tokio::test]
async fn a_socket_that_is_not_there() {
    let said = said("unix:///nonexistent/docker.sock").await;
    assert!(said.contains("no Docker engine answers at unix:///nonexistent/docker.sock"), "{said}");
    assert!(said.contains("DOCKER_HOST") && said.contains("systemctl start docker"), "{said}");
}

#[tokio::test]
async fn a_socket_where_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let said = said(&format!("unix://{}", path.display())).await;
    assert!(said.contains("no Docker engine answers") && said.contains("nobody listens there"), "{said}");
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let said = said(&format!("tcp://127.0.0.1:{port}")).await;
    assert!(said.contains("nobody listens there") && said.contains("from the configuration"), "{said}");
}

#[tokio::test]
async fn something_else_that_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let said = said(&format!("tcp://127.0.0.1:{port}")).await;
    assert!(said.contains("was not reached"), "{said}");
}

#[tokio::test]
async fn an_address_that_is_none() {
    let said = said("docker.example.org:2375").await;
    assert!(said.contains("is no address of a Docker engine"), "{said}");
}

#[tokio::test]
async fn certificates_that_are_not_there() {
    let said = said("https://127.0.0.1:1").await;
    assert!(said.contains("Docker cannot be used"), "{said}");
}

#[tokio::test]
async fn a_session_that_was_never_started_is_shut_down() {
    let mut session = Docker::new().create().await.unwrap();
    session.shutdown().await.unwrap();
    assert_eq!(session.start().await.unwrap_err().kind(), ErrorKind::SessionEnded);
}

//! Clients that go away, are slow, or say nothing at all.

use std::time::Duration;

use abyme_serve::ServeConfig;
use tokio::io::AsyncReadExt;

use crate::support::{LONG, TestServer, Wire, asked, key, post};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_client_that_goes_away_takes_its_run_with_it() {
    let config = ServeConfig::default().max_runs(1);
    let server = TestServer::start(config).await;
    let mut streamed = asked("please_wait echo_it");
    streamed["stream"] = true.into();
    for (body, count) in [(asked("please_wait echo_it"), 1), (streamed, 2)] {
        let mut wire = Wire::open(server.address).await;
        wire.write(post("a", &body).as_bytes()).await;
        server.begun(count).await;
        // One that still waits goes too, and never begins.
        let mut waiting = Wire::open(server.address).await;
        waiting.write(post("a", &asked("please_wait echo_other")).as_bytes()).await;
        drop(waiting);
        drop(wire);
        assert_eq!(server.ended(count).await, vec!["Cancelled"; count]);
    }
    assert_eq!(server.ask("echo_next").await.content(), "echo_next");
    assert_eq!(server.ended(3).await.last().unwrap(), "submitted");
}

#[tokio::test]
async fn heads_and_bodies_have_to_come_in_time() {
    let config = ServeConfig::default().header_timeout(SHORT).body_idle_timeout(SHORT);
    let server = TestServer::start(config.body_timeout(Duration::from_millis(400))).await;
    let request = post("a", &asked("echo_it"));
    let body_at = request.find("\r\n\r\n").unwrap() + 4;

    // Nothing, half a head, and a head that comes byte by byte.
    for head in ["", &request[..60]] {
        let mut wire = Wire::open(server.address).await;
        wire.write(head.as_bytes()).await;
        assert!(matches!(wire.reply().await.status, 0 | 408), "{head}");
    }
    let mut wire = Wire::open(server.address).await;
    let drip = async {
        for byte in request.as_bytes() {
            if tokio::io::AsyncWriteExt::write_all(&mut wire.0, &[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 5).await;
        }
    };
    assert!(tokio::time::timeout(LONG, drip).await.is_ok());
    let mut rest = Vec::new();
    wire.0.read_to_end(&mut rest).await.ok();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));

    // A body that stops, and one that never comes to its end.
    let mut wire = Wire::open(server.address).await;
    wire.write(&request.as_bytes()[..body_at + 10]).await;
    wire.reply().await.refused(408, "body_timeout");
    let mut wire = Wire::open(server.address).await;
    wire.write(request[..body_at].replacen("Content-Length: ", "Content-Length: 99", 1).as_bytes()).await;
    let (mut reading, mut writing) = wire.0.split();
    let drip = async {
        while tokio::io::AsyncWriteExt::write_all(&mut writing, b" ").await.is_ok() {
            tokio::time::sleep(SHORT / 5).await;
        }
        std::future::pending::<()>().await;
    };
    let mut reply = vec![0; 12];
    tokio::select! {
        read = tokio::time::timeout(LONG, reading.read_exact(&mut reply)) => drop(read.unwrap().unwrap()),
        () = drip => {}
    }
    assert_eq!(reply, b"HTTP/1.1 408");

    assert_eq!(server.ask("echo_it").await.content(), "echo_it");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let server = TestServer::with_keys(
        ServeConfig::default().write_timeout(SHORT),
        [key("a"), key("metrics").reads_metrics(true)],
    )
    .await;
    let mut body = asked("echo_many_2000000");
    body["stream"] = true.into();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut wire = Wire(socket.connect(server.address).await.unwrap());
    wire.write(post("a", &body).as_bytes()).await;
    // More than the buffers of both sides hold is on its way, and nobody takes it.
    server.ended(1).await;
    let given_up = async {
        while server.figure("abyme_connections").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, given_up).await.unwrap();
    drop(wire);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_for_long() {
    let server = TestServer::start(ServeConfig::default().max_connections(3).header_timeout(SHORT)).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Wire::open(server.address).await);
    }
    assert_eq!(server.ask("echo_it").await.content(), "echo_it");
}

#[tokio::test]
async fn all_bodies_together_are_bounded() {
    let config = ServeConfig::default().max_total_body_bytes(50_000).max_runs(2);
    let server = TestServer::start(config).await;
    let large = asked(&format!("please_wait echo_large {}", "x".repeat(40_000)));
    let mut wire = Wire::open(server.address).await;
    wire.write(post("a", &large).as_bytes()).await;
    server.begun(1).await;
    let second = server.send(&post("a", &large)).await;
    second.refused(429, "server_busy");
    assert_eq!(server.ask("echo_small").await.content(), "echo_small");
    server.release(1);
    assert_eq!(wire.reply().await.content(), "echo_large");
    server.release(1);
    assert_eq!(server.send(&post("a", &large)).await.content(), "echo_large");
}

//! The end of a server: what goes on, what is refused, what is cancelled.

use std::time::Duration;

use abyme_serve::ServeConfig;

use crate::support::{TestServer, Wire, asked, eventually, post};

async fn sent(server: &TestServer, question: &str) -> Wire {
    let mut wire = Wire::open(server.address).await;
    wire.write(post("a", &asked(question)).as_bytes()).await;
    wire
}

#[tokio::test]
async fn runs_at_work_come_to_their_end() {
    let mut server = TestServer::start(ServeConfig::default().max_runs(1)).await;
    let mut idle = Wire::open(server.address).await;
    let mut first = sent(&server, "please_wait echo_first").await;
    server.begun(1).await;
    let mut second = sent(&server, "echo_second").await;
    // The request has to be in the queue, which nothing tells from outside but its refusal.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop();
    let refused = second.reply().await;
    refused.refused(503, "closing");
    assert!(refused.header("retry-after").is_some() && refused.header("x-should-retry") == Some("true"));
    assert_eq!(idle.reply().await.status, 0, "an idle connection is closed");
    let address = server.address;
    eventually("no connection is taken", || std::net::TcpStream::connect(address).is_err()).await;
    server.release(1);
    assert_eq!(first.reply().await.content(), "echo_first");
    server.stopped().await;
}

#[tokio::test]
async fn runs_that_take_too_long_are_cancelled() {
    let config = ServeConfig::default().shutdown_grace(Duration::from_millis(50));
    let mut server = TestServer::start(config).await;
    let mut plain = sent(&server, "please_wait echo_first").await;
    let mut body = asked("please_wait echo_second");
    body["stream"] = true.into();
    let mut stream = Wire::open(server.address).await;
    stream.write(post("a", &body).as_bytes()).await;
    server.begun(2).await;
    server.stop();
    plain.reply().await.refused(503, "closing");
    let reply = stream.reply().await;
    assert!(reply.events().last().unwrap().contains("\"code\":\"closing\""), "{reply:?}");
    assert_eq!(server.ended(2).await, ["Cancelled", "Cancelled"]);
    server.stopped().await;
}

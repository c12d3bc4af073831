//! A server on loopback that answers by a script, also what no library would send. The tests of other clients
//! use this file too.

#![allow(dead_code, reason = "not every client needs all of it")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// One answer.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

/// What happens after the body.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It is whole.
    Whole,
    /// More was promised, and the connection is closed.
    Cut,
    /// More was promised, and nothing comes.
    Endless,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), end: End::Whole }
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", body)
    }

    pub(crate) fn events(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "text/event-stream; charset=utf-8", body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    pub(crate) fn endless(mut self) -> Self {
        self.end = End::Endless;
        self
    }
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Sent>>,
    closed: Notify,
}

/// The server. It answers one request after the other, each on a connection of its own.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub(crate) async fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.answers.lock().unwrap().extend(answers);
        let inner = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, inner.clone()));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Sent> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until the client has closed a connection on which more was promised.
    pub(crate) async fn closed(&self) {
        tokio::time::timeout(Duration::from_secs(10), self.shared.closed.notified()).await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut received = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return;
        }
        let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end + 4);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        break (head, length.unwrap_or(0));
    };
    while received.len() < length && stream.read_buf(&mut received).await.unwrap_or(0) > 0 {}
    let body = String::from_utf8_lossy(&received).into_owned();
    shared.requests.lock().unwrap().push(Sent { head, body });
    let answer = shared.answers.lock().unwrap().pop_front().expect("the script has an answer");

    let promised = answer.body.len() + if answer.end == End::Whole { 0 } else { 1_000 };
    let mut head =
        format!("HTTP/1.1 {} X\r\ncontent-length: {promised}\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&answer.body).await;
    let _ = stream.flush().await;
    if answer.end == End::Endless {
        let mut rest = [0];
        while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
        shared.closed.notify_one();
    }
}

//! One connection of HTTP/1.1, within its times.

use std::{pin::Pin, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::HttpService};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the head of a request to come, also of the next one on the same connection. Default 10 s.
    pub header_timeout: Duration,
    /// To take the next part of its answer. Default 60 s.
    pub write_timeout: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(10), write_timeout: Duration::from_secs(60) }
    }
}

impl Timeouts {
    /// Sets how long the head of a request may take to come.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets for how long a client may take nothing of its answer.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }
}

/// A connection that is served as it is polled. It can be shut down in order, as hyper's own.
pub type HttpConnection<S> = http1::Connection<TokioIo<Pin<Box<TimeoutWriter<TcpStream>>>>, S>;

/// Answers the requests of a connection by `service`, until it is closed, breaks, is idle for too long or
/// takes nothing of its answer.
pub fn http_connection<S: HttpService<Incoming>>(
    stream: TcpStream,
    timeouts: Timeouts,
    service: S,
) -> HttpConnection<S>
where
    S::ResBody: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut writer = TimeoutWriter::new(stream);
    writer.set_timeout(Some(timeouts.write_timeout));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.header_timeout);
    http.serve_connection(TokioIo::new(Box::pin(writer)), service)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::Ipv4Addr};

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::{Response, service::service_fn};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Listener;

    /// A connection to a server that answers with so many bytes, and what serves it.
    async fn connected(
        size: usize,
        timeouts: Timeouts,
    ) -> (TcpStream, tokio::task::JoinHandle<Result<(), hyper::Error>>) {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 8).await.unwrap();
        let client = TcpStream::connect(listener.address()).await.unwrap();
        let stream = listener.accept().await.stream;
        let service = service_fn(move |_| async move {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; size]))))
        });
        (client, tokio::spawn(http_connection(stream, timeouts, service)))
    }

    #[tokio::test]
    async fn requests_are_answered_until_the_client_goes() {
        let (mut client, served) = connected(3, Timeouts::default()).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        drop(client);
        served.await.unwrap().ok();
    }

    #[tokio::test]
    async fn a_client_that_sends_or_takes_nothing_is_let_go() {
        let short = Duration::from_millis(50);
        let (_silent, served) = connected(1, Timeouts::default().header_timeout(short)).await;
        assert!(served.await.unwrap().unwrap_err().is_timeout());
        let (mut stalled, served) = connected(64 << 20, Timeouts::default().write_timeout(short)).await;
        stalled.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(served.await.unwrap().is_err());
    }
}

//! A server on loopback that does what a [`Scenario`] says, in any [`WireFormat`].

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use abyme_core::ErrorKind;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use super::{
    bomb::gzip_of_spaces,
    http::{ClientGone, Connection, HttpRequest, LAST_CHUNK, answer, chunk, head},
    provider::{KEY, Provider},
    scenario::{Reply, Scenario, WireFault},
    wire::format::{Events, Failure, Received, WireFormat},
};

/// A server on loopback that does what its provider's [`Scenario`] says, until it is dropped.
///
/// ```
/// use abyme_conformance::model::{OpenAiChat, Provider, Reply, Scenario, StandInServer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let provider = Provider::new(Scenario::Reply(Reply::new(["Par", "is"])));
/// let server = StandInServer::start(OpenAiChat, provider.clone()).await?;
/// assert!(server.url().starts_with("http://127.0.0.1:"));
/// assert_eq!(provider.count(), 0);
/// # Ok::<(), std::io::Error>(()) });
/// ```
pub struct StandInServer {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for StandInServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandInServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for StandInServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What every connection of a server knows.
struct Service {
    format: Arc<dyn WireFormat>,
    provider: Provider,
    /// Another server with the same provider, to redirect to.
    elsewhere: SocketAddr,
}

impl StandInServer {
    /// Starts a server that speaks this format.
    ///
    /// # Errors
    /// Loopback cannot be listened on.
    pub async fn start(format: impl WireFormat, provider: Provider) -> io::Result<Self> {
        Self::start_shared(Arc::new(format), provider).await
    }

    pub(crate) async fn start_shared(format: Arc<dyn WireFormat>, provider: Provider) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let other = TcpListener::bind("127.0.0.1:0").await?;
        let service = Arc::new(Service { format, provider, elsewhere: other.local_addr()? });
        let tasks = [(listener, false), (other, true)].map(|(listener, is_elsewhere)| {
            let service = service.clone();
            tokio::spawn(async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let service = service.clone();
                    connections.spawn(async move {
                        service.serve(Connection::new(stream), is_elsewhere).await;
                    });
                    while connections.try_join_next().is_some() {}
                }
            })
        });
        Ok(Self { address, tasks: tasks.into() })
    }

    /// Where it is: `http://127.0.0.1:` and its port.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// How a connection goes on after an answer.
enum Next {
    KeepOpen,
    Close,
}

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

/// More than any client should take into memory, and less than a machine has.
const LARGE: usize = 256 << 20;

impl Service {
    async fn serve(&self, mut connection: Connection, is_elsewhere: bool) {
        while let Some(request) = connection.request().await {
            let has_key = request.head.contains(KEY) || request.path.contains(KEY);
            if has_key {
                self.provider.received_key();
            }
            // What a server knows of the key, it may repeat.
            let words = match has_key {
                true => format!("You sent {KEY}.\nBearer {KEY} ({}...)", &KEY[..12]),
                false => "You sent no key.".to_owned(),
            };
            let outcome = self.respond(&mut connection, &request, &words, is_elsewhere).await;
            if !matches!(outcome, Ok(Next::KeepOpen)) {
                return;
            }
        }
    }

    async fn respond(
        &self,
        to: &mut Connection,
        request: &HttpRequest,
        words: &str,
        is_elsewhere: bool,
    ) -> Result<Next, ClientGone> {
        let body = serde_json::from_slice(&request.body).map_err(|error| error.to_string());
        let received = body.and_then(|body: Value| self.format.request(&request.path, &body));
        let Received { request: received, streams } = match received {
            Ok(received) => received,
            Err(problem) => {
                self.fail(to, &self.format.failure(ErrorKind::BadRequest, &problem), false).await?;
                return Ok(Next::KeepOpen);
            }
        };
        let echo = received.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        let answering = self.provider.received(received);
        let scenario = match self.provider.scenario() {
            Scenario::Wire(fault) => {
                let next = match is_elsewhere {
                    true => {
                        self.reply(to, &Reply::new(["from elsewhere"]), streams).await.map(|()| Next::Close)
                    }
                    false => self.misbehave(to, fault, &request.path, streams, words).await,
                };
                answering.done();
                return next;
            }
            scenario => scenario,
        };
        let next = match scenario {
            Scenario::Reply(reply) => self.reply(to, reply, streams).await.map(|()| Next::KeepOpen),
            Scenario::Echo => self.reply(to, &Reply::new([echo]), streams).await.map(|()| Next::KeepOpen),
            Scenario::Fail(kind) => {
                let failure = self.format.failure(*kind, words);
                self.fail(to, &failure, streams).await.map(|()| Next::KeepOpen)
            }
            Scenario::FailMidway(reply, kind) if streams => {
                let beginning = self.format.events(reply).beginning();
                let failed = self.format.failure_event(*kind, words);
                self.stream(to, format!("{beginning}{failed}")).await.map(|()| Next::KeepOpen)
            }
            Scenario::FailMidway(_, kind) => {
                let failure = self.format.failure(*kind, words);
                self.fail(to, &failure, streams).await.map(|()| Next::KeepOpen)
            }
            Scenario::Silent => Err(to.until_gone().await),
            Scenario::Stall(reply) => {
                self.begin(to, reply, streams).await?;
                Err(to.until_gone().await)
            }
            Scenario::Cut(reply) => self.begin(to, reply, streams).await.map(|()| Next::Close),
            Scenario::HangUp => Ok(Next::Close),
            Scenario::Garbage => {
                to.write(answer(200, &[JSON], r#"{"unexpected": true}"#)).await.map(|()| Next::KeepOpen)
            }
            Scenario::Wire(_) => Ok(Next::Close),
        };
        if next.is_ok() {
            answering.done();
        }
        next
    }

    /// The reply, whole or in pieces.
    async fn reply(&self, to: &mut Connection, reply: &Reply, streams: bool) -> Result<(), ClientGone> {
        match streams {
            true => self.stream(to, self.format.events(reply).all()).await,
            false => to.write(self.whole(reply)).await,
        }
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        answer(200, &[JSON, ("x-request-id", "req-1")], self.format.reply(reply).to_string())
    }

    async fn stream(&self, to: &mut Connection, events: impl AsRef<[u8]>) -> Result<(), ClientGone> {
        to.write([self.stream_head().as_bytes(), &chunk(events), LAST_CHUNK].concat()).await
    }

    fn stream_head(&self) -> String {
        head(200, &[EVENTS, CHUNKED, ("x-request-id", "req-1")])
    }

    /// The first piece, or the first half of what is whole.
    async fn begin(&self, to: &mut Connection, reply: &Reply, streams: bool) -> Result<(), ClientGone> {
        match streams {
            true => {
                to.write(self.stream_head()).await?;
                to.write(chunk(self.format.events(reply).beginning())).await
            }
            false => {
                let whole = self.whole(reply);
                to.write(&whole[..whole.len() - 20]).await
            }
        }
    }

    async fn fail(&self, to: &mut Connection, failure: &Failure, streams: bool) -> Result<(), ClientGone> {
        if failure.status == 200 && streams {
            return self.stream(to, format!("data: {}\n\n", failure.body)).await;
        }
        let id = format!("req-{KEY}");
        let mut headers = vec![JSON, ("x-request-id", &id), ("request-id", &id)];
        headers.extend(failure.headers.iter().map(|(name, value)| (*name, value.as_str())));
        to.write(answer(failure.status, &headers, failure.body.to_string())).await
    }

    async fn misbehave(
        &self,
        to: &mut Connection,
        fault: &WireFault,
        path: &str,
        streams: bool,
        words: &str,
    ) -> Result<Next, ClientGone> {
        let events = |reply: &Reply| -> Events { self.format.events(reply) };
        match fault {
            WireFault::Page(status) => {
                let page = format!("<html>\n<h1>{status}</h1>\n<p>{words}</p>\n</html>\n");
                to.write(answer(*status, &[("content-type", "text/html")], page)).await?;
            }
            WireFault::Body(body) => to.write(answer(200, &[JSON], body)).await?,
            WireFault::ErrorInSuccess(kind) => {
                let body = self.format.failure(*kind, words).body.to_string();
                to.write(answer(200, &[JSON], body)).await?;
            }
            WireFault::BrokenText(reply) => {
                let whole = match streams {
                    true => events(reply).all(),
                    false => self.format.reply(reply).to_string(),
                };
                let broken = replace(whole.as_bytes(), reply.text.concat().as_bytes(), b"\xf0\x9f\x98");
                match streams {
                    true => self.stream(to, broken).await?,
                    false => to.write(answer(200, &[JSON], broken)).await?,
                }
            }
            WireFault::BrokenEvent(reply) if streams => {
                let all = events(reply).beginning();
                self.stream(to, &all[..all.len() - 10]).await?;
            }
            WireFault::NoFinish(reply) if streams => {
                let Events { start, pieces, .. } = events(reply);
                self.stream(to, format!("{start}{}", pieces.concat())).await?;
            }
            WireFault::TwoFinishes(reply) if streams => {
                let events = events(reply);
                self.stream(to, format!("{}{}", events.all(), events.end)).await?;
            }
            WireFault::Comments(reply) if streams => {
                let between = "\n\n: keep-alive\n\n:\n\nid: 7\nretry: 1000\n\n";
                let all = events(reply).all().replace("\n\n", between).replace('\n', "\r\n");
                self.stream(to, format!("\u{feff}{all}")).await?;
            }
            WireFault::Drip(reply) if streams => {
                to.write(self.stream_head()).await?;
                for byte in events(reply).all().as_bytes() {
                    to.write(chunk([*byte])).await?;
                    tokio::task::yield_now().await;
                }
                to.write(LAST_CHUNK).await?;
            }
            WireFault::Drip(reply) => to.drip(&self.whole(reply)).await?,
            WireFault::BrokenEvent(reply)
            | WireFault::NoFinish(reply)
            | WireFault::TwoFinishes(reply)
            | WireFault::Comments(reply) => self.reply(to, reply, streams).await?,
            WireFault::EndlessSpace => {
                let (kind, space) = if streams { (EVENTS, ": \n\n") } else { (JSON, " ") };
                to.write(head(200, &[kind, CHUNKED])).await?;
                return self.repeat(to, &chunk(space), Duration::from_millis(10), usize::MAX).await;
            }
            WireFault::EndlessFailure => {
                to.write(head(500, &[("content-type", "text/html"), CHUNKED])).await?;
                return self.repeat(to, &chunk("<br>"), Duration::from_millis(10), usize::MAX).await;
            }
            WireFault::RedirectElsewhere => {
                let location = format!("http://{}{path}", self.elsewhere);
                to.write(answer(307, &[("location", &location)], "")).await?;
            }
            WireFault::RedirectLoop => to.write(answer(307, &[("location", path)], "")).await?,
            WireFault::Bomb => {
                let kind = if streams { EVENTS } else { JSON };
                let bomb = gzip_of_spaces(LARGE);
                to.write(answer(200, &[kind, ("content-encoding", "gzip")], bomb)).await?;
            }
            WireFault::EndlessText if streams => {
                let events = events(&Reply::new(["x".repeat(16_000)]));
                to.write(self.stream_head()).await?;
                to.write(chunk(events.beginning())).await?;
                let piece = chunk(events.pieces.concat());
                return self.repeat(to, &piece, Duration::ZERO, LARGE / piece.len()).await;
            }
            WireFault::EndlessText | WireFault::EndlessLine => {
                let kind = if streams { EVENTS } else { JSON };
                let whole = self.format.reply(&Reply::new(["x".repeat(100)])).to_string();
                let (start, _) = whole.split_once("xxx").unwrap_or((&whole, ""));
                to.write(head(200, &[kind, CHUNKED])).await?;
                to.write(chunk(if streams { format!("data: {start}") } else { start.to_owned() })).await?;
                let piece = chunk([b'x'; 1 << 16]);
                return self.repeat(to, &piece, Duration::ZERO, LARGE / piece.len()).await;
            }
            WireFault::RetryAfter(value) => {
                let failure = self.format.failure(ErrorKind::RateLimited { retry_after: None }, words);
                self.fail(to, &failure.header("retry-after", value), streams).await?;
            }
        }
        Ok(Next::KeepOpen)
    }

    /// Writes the same piece again and again, until the client is gone or has had enough.
    async fn repeat(
        &self,
        to: &mut Connection,
        piece: &[u8],
        pause: Duration,
        count: usize,
    ) -> Result<Next, ClientGone> {
        for _ in 0..count {
            to.write(piece).await?;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        Ok(Next::Close)
    }
}

/// `bytes` with the first `old` replaced.
fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    match bytes.windows(old.len().max(1)).position(|window| window == old) {
        Some(at) => [&bytes[..at], new, &bytes[at + old.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

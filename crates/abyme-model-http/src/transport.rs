//! One HTTP exchange within its limits of time and size, and the errors that name what failed.

use std::{error::Error as StdError, fmt, io, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    allowance::{Allowance, far},
    client::HttpClient,
    secret::Mask,
};

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

impl Head {
    /// Whether the answer says that it is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        let of = |value: &reqwest::header::HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
        self.headers.get(CONTENT_TYPE).is_some_and(of)
    }

    /// The provider's id of this request, for questions to the provider.
    pub(crate) fn request_id(&self, mask: &Mask) -> Option<String> {
        let mut ids = REQUEST_IDS.iter().filter_map(|name| self.headers.get(*name)?.to_str().ok());
        ids.next().map(|id| mask.clean(id, 100))
    }
}

const REQUEST_IDS: &[&str] = &["x-request-id", "request-id", "x-generation-id", "apim-request-id", "cf-ray"];

/// A whole answer, or as much of a failure's as there was.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the body went on beyond the most that is read.
    pub is_cut: bool,
}

/// The longest wait for the words of a failure, whose status says enough.
const FAILURE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the end of an answer whose events are over.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most that is read of a failure.
const MAX_FAILURE_BYTES: usize = 1 << 20;

/// An answer whose head is there and whose body is coming. Dropping it closes the connection.
pub struct IncomingReply {
    /// Its head.
    pub head: Head,
    response: Response,
    host: String,
    allowed: Allowance,
    /// When the whole answer has to be there: the deadline of the call, or of the words of a failure.
    deadline: Instant,
    most: usize,
    /// How many bytes there were.
    bytes: usize,
}

/// What comes next of a body.
#[derive(Debug)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// Its end.
    End,
    /// More than may be read of it.
    TooMuch,
}

impl HttpClient {
    /// Sends a request, with a body of JSON if there is one, and waits for the head of the answer, whatever
    /// its status.
    ///
    /// # Errors
    /// `Connection` and `ModelTimeout`, with the host and what failed.
    pub async fn open(
        &self,
        method: Method,
        url: &Url,
        body: Option<Bytes>,
        allowed: Allowance,
    ) -> Result<IncomingReply> {
        let host = self.host();
        let (start, deadline) = (Instant::now(), allowed.deadline);
        let first_byte = allowed.first_byte.map_or(deadline, |limit| far(start, limit).min(deadline));

        let mut request = self.reqwest().request(method, url.clone());
        let bytes = body.as_ref().map_or(0, Bytes::len);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        tracing::debug!(%host, path = url.path(), bytes, "asking the model");
        let mut response = match timeout_at(first_byte, request.send()).await {
            Ok(sent) => sent.map_err(|error| self.not_sent(error, allowed.connect))?,
            Err(_) if first_byte < deadline => {
                let limit = seconds(first_byte - start);
                return Err(timed_out(format!("{host} sent nothing within {limit} (first-byte timeout)")));
            }
            Err(_) => {
                let limit = seconds(allowed.total);
                return Err(timed_out(format!("{host} sent no answer within {limit} (total timeout)")));
            }
        };

        let head = Head { status: response.status(), headers: std::mem::take(response.headers_mut()) };
        let (status, after) = (head.status.as_u16(), start.elapsed().as_secs_f64());
        let request_id = head.request_id(self.mask()).unwrap_or_default();
        tracing::debug!(%host, status, seconds = after, request_id, "the provider answers");
        let (most, deadline) = match head.status.is_success() {
            true => (allowed.bytes, deadline),
            false => {
                let soon = far(Instant::now(), FAILURE_TIMEOUT);
                (allowed.bytes.min(MAX_FAILURE_BYTES), deadline.min(soon))
            }
        };
        Ok(IncomingReply { head, response, host: host.to_owned(), allowed, deadline, most, bytes: 0 })
    }

    /// The error of a request that got no answer.
    fn not_sent(&self, error: reqwest::Error, connect: Duration) -> Error {
        let host = self.host();
        let error = error.without_url();
        if error.is_connect() && error.is_timeout() {
            let limit = seconds(connect);
            return timed_out(format!("no connection to {host} within {limit} (connect timeout)"))
                .with_source(error);
        }
        if error.is_builder() {
            return Error::new(ErrorKind::BadRequest, "the request cannot be sent as it is")
                .with_source(error);
        }
        let causes = causes(&error);
        let says = |words: &[&str]| causes.iter().any(|cause| words.iter().any(|word| cause.contains(word)));
        let message = if !error.is_connect() {
            format!("{host} closed the connection before it answered")
        } else if says(&["dns", "lookup address", "resolve"]) {
            format!("the name of {host} cannot be resolved (DNS)")
        } else if says(&["certificate", "tls", "handshake", "unknownissuer", "corrupt message"]) {
            format!("no secure connection to {host} (TLS)")
        } else if says(&["proxy", "tunnel"]) {
            format!("no connection to {host} through the proxy")
        } else if says(&["refused"]) {
            format!("{host} refused the connection")
        } else {
            format!("no connection to {host}")
        };
        let proxied = error.is_connect()
            && self.may_be_proxied()
            && PROXIES.iter().any(|name| std::env::var_os(name).is_some());
        let why = if proxied { " (the environment sets a proxy, which may be what failed)" } else { "" };
        Error::new(ErrorKind::Connection, format!("{message}{why}")).with_source(error)
    }
}

impl IncomingReply {
    /// The host that answers.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What comes next, within the limits of the call.
    ///
    /// # Errors
    /// `Connection` if the body ends too early, `MalformedReply` if it cannot be decompressed, and
    /// `ModelTimeout`.
    pub async fn next(&mut self) -> Result<Piece> {
        let (now, deadline, host) = (Instant::now(), self.deadline, &self.host);
        let idle = far(now, self.allowed.idle).min(deadline);
        // A body that always has more ready never lets the time limit have its turn.
        let piece = match now < deadline {
            true => timeout_at(idle, self.response.chunk()).await.map_err(drop),
            false => Err(()),
        };
        let error = match piece {
            Ok(Ok(Some(chunk))) if self.bytes + chunk.len() > self.most => return Ok(Piece::TooMuch),
            Ok(Ok(Some(chunk))) => {
                self.bytes += chunk.len();
                return Ok(Piece::Bytes(chunk));
            }
            Ok(Ok(None)) => return Ok(Piece::End),
            Ok(Err(error)) if is_undecodable(&error) => {
                let message = format!("the answer of {host} cannot be decompressed");
                Error::new(ErrorKind::MalformedReply, message).with_source(error.without_url())
            }
            Ok(Err(error)) => self.cut_short().with_source(error.without_url()),
            Err(()) => {
                let so_far = format_args!("after {} bytes of its answer", self.bytes);
                timed_out(if idle < deadline {
                    let limit = seconds(self.allowed.idle);
                    format!("{host} sent nothing for {limit} {so_far} (idle timeout)")
                } else {
                    let limit = seconds(self.allowed.total);
                    format!("{host} was not done within {limit}, {so_far} (total timeout)")
                })
            }
        };
        Err(error.with("status", self.head.status.as_u16()))
    }

    /// Waits for the rest of the answer no longer than `limit` from now on.
    pub(crate) fn hurry(&mut self, limit: Duration) {
        self.deadline = self.deadline.min(far(Instant::now(), limit));
    }

    /// Takes the end of an answer whose events are over, so that its connection can serve again.
    pub(crate) fn release(mut self) {
        self.hurry(RELEASE_TIMEOUT);
        tokio::spawn(async move { drop(self.next().await) });
    }

    /// The error of an answer that ended too early.
    pub(crate) fn cut_short(&self) -> Error {
        let message = format!("the answer of {} was cut after {} bytes", self.host, self.bytes);
        Error::new(ErrorKind::Connection, message).with("note", "the provider may have charged for it")
    }

    /// Waits for the whole answer.
    ///
    /// # Errors
    /// See [`next`](Self::next). The status of a failure says enough without the rest of its body.
    pub async fn whole(mut self) -> Result<Reply> {
        let mut body = Vec::new();
        let is_cut = loop {
            match self.next().await {
                Ok(Piece::Bytes(bytes)) => body.extend_from_slice(&bytes),
                Ok(Piece::End) => break false,
                Ok(Piece::TooMuch) => break true,
                Err(_) if !self.head.status.is_success() => break true,
                Err(error) => return Err(error),
            }
        };
        Ok(Reply { head: self.head, body, is_cut })
    }
}

/// Without the URL, whose query may hold a key.
impl fmt::Debug for IncomingReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingReply")
            .field("host", &self.host)
            .field("status", &self.head.status)
            .finish_non_exhaustive()
    }
}

/// An error and its causes, in lower case.
fn causes(error: &dyn StdError) -> Vec<String> {
    std::iter::successors(error.source(), |&cause| cause.source())
        .map(|c| c.to_string().to_lowercase())
        .collect()
}

/// Whether a body is not what its `Content-Encoding` says, as opposed to cut.
fn is_undecodable(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
    })
}

fn timed_out(message: String) -> Error {
    Error::new(ErrorKind::ModelTimeout, message)
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

const PROXIES: &[&str] =
    &["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

//! One HTTP exchange within its limits of time and size, and the errors that name what failed.

use std::{error::Error as StdError, io, net::IpAddr, sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::{Instant, timeout_at};

use crate::{config::Config, event_stream, provider::Endpoint};

/// A complete answer, or as much of a failure's as there was.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body went on beyond the most that is read.
    pub(crate) is_cut: bool,
}

/// The longest exchange, where neither the request nor the configuration limits it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest wait for the words of a failure, whose status says enough.
const FAILURE_TIMEOUT: Duration = Duration::from_secs(5);

/// What one call may take, in however many exchanges. The time begins when this is made.
#[derive(Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) total: Duration,
    deadline: Instant,
    first_byte: Option<Duration>,
    idle: Duration,
    connect: Duration,
    bytes: usize,
}

impl Allowance {
    pub(crate) fn new(config: &Config, timeout: Option<Duration>) -> Self {
        let total = timeout.into_iter().chain(config.timeout).min().unwrap_or(DEFAULT_TIMEOUT);
        Self {
            total,
            deadline: far(Instant::now(), total),
            first_byte: config.first_byte_timeout,
            idle: config.idle_timeout,
            connect: config.connect_timeout,
            bytes: config.max_body_bytes,
        }
    }
}

/// The client for an endpoint.
pub(crate) fn client(config: &Config, endpoint: &Endpoint) -> Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("abyme/", env!("CARGO_PKG_VERSION")))
        .default_headers(config.header_map()?)
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .redirect(same_origin())
        .tls_backend_preconfigured(encryption(endpoint).map_err(not_set_up)?);
    if is_loopback(&endpoint.url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| not_set_up(error.without_url()))
}

/// How a connection is encrypted. The provider is named here, since a default one would be a setting of the
/// whole process, which is the program's.
fn encryption(endpoint: &Endpoint) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let config = if endpoint.url.scheme() == "http" {
        // Nothing is encrypted, so a machine without root certificates will do.
        config.with_root_certificates(RootCertStore::empty())
    } else {
        config.with_platform_verifier()?
    };
    Ok(config.with_no_client_auth())
}

/// What fails here on a machine is its root certificates; small containers often have none.
fn not_set_up(error: impl StdError + Send + Sync + 'static) -> Error {
    let message = "HTTPS cannot be set up: are there root certificates (`ca-certificates`, `SSL_CERT_FILE`)?";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

/// Sends `body` and reads the answer, whatever its status.
pub(crate) async fn exchange(
    client: &Client,
    at: &Endpoint,
    body: Bytes,
    allowed: Allowance,
) -> Result<Reply> {
    let host = &at.host;
    let (start, deadline) = (Instant::now(), allowed.deadline);
    let first_byte = allowed.first_byte.map_or(deadline, |limit| far(start, limit).min(deadline));

    let request = client.post(at.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
    let mut response = match timeout_at(first_byte, request.send()).await {
        Ok(sent) => sent.map_err(|error| not_sent(error, at, allowed.connect))?,
        Err(_) if first_byte < deadline => {
            let limit = seconds(first_byte - start);
            return Err(timed_out(format!("{host} sent nothing within {limit} (first-byte timeout)")));
        }
        Err(_) => {
            let limit = seconds(allowed.total);
            return Err(timed_out(format!("{host} sent no answer within {limit} (total timeout)")));
        }
    };

    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let failed = !status.is_success();
    let (most, deadline) = match failed {
        true => (allowed.bytes.min(1 << 20), deadline.min(far(Instant::now(), FAILURE_TIMEOUT))),
        false => (allowed.bytes, deadline),
    };
    let streams = event_stream::is_declared(&headers);
    let mut body = Vec::new();
    let is_cut = match read(&mut response, &mut body, most, deadline, streams, host, allowed).await {
        // The status of a failure says enough without the rest of its body.
        Err(_) if failed => true,
        outcome => outcome.map_err(|error| error.with("status", status.as_u16()))?,
    };
    Ok(Reply { status, headers, body, is_cut })
}

/// Reads the body. Returns whether it goes on beyond `most` bytes.
async fn read(
    response: &mut Response,
    body: &mut Vec<u8>,
    most: usize,
    deadline: Instant,
    streams: bool,
    host: &str,
    allowed: Allowance,
) -> Result<bool> {
    loop {
        let now = Instant::now();
        let idle = far(now, allowed.idle).min(deadline);
        let so_far = format_args!("after {} bytes of its answer", body.len()).to_string();
        // A body that always has more ready never lets the time limit have its turn.
        let piece = match now < deadline {
            true => timeout_at(idle, response.chunk()).await.map_err(drop),
            false => Err(()),
        };
        match piece {
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() > most => return Ok(true),
            Ok(Ok(Some(chunk))) => {
                body.extend_from_slice(&chunk);
                if streams && event_stream::is_done(body) {
                    return Ok(false);
                }
            }
            Ok(Ok(None)) => return Ok(false),
            Ok(Err(error)) if is_undecodable(&error) => {
                let message = format!("the answer of {host} cannot be decompressed");
                return Err(Error::new(ErrorKind::MalformedReply, message).with_source(error.without_url()));
            }
            Ok(Err(error)) => {
                let message = format!("the answer of {host} was cut after {} bytes", body.len());
                return Err(Error::new(ErrorKind::Connection, message)
                    .with("note", "the provider may have charged for it")
                    .with_source(error.without_url()));
            }
            Err(_) if idle < deadline => {
                let limit = seconds(allowed.idle);
                return Err(timed_out(format!("{host} sent nothing for {limit} {so_far} (idle timeout)")));
            }
            Err(_) => {
                let limit = seconds(allowed.total);
                return Err(timed_out(format!(
                    "{host} was not done within {limit}, {so_far} (total timeout)"
                )));
            }
        }
    }
}

/// The error of a request that got no answer.
fn not_sent(error: reqwest::Error, at: &Endpoint, connect: Duration) -> Error {
    let host = &at.host;
    let error = error.without_url();
    if error.is_connect() && error.is_timeout() {
        let limit = seconds(connect);
        return timed_out(format!("no connection to {host} within {limit} (connect timeout)"))
            .with_source(error);
    }
    if error.is_builder() {
        return Error::new(ErrorKind::BadRequest, "the request cannot be sent as it is").with_source(error);
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
        && !is_loopback(&at.url)
        && PROXIES.iter().any(|name| std::env::var_os(name).is_some());
    let why = if proxied { " (the environment sets a proxy, which may be what failed)" } else { "" };
    Error::new(ErrorKind::Connection, format!("{message}{why}")).with_source(error)
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

/// Follows only what repeats the request at the same origin. The key and the prompt go nowhere else.
fn same_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let repeats = matches!(attempt.status().as_u16(), 307 | 308);
        let first = attempt.previous().first();
        let stays = first.is_some_and(|first| first.origin() == attempt.url().origin());
        if repeats && stays && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    })
}

/// Whether a URL names this machine, also by the address that stands for all of its own.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_own = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_own)
}

/// `limit` after `start`, or as far away as makes no difference.
fn far(start: Instant, limit: Duration) -> Instant {
    start + limit.min(Duration::from_secs(365 * 24 * 3600))
}

fn timed_out(message: String) -> Error {
    Error::new(ErrorKind::ModelTimeout, message)
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

const PROXIES: &[&str] =
    &["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_by_all_its_names() {
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(&Url::parse(&format!("http://{host}:1/v1")).unwrap()), "{host}");
        }
        for host in ["10.0.0.1", "example.com", "localhost.example.com", "[2001:db8::1]"] {
            assert!(!is_loopback(&Url::parse(&format!("http://{host}/v1")).unwrap()), "{host}");
        }
    }
}

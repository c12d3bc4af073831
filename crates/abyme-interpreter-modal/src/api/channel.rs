//! Connections to Modal's servers.

use std::{error::Error as _, sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use prost::Message;
use rustls::crypto::ring;
use rustls_platform_verifier::Verifier;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, ClientTlsConfig, Endpoint, Error as TransportError, Uri},
};
use tonic_prost::ProstCodec;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a connection is tried. Idle ones are too, so that a dead one is noticed while a cell runs.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What may be on its way in one stream: enough for 200 MB/s over a round trip of 80 ms.
const WINDOW: u32 = 16 << 20;
/// The most bytes of a message, as in Modal's clients.
const MAX_MESSAGE_BYTES: usize = 100 << 20;

/// Connects to a server. `what` names it in errors.
pub(super) async fn connect(what: &str, url: &str) -> Result<Channel> {
    let wrong = |why: String| Error::new(ErrorKind::Config, format!("{url} is no address of {what}: {why}"));
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| wrong(error.to_string()))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let endpoint = match endpoint.uri().scheme_str() {
        Some("https") => {
            let verifier = Verifier::new(Arc::new(ring::default_provider())).map_err(not_set_up)?;
            endpoint
                .tls_config_with_verifier(ClientTlsConfig::new(), Arc::new(verifier))
                .map_err(not_set_up)?
        }
        Some("http") if is_loopback(endpoint.uri().host()) => endpoint,
        Some("http") => {
            return Err(wrong("a token is sent without encryption to this machine only".to_owned()));
        }
        _ => return Err(wrong("it begins with https://".to_owned())),
    };
    endpoint.connect().await.map_err(|error| {
        let message = format!("{what} at {url} was not reached: {}", chain(&error));
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    })
}

/// Calls a method that answers once.
pub(super) async fn unary<Q, A>(
    channel: &Channel,
    service: &str,
    method: &str,
    request: Request<Q>,
) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let (mut client, uri) = (client(channel).await?, uri(service, method)?);
    let path = uri.path_and_query().cloned().ok_or_else(|| no_method(method))?;
    Ok(client.unary(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
}

/// Calls a method that answers with a stream.
pub(super) async fn server_streaming<Q, A>(
    channel: &Channel,
    service: &str,
    method: &str,
    request: Request<Q>,
) -> Result<Streaming<A>, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let (mut client, uri) = (client(channel).await?, uri(service, method)?);
    let path = uri.path_and_query().cloned().ok_or_else(|| no_method(method))?;
    Ok(client.server_streaming(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
}

/// A client over a channel that takes a call now.
async fn client(channel: &Channel) -> Result<Grpc<Channel>, Status> {
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    client.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
    Ok(client)
}

fn uri(service: &str, method: &str) -> Result<Uri, Status> {
    format!("/{service}/{method}").parse().map_err(|_| no_method(method))
}

fn no_method(method: &str) -> Status {
    Status::internal(format!("`{method}` is no name of a method"))
}

fn is_loopback(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn not_set_up(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = "HTTPS cannot be set up: are there root certificates (`ca-certificates`, `SSL_CERT_FILE`)?";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

/// The causes of an error. Its own text says only "transport error".
fn chain(error: &TransportError) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if causes.last() != Some(&cause) {
            causes.push(cause);
        }
        source = error.source();
    }
    let text = causes.join(": ");
    if text.contains("NotValidYet") || text.contains("Expired") || text.contains("not valid yet") {
        return format!("{text}; is the clock of this machine right?");
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_goes_out_encrypted_or_to_this_machine() {
        for url in ["http://api.modal.com", "http://127.0.0.1.example.org", "ftp://x", "nonsense"] {
            let error = connect("Modal", url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
        assert!(
            is_loopback(Some("127.0.0.1")) && is_loopback(Some("[::1]")) && is_loopback(Some("localhost"))
        );
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect("Modal", &format!("http://127.0.0.1:{port}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("was not reached"), "{error}");
    }
}

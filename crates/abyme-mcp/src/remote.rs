//! Connects to a server over HTTP.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use abyme_core::{Error, ErrorKind, Result};
use reqwest::{
    Client, Url,
    header::{HeaderName, HeaderValue},
    redirect,
};
use rmcp::transport::{
    StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::server::McpServer;

/// The transport to a URL. Nothing is sent yet.
pub(crate) fn transport(server: &McpServer, url: &str) -> Result<StreamableHttpClientTransport<Client>> {
    let wrong = |message: String| Error::new(ErrorKind::Config, message);
    let parsed =
        Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(parsed) = parsed else {
        let message = format!("the URL of MCP server `{}` is none of `http` or `https`", server.name());
        return Err(wrong(message));
    };
    let mut headers = HashMap::new();
    for (name, value) in &server.headers {
        let cannot = || wrong(format!("header `{}` cannot be sent", name.escape_debug()));
        let name = HeaderName::try_from(name).map_err(|_| cannot())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| cannot())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let not_set_up = |error: Box<dyn std::error::Error + Send + Sync>| {
        let message =
            "HTTPS cannot be set up: are there root certificates (`ca-certificates`, `SSL_CERT_FILE`)?";
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    };
    // Headers hold tokens, so requests go nowhere but to the URL itself.
    let mut client = Client::builder()
        .user_agent(concat!("abyme/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(server.connect_timeout)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(encryption(&parsed).map_err(|error| not_set_up(error.into()))?);
    if is_loopback(&parsed) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| not_set_up(error.without_url().into()))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(headers);
    config.max_json_response_size = server.max_response_bytes;
    config.max_sse_event_size = server.max_response_bytes;
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// How a connection is encrypted. The provider is named here, since a default one would be a setting of the
/// whole process, which is the program's.
fn encryption(url: &Url) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let config = match url.scheme() {
        // Nothing is encrypted, so a machine without root certificates will do.
        "http" => config.with_root_certificates(RootCertStore::empty()),
        _ => config.with_platform_verifier()?,
    };
    Ok(config.with_no_client_auth())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

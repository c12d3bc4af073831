//! Connects to a server over HTTP.

use std::collections::HashMap;

use abyme_core::{Error, ErrorKind, Result};
use abyme_model_http::http_client;
use reqwest::{
    Client, Url,
    header::{HeaderName, HeaderValue},
    redirect,
};
use rmcp::transport::{
    StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
};

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
    // Headers hold tokens, so requests go nowhere but to the URL itself.
    let client = http_client(&parsed, |client| {
        client.connect_timeout(server.connect_timeout).redirect(redirect::Policy::none())
    })?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(headers);
    config.max_json_response_size = server.max_response_bytes;
    config.max_sse_event_size = server.max_response_bytes;
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

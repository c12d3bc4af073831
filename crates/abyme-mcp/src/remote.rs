//! Connects to a server over HTTP.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use abyme_core::{Error, ErrorKind, Result, without_lone_surrogates};
use abyme_model_http::http_client;
use futures_util::StreamExt;
use reqwest::{
    Client, Url,
    header::{HeaderName, HeaderValue},
    redirect,
};
use rmcp::{
    model::ClientJsonRpcMessage,
    transport::{
        StreamableHttpClientTransport,
        common::client_side_sse::BoxedSseResponse,
        streamable_http_client::{
            StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
            StreamableHttpPostResponse, StreamableHttpResponseLimits,
        },
    },
};

use crate::server::McpServer;

/// The transport to a URL. Nothing is sent yet.
pub(crate) fn transport(server: &McpServer, url: &str) -> Result<StreamableHttpClientTransport<HttpClient>> {
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
    Ok(StreamableHttpClientTransport::with_client(HttpClient(client), config))
}

/// A client that reads streams of events without lone surrogates. An answer that is no stream is read by the
/// client inside, where one that holds half of a pair is an error of its call.
#[derive(Clone)]
pub(crate) struct HttpClient(Client);

type Headers = HashMap<HeaderName, HeaderValue>;
type Answer<T> = std::result::Result<T, StreamableHttpError<reqwest::Error>>;

impl StreamableHttpClient for HttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<StreamableHttpPostResponse> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session, token, headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Answer<StreamableHttpPostResponse> {
        let answer =
            self.0.post_message_with_response_limits(uri, message, session, token, headers, limits).await?;
        Ok(match answer {
            StreamableHttpPostResponse::Sse(events, session) => {
                StreamableHttpPostResponse::Sse(mended(events), session)
            }
            other => other,
        })
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<()> {
        self.0.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
    ) -> Answer<BoxedSseResponse> {
        self.0.get_stream(uri, session, last_event, token, headers).await.map(mended)
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: Headers,
        max_bytes: usize,
    ) -> Answer<BoxedSseResponse> {
        let events =
            self.0.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, max_bytes);
        events.await.map(mended)
    }
}

fn mended(events: BoxedSseResponse) -> BoxedSseResponse {
    let mend = |data: String| match without_lone_surrogates(data.as_bytes()) {
        Cow::Owned(mended) => String::from_utf8_lossy(&mended).into_owned(),
        Cow::Borrowed(_) => data,
    };
    events
        .map(move |event| {
            event.map(|mut event| {
                event.data = event.data.map(mend);
                event
            })
        })
        .boxed()
}

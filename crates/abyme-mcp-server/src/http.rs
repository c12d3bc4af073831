//! The server over HTTP: the protocol's streamable transport, for clients that have the token.

use std::{borrow::Cow, convert::Infallible, sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result, without_lone_surrogates};
use abyme_listen::{Listener, Timeouts, Token, bearer, http_connection};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
};
use rmcp::transport::streamable_http_server::{
    SessionId, SessionManager, StreamableHttpServerConfig, StreamableHttpService,
    session::local::LocalSessionManager,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::{
    clients::{Clients, session_in},
    config::HttpConfig,
    connection::{Connection, Over},
    handler::Handler,
    sessions::random_id,
    shared::Shared,
};

/// Where the protocol is spoken.
const PATH: &str = "/mcp";
/// How long the rest of a request may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked for clients that are gone.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

type Body = BoxBody<Bytes, Infallible>;
type Service = StreamableHttpService<Handler, LocalSessionManager>;

/// A server that listens. Made by [`RlmServer::listen`](crate::RlmServer::listen).
pub struct HttpServer {
    listener: Listener,
    token: String,
    config: HttpConfig,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer").field("address", &self.listener.address()).finish_non_exhaustive()
    }
}

/// What all connections need.
struct Front {
    service: Service,
    clients: Arc<Clients>,
    manager: Arc<LocalSessionManager>,
    token: Token,
    max_body_bytes: usize,
    config: HttpConfig,
    stop: CancellationToken,
}

impl HttpServer {
    pub(crate) async fn bind(shared: Arc<Shared>, config: HttpConfig) -> Result<Self> {
        let given = config.check()?.map(str::to_owned);
        let token = given.map_or_else(random_id, Ok)?;
        let listener = Listener::bind(config.address, config.max_connections).await.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot listen on {}: {error}", config.address))
                .with_source(error)
        })?;
        Ok(Self { listener, token, config, shared })
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.listener.address())
    }

    /// The token that clients send in the header `Authorization: Bearer`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Serves until the server closes or this future is dropped, which cancels what is at work.
    ///
    /// A connection that cannot be taken is left out.
    ///
    /// # Errors
    /// None today.
    pub async fn serve(self) -> Result<()> {
        let Self { listener, token, config, shared } = self;
        let stop = shared.stop.child_token();
        let _ends = stop.clone().drop_guard();
        let front = Arc::new(Front::new(shared.clone(), config, &token, stop.clone()));
        let accept = async {
            loop {
                let (accepted, front) = (listener.accept().await, front.clone());
                tokio::spawn(async move {
                    front.connection(accepted.stream).await;
                    drop(accepted.place);
                });
            }
        };
        tokio::select! {
            () = accept => Ok(()),
            () = front.forget_clients() => Ok(()),
            () = stop.cancelled() => Ok(()),
            never = shared.close_idle_sessions() => match never {},
        }
    }
}

impl Front {
    fn new(shared: Arc<Shared>, config: HttpConfig, token: &str, stop: CancellationToken) -> Self {
        let clients = Arc::new(Clients::default());
        // Which clients are gone is decided here: the manager would take one for gone that waits long for an
        // answer.
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = None;
        let manager = Arc::new(manager);
        let max_body_bytes = shared.config.max_message_bytes;
        let transport = StreamableHttpServerConfig::default()
            .with_allowed_hosts(&config.allowed_hosts)
            .with_allowed_origins(&config.allowed_origins)
            .enforce_origin_validation()
            .with_max_request_body_bytes(max_body_bytes)
            .with_cancellation_token(stop.clone());
        let of_handlers = clients.clone();
        let handler = move || {
            let connection = Connection::new(&shared, Over::Http);
            Ok(Handler::new(shared.clone(), connection, Some(of_handlers.clone())))
        };
        let service = StreamableHttpService::new(handler, manager.clone(), transport);
        let token = Token::of(token);
        Self { service, clients, manager, token, max_body_bytes, config, stop }
    }

    async fn connection(self: &Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let front = self.clone();
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        });
        tokio::select! {
            // A client that goes away is no error.
            _ = http_connection(stream, Timeouts::default(), service) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if !bearer(request.headers()).is_some_and(|token| self.token.is(token)) {
            let mut refused = refused(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refused;
        }
        if request.uri().path() != PATH {
            return refused(StatusCode::NOT_FOUND, "the protocol is spoken at /mcp");
        }
        let (parts, body) = request.into_parts();
        let body = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, self.max_body_bytes).collect())
            .await
        {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("a request has at most {} bytes", self.max_body_bytes);
                return refused(StatusCode::PAYLOAD_TOO_LARGE, &message);
            }
            Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST, "the request broke off"),
            Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the request took too long to come"),
        };
        let body = match without_lone_surrogates(&body) {
            Cow::Owned(mended) => Bytes::from(mended),
            Cow::Borrowed(_) => body,
        };
        let session = session_in(&parts.headers).map(str::to_owned);
        let begins = session.is_none() && parts.method == Method::POST;
        if begins && self.clients.count() >= self.config.max_clients && is_initialize(&body) {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "too many clients are connected: end one");
        }
        let ends = parts.method == Method::DELETE;
        let noted = session.as_ref().map(|session| self.clients.response(session));
        let response = self.service.handle(Request::from_parts(parts, Full::new(body))).await;
        let noted = match (noted, session_in(response.headers())) {
            (None, Some(session)) => {
                self.clients.begin(session);
                Some(self.clients.response(session))
            }
            (noted, _) => noted,
        };
        if let (true, Some(session)) = (ends && response.status().is_success(), &session) {
            self.clients.end(session);
        }
        // What is noted stays so until the client has read the response, or went away.
        response.map(|body| {
            body.map_frame(move |frame| {
                let _ = &noted;
                frame
            })
            .boxed()
        })
    }

    /// Closes the sessions of clients that are gone.
    async fn forget_clients(&self) {
        let (in_call, idle) = (self.config.reconnect_timeout, self.config.client_idle_timeout);
        loop {
            tokio::time::sleep(SWEEP_INTERVAL.min(in_call.max(Duration::from_millis(50)))).await;
            for session in self.clients.gone(in_call, idle) {
                // One that ended by itself meanwhile is closed all the same.
                self.manager.close_session(&SessionId::from(session)).await.ok();
            }
        }
    }
}

/// Whether this is the request that begins a session.
fn is_initialize(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Message {
        method: String,
    }
    serde_json::from_slice::<Message>(body).is_ok_and(|message| message.method == "initialize")
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{why}\n"))).boxed());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

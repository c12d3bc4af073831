//! A server: what it offers, and the ways in which clients reach it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use abyme_core::{
    CodePolicy, Error, ErrorKind, Inputs, InterpreterFactory, Result, Rlm, WithoutLoneSurrogates,
};
use rmcp::{ServiceExt, service::ServerInitializeError, transport::async_rw::AsyncRwTransport};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    config::{HttpConfig, RlmServerConfig},
    connection::{Connection, Over},
    files::Files,
    handler::Handler,
    http::HttpServer,
    sessions::Sessions,
    shared::Shared,
};

/// How long what is at work may take to end when the server closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A Model Context Protocol server. It offers what it is given: `ask` with an [`Rlm`], the session tools with
/// a backend, the files of folders with what reads them.
///
/// ```no_run
/// # async fn example(rlm: abyme_core::Rlm, backend: impl abyme_core::InterpreterFactory + 'static)
/// # -> abyme_core::Result<()> {
/// use abyme_mcp_server::{HttpConfig, RlmServer, RlmServerConfig};
///
/// let server = RlmServer::builder(RlmServerConfig::default().max_runs(2)).rlm(rlm).sessions(backend).build()?;
/// // A client that started this program:
/// server.serve_stream(tokio::io::stdin(), tokio::io::stdout()).await?;
/// // Or any number of clients, over HTTP:
/// let http = server.listen(HttpConfig::default().token("a long random text")).await?;
/// println!("{}", http.url());
/// http.serve().await?;
/// server.close().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RlmServer {
    shared: Arc<Shared>,
}

/// Puts an [`RlmServer`] together. Made by [`RlmServer::builder`].
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Debug)]
pub struct RlmServerBuilder {
    config: RlmServerConfig,
    rlm: Option<Rlm>,
    backend: Option<Arc<dyn InterpreterFactory>>,
    session_policy: Option<CodePolicy>,
    files: Result<Option<Files>>,
}

impl RlmServerBuilder {
    /// Offers `ask`. Each question is a task of its own, with this `Rlm`'s models, backend, tools, limits and
    /// instructions; its inputs and outputs do not matter.
    pub fn rlm(mut self, rlm: Rlm) -> Self {
        self.rlm = Some(rlm);
        self
    }

    /// Offers `session_open`, `session_run` and `session_close`, with sessions of this backend.
    pub fn sessions(mut self, backend: impl InterpreterFactory + 'static) -> Self {
        self.backend = Some(Arc::new(backend));
        self
    }

    /// Checks the code that clients give to `session_run` before it runs, as an [`Rlm`] has a policy for the
    /// cells of its runs. Default: none.
    pub fn session_policy(mut self, policy: impl Into<Option<CodePolicy>>) -> Self {
        self.session_policy = policy.into();
        self
    }

    /// Lets clients name files below these folders, which `load` reads, as inputs of a question and as
    /// variables of a session. It is given paths without links, and may take its time.
    pub fn files(
        mut self,
        folders: impl IntoIterator<Item = impl AsRef<Path>>,
        load: impl Fn(&[PathBuf]) -> Result<Inputs> + Send + Sync + 'static,
    ) -> Self {
        self.files = Files::new(folders, load).map(Some);
        self
    }

    /// Checks everything and puts the server together.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a server that offers nothing, a limit of 0, a folder that cannot be read,
    /// and a directory for records that cannot be made.
    pub fn build(self) -> Result<RlmServer> {
        let Self { config, rlm, backend, session_policy, files } = self;
        if rlm.is_none() && backend.is_none() {
            let message = "the server offers nothing: give it an `Rlm`, a backend for sessions, or both";
            return Err(Error::new(ErrorKind::Config, message));
        }
        if let Some(directory) = &config.trace_dir {
            std::fs::create_dir_all(directory).map_err(|error| {
                let shown = directory.display();
                Error::new(ErrorKind::Config, format!("no directory for records at `{shown}`: {error}"))
                    .with_source(error)
            })?;
        }
        let sessions = backend.map(|backend| Sessions::new(backend, session_policy, &config));
        let shared = Shared::new(config, rlm, files?, sessions)?;
        Ok(RlmServer { shared: Arc::new(shared) })
    }
}

impl RlmServer {
    /// Begins with what clients are allowed.
    pub fn builder(config: RlmServerConfig) -> RlmServerBuilder {
        RlmServerBuilder { config, rlm: None, backend: None, session_policy: None, files: Ok(None) }
    }

    /// Serves one client over a pair of streams, such as stdin and stdout: one JSON message a line. Ends when
    /// `read` ends or the server closes. Calls that are at work then have 1 s to answer, and are cancelled;
    /// the client's tasks are cancelled and its sessions closed.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a client that does not begin as the protocol says, and
    /// [`ErrorKind::Io`] if it cannot be answered.
    pub async fn serve_stream<R, W>(&self, read: R, write: W) -> Result<()>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let shared = self.shared.clone();
        let connection = Connection::new(&shared, Over::Stream);
        let read = WithoutLoneSurrogates::new(connection.watch(read));
        let transport =
            AsyncRwTransport::new_server(read, write).with_max_line_length(shared.config.max_message_bytes);
        let stop = shared.stop.child_token();
        let handler = Handler::new(shared.clone(), connection, None);
        let served = async {
            let running = match handler.serve_with_ct(transport, stop).await {
                Ok(running) => running,
                // It came for nothing, or the server closes.
                Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => {
                    return Ok(());
                }
                Err(ServerInitializeError::TransportError { error, .. }) => {
                    return Err(Error::new(ErrorKind::Io, format!("cannot answer the client: {error}")));
                }
                Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
                    let message = "the client did not begin with `initialize`: it is no MCP client";
                    return Err(Error::new(ErrorKind::Protocol, message));
                }
                Err(error) => return Err(Error::new(ErrorKind::Protocol, error.to_string())),
            };
            let ended = running.waiting().await;
            ended.map(drop).map_err(|error| {
                Error::new(ErrorKind::Internal, "the server's own task failed").with_source(error)
            })
        };
        tokio::select! {
            ended = served => ended,
            never = self.shared.close_idle_sessions() => match never {},
        }
    }

    /// Listens for clients over HTTP. None is answered before [`HttpServer::serve`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a token that cannot be one, and [`ErrorKind::Io`] if the address cannot be
    /// had.
    pub async fn listen(&self, config: HttpConfig) -> Result<HttpServer> {
        HttpServer::bind(self.shared.clone(), config).await
    }

    /// Closes: clients are refused, runs and tasks cancelled, sessions shut down. Waits for that, at most
    /// some seconds.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, async {
            self.shared.runs.ended().await;
            if let Some(sessions) = &self.shared.sessions {
                sessions.close_all().await;
            }
        });
        if closed.await.is_err() {
            tracing::warn!("what was at work did not end in time");
        }
        self.shared.tasks.shutdown();
    }
}

impl fmt::Debug for RlmServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools: Vec<_> = self.shared.tools.iter().map(|tool| &*tool.name).collect();
        f.debug_struct("RlmServer").field("config", &self.shared.config).field("tools", &tools).finish()
    }
}

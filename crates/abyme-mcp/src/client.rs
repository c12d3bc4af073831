//! The connection to a server, and what it offers.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use abyme_core::{Error, ErrorKind, Result, Tool};
use rmcp::{RoleClient, ServiceExt, service::ClientInitializeError, transport::IntoTransport};
use tokio::{sync::Mutex, time::timeout_at};

use crate::{
    connection::{Connection, Handler},
    remote,
    server::McpServer,
    stdio::{self, LastLines},
    tools,
};

/// A connected server. Made by [`McpServer::connect`]; a clone is the same connection.
///
/// The connection is open, and a process runs, as long as this or one of its tools is there.
#[derive(Clone)]
pub struct McpClient {
    connection: Arc<Connection>,
    tools: Vec<Tool>,
}

impl fmt::Debug for McpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.tools.iter().map(Tool::name).collect();
        f.debug_struct("McpClient")
            .field("server", &self.connection.server.name())
            .field("tools", &names)
            .finish()
    }
}

impl McpServer {
    /// Starts the command, or asks the URL, and reads the list of tools.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what cannot be connected to, and [`ErrorKind::Unavailable`] for a server
    /// that does not start, does not speak the protocol, or does not answer in time. The message has the end
    /// of what a process wrote to stderr.
    pub async fn connect(self) -> Result<McpClient> {
        self.check()?;
        match (&self.command, &self.url) {
            (Some(program), _) => {
                let started = stdio::start(&self, program);
                let (transport, stderr) = started.map_err(|error| {
                    let message = format!("MCP server `{program}` does not start");
                    Error::new(ErrorKind::Unavailable, message).with_source(error)
                })?;
                self.open(transport, stderr).await
            }
            (None, url) => {
                let transport = remote::transport(&self, url.as_deref().unwrap_or_default())?;
                self.open(transport, LastLines::default()).await
            }
        }
    }

    async fn open<T, E, A>(self, transport: T, stderr: LastLines) -> Result<McpClient>
    where
        T: IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let deadline = tokio::time::Instant::now() + self.connect_timeout;
        let handler = Handler::default();
        let tools_changed = handler.tools_changed.clone();
        let opened = timeout_at(deadline, async {
            let service = handler.serve(transport).await;
            let service = service.map_err(|error| match &error {
                ClientInitializeError::TransportError { error, .. } => {
                    format!("cannot be connected to: {}", self.causes(&*error.error))
                }
                other => format!("cannot be connected to: {}", self.causes(other)),
            })?;
            let listed = service.peer().list_all_tools().await;
            let listed =
                listed.map_err(|error| format!("does not list its tools: {}", self.causes(&error)))?;
            Ok((service, listed))
        });
        let opened = opened.await.unwrap_or_else(|_| {
            let seconds = self.connect_timeout.as_secs_f64();
            Err(format!("did not answer within {seconds} s (`connect_timeout`)"))
        });
        let (service, listed) = match opened {
            Ok(opened) => opened,
            Err(problem) => {
                let message = format!("MCP server `{}` {problem}{}", self.name(), stderr.shown().await);
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        };
        let peer = service.peer().clone();
        let service = Mutex::new(Some(service));
        let connection = Arc::new(Connection { server: self, stderr, peer, service, tools_changed });
        let tools = tools::tools(&listed, &connection)?;
        Ok(McpClient { connection, tools })
    }
}

impl McpClient {
    /// The server's tools, as [`RlmBuilder::tools`](abyme_core::RlmBuilder::tools) takes them.
    pub fn tools(&self) -> Vec<Tool> {
        self.tools.clone()
    }

    /// Whether the server said that its tools are others since they were read. A tool that is gone raises
    /// when it is called.
    pub fn tools_changed(&self) -> bool {
        self.connection.tools_changed.load(Ordering::Relaxed)
    }

    /// Reads the list of tools again, for the next [`tools`](Self::tools).
    ///
    /// # Errors
    /// As those of [`McpServer::connect`].
    pub async fn refresh(&mut self) -> Result<()> {
        self.connection.tools_changed.store(false, Ordering::Relaxed);
        let listing = self.connection.peer.list_all_tools();
        let server = &self.connection.server;
        let listed = match tokio::time::timeout(server.connect_timeout, listing).await {
            Ok(listed) => listed.map_err(|error| server.causes(&error)),
            Err(_) => Err(format!("no answer within {} s", server.connect_timeout.as_secs_f64())),
        };
        let listed = listed.map_err(|problem| {
            let message = format!("MCP server `{}` does not list its tools: {problem}", server.name());
            Error::new(ErrorKind::Unavailable, message)
        })?;
        self.tools = tools::tools(&listed, &self.connection)?;
        Ok(())
    }

    /// Closes the connection, and waits until a process has ended. Its tools raise from now on.
    pub async fn shutdown(&self) {
        if let Some(mut service) = self.connection.service.lock().await.take()
            && let Err(error) = service.close().await
        {
            tracing::warn!(%error, "the MCP server did not shut down cleanly");
        }
    }
}

//! An open connection, which the tools of a server share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use abyme_core::HostError;
use rmcp::{
    ClientHandler, RoleClient,
    model::{CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation},
    service::{NotificationContext, Peer, RunningService, ServiceError},
};
use tokio::sync::Mutex;

use crate::{
    content::{exception, gone},
    server::McpServer,
    stdio::LastLines,
};

/// What the server is told of this side, and what it tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handler {
    pub(crate) tools_changed: Arc<AtomicBool>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("abyme", env!("CARGO_PKG_VERSION")),
        )
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.tools_changed.store(true, Ordering::Relaxed);
    }
}

/// What all tools of a server share. When it is dropped, the connection is closed and a process ends.
pub(crate) struct Connection {
    pub(crate) server: McpServer,
    pub(crate) stderr: LastLines,
    pub(crate) peer: Peer<RoleClient>,
    /// Until it is shut down.
    pub(crate) service: Mutex<Option<RunningService<RoleClient, Handler>>>,
    pub(crate) tools_changed: Arc<AtomicBool>,
}

impl Connection {
    /// Calls a tool. Dropping the future tells the server that nobody waits any more.
    pub(crate) async fn call(&self, request: CallToolRequestParams) -> Result<CallToolResult, HostError> {
        match self.peer.call_tool(request).await {
            Ok(result) => Ok(result),
            Err(error @ (ServiceError::TransportClosed | ServiceError::TransportSend(_))) => {
                Err(gone(&error, &self.server, &self.stderr.shown().await))
            }
            Err(error) => Err(exception(error, &self.server)),
        }
    }
}

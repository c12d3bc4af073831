//! A `CodeInterpreter` over a driver session: what all backends that start a driver somewhere have in common.

use std::{fmt, sync::Arc};

use abyme_core::{
    Capabilities, Cell, CodeInterpreter, HostFunctions, Observation, Result, runtime::HomeRuntime,
};
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    lazy_session::{LazySession, session_ended},
    session::DriverSession,
};

/// Starts drivers: the part of a backend that is its own. [`DriverInterpreter`] is the rest.
#[async_trait]
pub trait Launcher: Send + Sync + fmt::Debug {
    /// Where the driver's messages come from.
    type Reader: AsyncRead + Unpin + Send + 'static;
    /// Where messages to the driver go.
    type Writer: AsyncWrite + Unpin + Send + 'static;

    /// What the sessions can do, and from what they keep the code.
    fn capabilities(&self) -> &Capabilities;

    /// Starts a new driver and connects to it. [`DriverSession::start`] waits until it is ready.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](abyme_core::ErrorKind::Unavailable) if no driver can be started here. The
    /// message says what is missing.
    async fn launch(&self) -> Result<DriverSession<Self::Reader, Self::Writer>>;

    /// Saves a session that is ready and runs no cell, and leaves it connected to its driver. For backends
    /// that declare `Capabilities::snapshot`; others keep the default.
    ///
    /// # Errors
    /// Why the session was not saved.
    async fn snapshot(&self, session: &mut DriverSession<Self::Reader, Self::Writer>) -> Result<Vec<u8>> {
        let _ = session;
        Err(self.capabilities().refuse("saved to bytes", "snapshot", self.capabilities().snapshot))
    }
}

/// A session that starts its driver when it is first needed. The driver's streams belong to the tokio runtime
/// on which that happens, so a call on another one is refused.
pub struct DriverInterpreter<L: Launcher> {
    launcher: Arc<L>,
    session: LazySession<DriverSession<L::Reader, L::Writer>>,
    /// Where the driver was started.
    home: Option<HomeRuntime>,
}

impl<L: Launcher> DriverInterpreter<L> {
    /// A new session, not started.
    pub fn new(launcher: Arc<L>) -> Self {
        Self { launcher, session: LazySession::default(), home: None }
    }

    /// A session whose driver runs already, on the current runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](abyme_core::ErrorKind::Config) outside of a tokio runtime.
    pub fn started(launcher: Arc<L>, session: DriverSession<L::Reader, L::Writer>) -> Result<Self> {
        let home = Some(HomeRuntime::current()?);
        Ok(Self { launcher, session: LazySession::started(session), home })
    }

    async fn session(&mut self) -> Result<&mut DriverSession<L::Reader, L::Writer>> {
        match self.home {
            Some(home) if self.session.is_started() => home.check()?,
            _ => self.home = Some(HomeRuntime::current()?),
        }
        self.session.get_or_start(|| self.launcher.launch()).await
    }
}

impl<L: Launcher> fmt::Debug for DriverInterpreter<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverInterpreter")
            .field("launcher", &self.launcher)
            .field("ended", &self.session.end_reason())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<L: Launcher> CodeInterpreter for DriverInterpreter<L> {
    fn capabilities(&self) -> &Capabilities {
        self.launcher.capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        self.session().await?.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.session().await?.execute(cell, host).await
    }

    async fn snapshot(&mut self) -> Result<Vec<u8>> {
        let launcher = self.launcher.clone();
        if let Some(reason) = self.session.end_reason() {
            return Err(session_ended(reason));
        }
        if !launcher.capabilities().snapshot {
            return Err(launcher.capabilities().refuse("saved to bytes", "snapshot", false));
        }
        let session = self.session().await?;
        session.start().await?;
        launcher.snapshot(session).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        if let Some(mut session) = self.session.end(DriverSession::ended) {
            session.shutdown().await;
        }
        Ok(())
    }
}

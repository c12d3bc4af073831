//! How a backend presents itself to the suite.

use std::{io::Read, sync::Arc};

use abyme_core::{Capabilities, CodeInterpreter, Error, ErrorKind, InterpreterFactory, Result};
use async_trait::async_trait;

/// How a backend presents itself to the suite. [`FactoryHarness`] is enough for most.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// What a session needs besides itself, and what is dropped after it: a directory, a container. `()` if
    /// nothing.
    type Guard: Send + 'static;

    /// The backend's short name; `ABYME_REQUIRE` uses it.
    fn name(&self) -> &str;

    /// What the backend declares. Cases that need a capability it lacks are shown as ignored, with the
    /// reason.
    fn capabilities(&self) -> &Capabilities;

    /// Checks whether the backend can run on this machine. Called once, before the first case.
    ///
    /// # Errors
    /// The reason why it cannot. Every case is then ignored for this reason, unless `ABYME_REQUIRE` names the
    /// backend.
    async fn prerequisite(&self) -> Result<(), String> {
        Ok(())
    }

    /// Creates a session for one case. The session is dropped first, then the guard.
    ///
    /// # Errors
    /// An error fails the case.
    async fn session(&self) -> Result<(Self::Guard, Box<dyn CodeInterpreter>)>;

    /// Creates a session from a snapshot of another session of this harness (C16). For backends that declare
    /// [`Capabilities::snapshot`].
    ///
    /// # Errors
    /// The backend's error for these bytes. A case examines it.
    async fn restore(&self, snapshot: &[u8]) -> Result<(Self::Guard, Box<dyn CodeInterpreter>)> {
        let _ = snapshot;
        Err(Error::new(ErrorKind::Unsupported, "this harness restores no sessions"))
    }

    /// [`restore`](Self::restore) from bytes that are read as they are needed, as
    /// [`InterpreterFactory::restore_from`] does. By default all of them are read before.
    ///
    /// # Errors
    /// Those of [`restore`](Self::restore), and [`ErrorKind::Io`] if the bytes cannot be read.
    async fn restore_from(
        &self,
        mut snapshot: Box<dyn Read + Send>,
    ) -> Result<(Self::Guard, Box<dyn CodeInterpreter>)> {
        let mut bytes = Vec::new();
        snapshot.read_to_end(&mut bytes).map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        self.restore(&bytes).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Harness + ?Sized> Harness for Arc<T> {
    type Guard = T::Guard;

    fn name(&self) -> &str {
        (**self).name()
    }

    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    async fn prerequisite(&self) -> Result<(), String> {
        (**self).prerequisite().await
    }

    async fn session(&self) -> Result<(Self::Guard, Box<dyn CodeInterpreter>)> {
        (**self).session().await
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<(Self::Guard, Box<dyn CodeInterpreter>)> {
        (**self).restore(snapshot).await
    }

    async fn restore_from(
        &self,
        snapshot: Box<dyn Read + Send>,
    ) -> Result<(Self::Guard, Box<dyn CodeInterpreter>)> {
        (**self).restore_from(snapshot).await
    }
}

/// The harness of any [`InterpreterFactory`]. The backend can run here if one session can be created and
/// started.
#[derive(Clone, Debug)]
pub struct FactoryHarness<F> {
    factory: F,
}

impl<F: InterpreterFactory + 'static> FactoryHarness<F> {
    /// A harness whose sessions come from `factory`.
    pub fn new(factory: F) -> Self {
        Self { factory }
    }
}

#[async_trait]
impl<F: InterpreterFactory + 'static> Harness for FactoryHarness<F> {
    type Guard = ();

    fn name(&self) -> &str {
        self.factory.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.factory.capabilities()
    }

    /// Only [`ErrorKind::Unavailable`] means that the backend cannot run: the cases report any other error.
    async fn prerequisite(&self) -> Result<(), String> {
        let attempt = async {
            let mut session = self.factory.create().await?;
            session.start().await?;
            session.shutdown().await
        };
        match attempt.await {
            Err(error) if error.kind() == ErrorKind::Unavailable => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    async fn session(&self) -> Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.factory.create().await?))
    }

    async fn restore(&self, snapshot: &[u8]) -> Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.factory.restore(snapshot).await?))
    }

    async fn restore_from(&self, snapshot: Box<dyn Read + Send>) -> Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.factory.restore_from(snapshot).await?))
    }
}

/// A session as bytes, in memory or as they come.
pub(crate) enum Snapshot<'a> {
    Bytes(&'a [u8]),
    Reader(Box<dyn Read + Send>),
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Snapshot<'a> {
    fn from(bytes: &'a T) -> Self {
        Self::Bytes(bytes.as_ref())
    }
}

/// A harness without the type of its guard.
#[async_trait]
pub(crate) trait AnyHarness: Send + Sync {
    fn name(&self) -> &str;
    fn capabilities(&self) -> &Capabilities;
    async fn prerequisite(&self) -> Result<(), String>;
    async fn session(&self) -> Result<(Box<dyn Send>, Box<dyn CodeInterpreter>)>;
    async fn restore(&self, snapshot: Snapshot<'_>) -> Result<(Box<dyn Send>, Box<dyn CodeInterpreter>)>;
}

#[async_trait]
impl<T: Harness> AnyHarness for T {
    fn name(&self) -> &str {
        Harness::name(self)
    }

    fn capabilities(&self) -> &Capabilities {
        Harness::capabilities(self)
    }

    async fn prerequisite(&self) -> Result<(), String> {
        Harness::prerequisite(self).await
    }

    async fn session(&self) -> Result<(Box<dyn Send>, Box<dyn CodeInterpreter>)> {
        let (guard, session) = Harness::session(self).await?;
        Ok((Box::new(guard), session))
    }

    async fn restore(&self, snapshot: Snapshot<'_>) -> Result<(Box<dyn Send>, Box<dyn CodeInterpreter>)> {
        let (guard, session) = match snapshot {
            Snapshot::Bytes(bytes) => Harness::restore(self, bytes).await?,
            Snapshot::Reader(reader) => self.restore_from(reader).await?,
        };
        Ok((Box::new(guard), session))
    }
}

//! Python sessions that clients keep: bounded in number, closed when nobody uses them or their client is
//! gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use abyme_core::{
    Cell, CodeInterpreter, CodePolicy, Error, ErrorKind, Inputs, InterpreterFactory, InterpreterFactoryExt,
    NoHostFunctions, Observation, Result, Session,
};
use abyme_listen::random_token;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::RlmServerConfig;

/// The sessions of all clients.
#[derive(Debug)]
pub(crate) struct Sessions {
    factory: Arc<dyn InterpreterFactory>,
    policy: Option<Arc<CodePolicy>>,
    open: Mutex<HashMap<String, Arc<Open>>>,
    slots: Arc<Semaphore>,
    max_sessions: usize,
    pub(crate) idle_timeout: Duration,
    cell_timeout: Duration,
    max_output_chars: usize,
}

#[derive(Debug)]
struct Open {
    session: tokio::sync::Mutex<Session>,
    used: Mutex<Instant>,
    /// The client that it goes with, if it goes with one.
    owner: Option<u64>,
    /// Ends what runs in it.
    closed: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Ends what runs in it, and then the session itself.
    async fn close(&self) -> Result<()> {
        self.closed.cancel();
        self.session.lock().await.shutdown().await
    }
}

impl Sessions {
    pub(crate) fn new(
        factory: Arc<dyn InterpreterFactory>,
        policy: Option<CodePolicy>,
        config: &RlmServerConfig,
    ) -> Self {
        Self {
            factory,
            policy: policy.map(Arc::new),
            open: Mutex::default(),
            slots: Arc::new(Semaphore::new(config.max_sessions)),
            max_sessions: config.max_sessions,
            idle_timeout: config.session_idle_timeout,
            cell_timeout: config.cell_timeout,
            max_output_chars: config.max_output_chars,
        }
    }

    /// The name of the backend.
    pub(crate) fn interpreter(&self) -> &str {
        self.factory.name()
    }

    /// Takes the room for one more session.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if there is none.
    pub(crate) fn slot(&self) -> Result<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().map_err(|_| {
            let message = format!(
                "{} sessions are open, which is as many as this server keeps: close one first",
                self.max_sessions
            );
            Error::new(ErrorKind::InvalidInput, message)
        })
    }

    /// Opens a session with these variables in a [`slot`](Self::slot); what it is known by.
    pub(crate) async fn open(
        &self,
        slot: OwnedSemaphorePermit,
        owner: Option<u64>,
        inputs: &Inputs,
    ) -> Result<String> {
        let id = random_id()?;
        let mut session = self.factory.session().await?.policy(self.policy.clone());
        for (name, value) in inputs.iter() {
            session.set_variable(name, value.clone()).await?;
        }
        let open = Open {
            session: tokio::sync::Mutex::new(session),
            used: Mutex::new(Instant::now()),
            owner,
            closed: CancellationToken::new(),
            _slot: slot,
        };
        self.map().insert(id.clone(), Arc::new(open));
        Ok(id)
    }

    /// Runs code in a session, after what runs in it already. Whether the session goes on is the second part.
    pub(crate) async fn run(
        &self,
        id: &str,
        code: &str,
        timeout: Option<Duration>,
    ) -> Result<(Observation, bool)> {
        let open = self.map().get(id).cloned().ok_or_else(|| unknown(id))?;
        let timeout = timeout.map_or(self.cell_timeout, |given| given.min(self.cell_timeout));
        let run = async {
            let mut session = open.session.lock().await;
            open.touch();
            let cell = Cell::new(code).timeout(timeout).max_output_chars(self.max_output_chars);
            let observed = session.execute(cell, &NoHostFunctions).await;
            open.touch();
            (observed, session.ended().is_none())
        };
        let (observed, goes_on) = tokio::select! {
            ran = run => ran,
            () = open.closed.cancelled() => {
                let message = "the session was closed while the code was running";
                return Err(Error::new(ErrorKind::SessionEnded, message));
            }
        };
        if !goes_on {
            self.map().remove(id);
        }
        Ok((observed?, goes_on))
    }

    /// Closes a session, and ends what runs in it.
    pub(crate) async fn close(&self, id: &str) -> Result<()> {
        let open = self.map().remove(id).ok_or_else(|| unknown(id))?;
        open.close().await
    }

    /// Drops the sessions of a client that is gone, which ends them.
    pub(crate) fn abandon(&self, owner: u64) {
        self.map().retain(|_, open| {
            let is_kept = open.owner != Some(owner);
            if !is_kept {
                open.closed.cancel();
            }
            is_kept
        });
    }

    /// Closes those that nothing runs in and that were not used for long.
    pub(crate) async fn close_idle(&self) {
        let mut idle = Vec::new();
        self.map().retain(|_, open| {
            let is_kept = open.idle() < self.idle_timeout || open.session.try_lock().is_err();
            if !is_kept {
                idle.push(open.clone());
            }
            is_kept
        });
        close_all(idle).await;
    }

    /// Closes all.
    pub(crate) async fn close_all(&self) {
        self.slots.close();
        let all = self.map().drain().map(|(_, open)| open).collect();
        close_all(all).await;
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_all(sessions: Vec<Arc<Open>>) {
    for open in &sessions {
        open.closed.cancel();
    }
    for open in sessions {
        if let Err(error) = open.close().await {
            tracing::warn!(%error, "a session did not shut down cleanly");
        }
    }
}

fn unknown(id: &str) -> Error {
    let id: String = id.chars().take(64).collect();
    let message = format!(
        "there is no session `{id}`: it was closed, or its code ended it, or it was idle for too long; open \
         one with session_open"
    );
    Error::new(ErrorKind::InvalidInput, message)
}

/// An id that cannot be guessed.
pub(crate) fn random_id() -> Result<String> {
    random_token().map_err(|error| Error::new(ErrorKind::Internal, format!("no random numbers: {error}")))
}

//! The server: what it is made of, and the connections that it takes until it ends.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result, Rlm};
use abyme_listen::{Listener, Timeouts, http_connection};
use axum::Router;
use hyper_util::service::TowerToHyperService;
use indexmap::IndexMap;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    config::ServeConfig,
    key::Key,
    keyring::Keyring,
    routes,
    shared::Shared,
    task::{self, ANSWER},
};

/// How long cancelled runs may take to end their sessions, and connections to send their last words.
const END_GRACE: Duration = Duration::from_secs(5);

/// An OpenAI-compatible server of one or more [`Rlm`]s whose task is [`signature`](crate::signature).
///
/// ```no_run
/// # async fn example(model: impl abyme_core::LanguageModel + 'static,
/// #                  backend: impl abyme_core::InterpreterFactory + 'static,
/// #                  ctrl_c: impl Future<Output = ()>) -> abyme_core::Result<()> {
/// use abyme_core::Rlm;
/// use abyme_serve::{Key, Server, signature};
///
/// let rlm = Rlm::builder(signature()?).model(model).interpreter(backend).build()?;
/// let server = Server::new("abyme", rlm).key(Key::new("alice", "a-token-of-32-characters-or-more")?);
/// let bound = server.bind("127.0.0.1:8700".parse().expect("an address")).await?;
/// println!("{}", bound.url());
/// bound.serve(ctrl_c).await
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing until `bind` is called"]
pub struct Server {
    models: IndexMap<String, Rlm>,
    keys: Vec<Key>,
    is_open: bool,
    config: ServeConfig,
}

/// A server that has its address, and takes connections once [`serve`](Self::serve) is awaited. Made by
/// [`Server::bind`].
#[derive(Debug)]
pub struct BoundServer {
    listener: Listener,
    shared: Arc<Shared>,
}

impl Server {
    /// A server of an [`Rlm`], which clients ask for by this name.
    pub fn new(name: impl Into<String>, rlm: Rlm) -> Self {
        let models = IndexMap::from([(name.into(), rlm)]);
        Self { models, keys: Vec::new(), is_open: false, config: ServeConfig::default() }
    }

    /// Adds an [`Rlm`] under a name of its own.
    pub fn model(mut self, name: impl Into<String>, rlm: Rlm) -> Self {
        self.models.insert(name.into(), rlm);
        self
    }

    /// Lets the clients of a key in.
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Lets the clients of these keys in.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Lets every program of this machine in, without a token. The server can then be bound to a loopback
    /// address only.
    pub fn without_keys(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Sets what the server allows.
    pub fn config(mut self, config: ServeConfig) -> Self {
        self.config = config;
        self
    }

    /// Checks everything and listens; port 0 is one that is free. Connections are not encrypted: where they
    /// come from other machines, a proxy in front of the server has to do that.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no key, or none is needed and the address is not of this machine
    /// alone; for a task that is not that of [`signature`](crate::signature), a budget in dollars with a
    /// model whose price is not known, and settings that cannot work. [`ErrorKind::Io`] if the address cannot
    /// be had, or a file or directory of the configuration cannot be used.
    pub async fn bind(self, address: SocketAddr) -> Result<BoundServer> {
        let Self { models, keys, is_open, config } = self;
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        match (keys.is_empty(), is_open) {
            (true, false) => return wrong("the server has no key, so it would let nobody in"),
            (false, true) => return wrong("the server has keys, and is to let everybody in without one"),
            (true, true) if !address.ip().is_loopback() => {
                return wrong(
                    "without a token the server listens on a loopback address only, such as 127.0.0.1",
                );
            }
            _ => {}
        }
        config.check()?;
        let counts_cost = keys.iter().any(|key| key.limits.max_cost_per_day.is_some());
        for (name, rlm) in &models {
            check_model(rlm, counts_cost).await.map_err(|error| error.context(format!("model `{name}`")))?;
        }
        if let Some(directory) = &config.trace_dir {
            std::fs::create_dir_all(directory).map_err(|error| {
                let message = format!("cannot make the directory `{}`: {error}", directory.display());
                Error::new(ErrorKind::Io, message).with_source(error)
            })?;
        }
        let keyring = Keyring::new(keys, config.usage_file.clone())?;
        let listener = Listener::bind(address, config.max_connections).await.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot listen on {address}: {error}")).with_source(error)
        })?;
        Ok(BoundServer { listener, shared: Shared::new(config, models, keyring) })
    }
}

/// Finds what would fail in every run, by one that is cancelled before it does anything.
async fn check_model(rlm: &Rlm, counts_cost: bool) -> Result<()> {
    if rlm.signature().output(ANSWER).is_none() {
        let message = format!("its task has no output `{ANSWER}`: begin it with `abyme_serve::signature()`");
        return Err(Error::new(ErrorKind::Config, message));
    }
    let run = rlm.run(task::inputs(String::new(), Vec::new(), String::new()));
    let run = run.limits(|own| if counts_cost { own.max_cost(1.0) } else { own });
    run.cancel_handle().cancel();
    match run.await {
        Err(error) if error.kind() != ErrorKind::Cancelled => Err(error),
        _ => Ok(()),
    }
}

impl BoundServer {
    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The base URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address())
    }

    /// Serves until `shutdown` is done. Then nothing new begins, requests that wait are refused, and runs at
    /// work have the [`shutdown_grace`](ServeConfig::shutdown_grace) to end before they are cancelled.
    /// Dropping this future ends the connections, and with them all runs.
    ///
    /// # Errors
    /// None: a connection that fails is its client's affair.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { listener, shared } = self;
        let router = routes::router(shared.clone());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => {
                    let served = connection(accepted.stream, router.clone(), shared.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(accepted.place);
                    });
                }
            }
        }
        // From now on connections are refused.
        drop(listener);
        shared.close();
        let grace = shared.config.shutdown_grace;
        if tokio::time::timeout(grace, all_ended(&shared, &mut connections)).await.is_err() {
            shared.end();
            tokio::time::timeout(END_GRACE, all_ended(&shared, &mut connections)).await.ok();
        }
        connections.shutdown().await;
        Ok(())
    }
}

/// Waits until no run is left, and no connection.
async fn all_ended(shared: &Shared, connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
    shared.queue.is_empty().await;
}

/// Answers the requests of a connection, until it is closed, breaks, is idle for too long or takes nothing of
/// its answer.
async fn connection(stream: TcpStream, router: Router, shared: Arc<Shared>) {
    let _open = shared.metrics.connection();
    let timeouts = Timeouts::default()
        .header_timeout(shared.config.header_timeout)
        .write_timeout(shared.config.write_timeout);
    let mut served = pin!(http_connection(stream, timeouts, TowerToHyperService::new(router)));
    // What goes wrong here is the client's doing.
    tokio::select! {
        ended = served.as_mut() => drop(ended),
        () = shared.closing() => {
            served.as_mut().graceful_shutdown();
            served.await.ok();
        }
    }
}

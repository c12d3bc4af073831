//! How a model presents itself to the suite.

use std::{fmt, sync::Arc};

use abyme_core::{Error, ErrorKind, LanguageModel, Result};
use async_trait::async_trait;

use super::{
    need::ModelNeed, provider::Provider, server::StandInServer, stand_in::StandInModel,
    wire::format::WireFormat,
};

/// How a model presents itself to the suite. [`ServerHarness`] is enough for most clients, and
/// [`WrapperHarness`] for most wrappers.
#[async_trait]
pub trait ModelHarness: Send + Sync + 'static {
    /// A short name of the model; `ABYME_REQUIRE` uses it.
    fn name(&self) -> &str;

    /// What the model cannot do. Cases that need it are shown as ignored, with this reason.
    fn lacks(&self) -> &[ModelNeed] {
        &[]
    }

    /// Checks whether the model can be examined on this machine. Called once, before the first case.
    ///
    /// # Errors
    /// The reason why it cannot. Every case is then ignored for this reason, unless `ABYME_REQUIRE` names the
    /// model.
    async fn prerequisite(&self) -> Result<(), String> {
        Ok(())
    }

    /// Makes a model of `provider`, and what has to live as long as it. The model is dropped first.
    ///
    /// # Errors
    /// An error fails the case.
    async fn model(&self, provider: Provider) -> Result<(Box<dyn LanguageModel>, Box<dyn Send>)>;
}

type Make<T> = dyn Fn(T) -> Box<dyn LanguageModel> + Send + Sync;

/// The harness of a client, whose provider is a [`StandInServer`].
#[derive(Clone)]
pub struct ServerHarness {
    name: String,
    format: Arc<dyn WireFormat>,
    lacks: Vec<ModelNeed>,
    make: Arc<Make<String>>,
}

impl fmt::Debug for ServerHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHarness").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ServerHarness {
    /// The harness of the clients that `make` makes. It is given the URL of a server, without a slash at its
    /// end, and has to give the client [`KEY`](super::KEY).
    pub fn new<M: LanguageModel + 'static>(
        name: impl Into<String>,
        format: impl WireFormat,
        make: impl Fn(String) -> M + Send + Sync + 'static,
    ) -> Self {
        let make = move |url| -> Box<dyn LanguageModel> { Box::new(make(url)) };
        Self { name: name.into(), format: Arc::new(format), lacks: Vec::new(), make: Arc::new(make) }
    }

    /// Sets what the client cannot do.
    pub fn lacks(mut self, needs: impl Into<Vec<ModelNeed>>) -> Self {
        self.lacks = needs.into();
        self
    }
}

#[async_trait]
impl ModelHarness for ServerHarness {
    fn name(&self) -> &str {
        &self.name
    }

    fn lacks(&self) -> &[ModelNeed] {
        &self.lacks
    }

    async fn model(&self, provider: Provider) -> Result<(Box<dyn LanguageModel>, Box<dyn Send>)> {
        let server = StandInServer::start_shared(self.format.clone(), provider).await.map_err(|error| {
            Error::new(ErrorKind::Io, "the stand-in server cannot be started").with_source(error)
        })?;
        Ok(((self.make)(server.url()), Box::new(server)))
    }
}

/// The harness of a wrapper, around a [`StandInModel`].
#[derive(Clone)]
pub struct WrapperHarness {
    name: String,
    lacks: Vec<ModelNeed>,
    make: Arc<Make<StandInModel>>,
}

impl fmt::Debug for WrapperHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrapperHarness").field("name", &self.name).finish_non_exhaustive()
    }
}

impl WrapperHarness {
    /// The harness of the models that `wrap` makes of the one that it is given.
    pub fn new<M: LanguageModel + 'static>(
        name: impl Into<String>,
        wrap: impl Fn(StandInModel) -> M + Send + Sync + 'static,
    ) -> Self {
        let make = move |model| -> Box<dyn LanguageModel> { Box::new(wrap(model)) };
        Self { name: name.into(), lacks: vec![ModelNeed::Wire], make: Arc::new(make) }
    }

    /// Adds what the wrapper cannot do. None of them has a wire.
    pub fn lacks(mut self, needs: impl IntoIterator<Item = ModelNeed>) -> Self {
        self.lacks.extend(needs);
        self
    }
}

#[async_trait]
impl ModelHarness for WrapperHarness {
    fn name(&self) -> &str {
        &self.name
    }

    fn lacks(&self) -> &[ModelNeed] {
        &self.lacks
    }

    async fn model(&self, provider: Provider) -> Result<(Box<dyn LanguageModel>, Box<dyn Send>)> {
        Ok(((self.make)(StandInModel::new(provider)), Box::new(())))
    }
}

//! The model: one pool of connections, tries, and the facts that every error carries.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use abyme_core::{Error, ErrorKind, LanguageModel, Request, Response, Result};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Client;
use tokio::time::Instant;

use crate::{
    OpenAiConfig,
    failure::Asked,
    provider::Endpoint,
    secret::Mask,
    transport::{self, Allowance},
    wire,
};

/// A model behind an OpenAI-compatible chat completions API. Clones share their connections.
#[derive(Clone)]
pub struct OpenAiModel(Arc<Inner>);

struct Inner {
    name: String,
    ready: Result<Ready, Mistake>,
}

/// All that a call needs.
struct Ready {
    config: OpenAiConfig,
    endpoint: Endpoint,
    /// What the model is called at the endpoint.
    model: String,
    client: Client,
    mask: Mask,
}

/// An error of the configuration, kept for whoever asks first.
struct Mistake {
    kind: ErrorKind,
    message: String,
}

impl OpenAiModel {
    /// This model, with the key and all else from the environment as
    /// [`OpenAiConfig::from_env_for`] finds it. Mistakes show at the first call, or by [`check`](Self::check).
    ///
    /// ```no_run
    /// use abyme_model_openai::OpenAiModel;
    ///
    /// let model = OpenAiModel::new("gpt-5-mini");
    /// model.check()?;
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    pub fn new(model: impl Into<String>) -> Self {
        let name = model.into();
        let ready = OpenAiConfig::from_env_for(&name).and_then(Ready::new);
        let ready =
            ready.map_err(|error| Mistake { kind: error.kind(), message: error.message().to_owned() });
        Self(Arc::new(Inner { name, ready }))
    }

    /// The model that the environment or `.env` configures: see [`OpenAiConfig::from_env`].
    ///
    /// # Errors
    /// `Config` or `Auth`, with what to set.
    pub fn from_env() -> Result<Self> {
        Self::from_config(OpenAiConfig::from_env()?)
    }

    /// A model as configured. Nothing is read from the environment, and nothing is sent yet.
    ///
    /// ```
    /// use abyme_model_openai::{OpenAiConfig, OpenAiModel};
    ///
    /// let config = OpenAiConfig::new("openai/qwen3").base_url("http://localhost:8000/v1");
    /// let model = OpenAiModel::from_config(config)?;
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` if it cannot work as given, `Auth` if a well-known provider's key is missing.
    pub fn from_config(config: OpenAiConfig) -> Result<Self> {
        let name = config.model.clone();
        Ok(Self(Arc::new(Inner { name, ready: Ok(Ready::new(config)?) })))
    }

    /// Whether this model is configured so that it can be called. Asks nobody.
    ///
    /// # Errors
    /// See [`from_config`](Self::from_config).
    pub fn check(&self) -> Result<()> {
        self.ready().map(drop)
    }

    fn ready(&self) -> Result<&Ready> {
        self.0.ready.as_ref().map_err(|mistake| {
            let error = Error::new(mistake.kind, &mistake.message).operation("OpenAiModel::new");
            error.with("model", &self.0.name)
        })
    }
}

impl Ready {
    fn new(config: OpenAiConfig) -> Result<Self> {
        let endpoint = config.check()?;
        let model = endpoint.model_name(&config.model)?;
        let client = transport::client(&config, &endpoint)?;
        let mask = config.mask();
        Ok(Self { config, endpoint, model, client, mask })
    }

    async fn try_once(
        &self,
        model: &str,
        body: Bytes,
        limit: Option<Duration>,
        retry: u32,
    ) -> Result<Response> {
        let Endpoint { host, url, .. } = &self.endpoint;
        let start = Instant::now();
        tracing::debug!(model, %host, retry, bytes = body.len(), "asking the model");
        let allowed = Allowance::new(&self.config, limit);
        let reply = transport::exchange(&self.client, &self.endpoint, body, allowed).await?;
        let asked = Asked { host, path: url.path(), model, mask: &self.mask };
        let request_id = asked.request_id(&reply.headers).unwrap_or_default();
        let (status, bytes, seconds) =
            (reply.status.as_u16(), reply.body.len(), start.elapsed().as_secs_f64());
        tracing::debug!(model, %host, status, bytes, seconds, request_id, "the model's provider answered");
        asked.response(&reply)
    }
}

#[async_trait]
impl LanguageModel for OpenAiModel {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn check(&self) -> Result<()> {
        OpenAiModel::check(self)
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let ready = self.ready()?;
        let model = match &request.model {
            Some(other) => ready.endpoint.model_name(other)?,
            None => ready.model.clone(),
        };
        let body = wire::body(request, &model, ready.endpoint.max_tokens_field(), &ready.config)?;
        let start = Instant::now();
        let (tries, malformed) = (AtomicU32::new(0), AtomicU32::new(0));
        let outcome = ready.config.retry.run(async |retry| {
            tries.store(retry + 1, Ordering::Relaxed);
            let outcome = ready.try_once(&model, body.clone(), request.timeout, retry).await;
            outcome.map_err(|error| {
                // A provider that does not speak the protocol will not learn it: one more chance, not all of them.
                let again = error.kind() == ErrorKind::MalformedReply
                    && malformed.fetch_add(1, Ordering::Relaxed) > 0;
                if again { error.permanent() } else { error }
            })
        });
        outcome.await.map_err(|error| {
            // The policy adds the number of tries only where there was more than one.
            let error = if tries.load(Ordering::Relaxed) == 1 { error.with("tries", 1) } else { error };
            error
                .operation("OpenAiModel::complete")
                .with("model", &model)
                .with("host", &ready.endpoint.host)
                .with("elapsed", format_args!("{:.3} s", start.elapsed().as_secs_f64()))
        })
    }
}

impl fmt::Debug for OpenAiModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.ready.as_ref().ok().map(|ready| &ready.endpoint.host);
        f.debug_struct("OpenAiModel").field("name", &self.0.name).field("host", &host).finish()
    }
}

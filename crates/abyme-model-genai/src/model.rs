//! The model: its settings, and one client of genai.

use std::{fmt, sync::Arc, time::Duration};

use abyme_core::{
    Delta, Error, ErrorKind, FinishReason, LanguageModel, Price, PriceTable, Request, Response,
    ResponseStream, Result, model::collect, runtime::HomeRuntime,
};
use abyme_model_http::{Exchange, Headers, HttpClient, Lazy, Secret, base_url, host_of};
use async_trait::async_trait;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use genai::{
    Client, ModelIden,
    chat::{ChatStream, StreamEnd},
    resolver::{AuthData, Endpoint, ProviderConfig},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{
    config::{Config, identify},
    failure,
    reply::Reply,
    request,
};

/// The longest call, where neither the request nor the configuration limits it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A model of one of the providers that the crate genai knows.
///
/// [`new`](Self::new) and the chained setters configure it; nothing is sent before the first call. One call
/// is one try: [`with_retry`](abyme_core::LanguageModelExt::with_retry) wraps a model that is used without an
/// `Rlm`. Clones share their connections.
///
/// `Debug` does not show keys, and serialising writes the configuration without them.
///
/// ```
/// use abyme_model_genai::Genai;
///
/// let model = Genai::new("cohere/command-a-03-2025").api_key("...");
/// model.check()?;
/// # Ok::<(), abyme_core::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Genai(Arc<Inner>);

struct Inner {
    config: Config,
    resolved: Lazy<Resolved>,
}

/// All that a call needs.
struct Resolved {
    client: Client,
    http: HttpClient,
    model: ModelIden,
    host: String,
}

/// The constructors and the settings.
impl Genai {
    /// A model by its provider and its name there: `cohere/command-a-03-2025`, `vertex/gemini-3-flash`,
    /// `bedrock/anthropic.claude-haiku-4-5-v1:0`.
    ///
    /// The key comes from the provider's own variable of the environment, as genai names it
    /// (`COHERE_API_KEY`, `BEDROCK_API_KEY`, ...), unless [`api_key`](Self::api_key) or
    /// [`base_url`](Self::base_url) is set.
    pub fn new(model: impl Into<String>) -> Self {
        Self::from(Config::new(model))
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.0.config.clone();
        change(&mut config);
        Self::from(config)
    }

    /// Sets where the API is. Default: the provider's own endpoint.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        self.with(|config| config.base_url = Some(url.into()))
    }

    /// Sets the key.
    pub fn api_key(self, key: impl Into<Secret>) -> Self {
        self.with(|config| config.api_key = Some(key.into()))
    }

    /// Sets the most tokens of a reply, unless the request says. Default: what genai or the provider sets.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.max_tokens = tokens.into())
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        self.with(|config| config.temperature = temperature.into())
    }

    /// Sets how much effort the model takes, as genai names it: `none`, `low`, `medium`, `high`. Default: the
    /// model's own.
    pub fn effort(self, effort: impl Into<Option<String>>) -> Self {
        self.with(|config| config.effort = effort.into())
    }

    /// Adds a field to each request's body.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|config| drop(config.extra_body.insert(field.into(), value.into())))
    }

    /// Replaces the fields added to each request's body.
    pub fn extra_body(self, fields: Map<String, Value>) -> Self {
        self.with(|config| config.extra_body = fields)
    }

    /// Sets what the model's tokens cost. Default: not known.
    pub fn with_price(self, price: impl Into<Option<Price>>) -> Self {
        self.with(|config| config.price = price.into())
    }

    /// Sets what `prices` says of this model, by the name it was given here: its price and how many tokens a
    /// request may have. Changes nothing if the table does not know the model.
    pub fn with_prices(self, prices: &PriceTable) -> Self {
        match prices.find(&self.0.config.model).copied() {
            None => self,
            Some(facts) => self.with(|config| {
                config.price = Some(facts.price);
                config.max_input_tokens = facts.max_input_tokens.or(config.max_input_tokens);
            }),
        }
    }

    /// Sets how many tokens a request may have. Default: not known.
    pub fn with_max_input_tokens(self, tokens: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_input_tokens = tokens.into())
    }

    /// Checks whether the model can be called as it is configured. Sends nothing.
    ///
    /// # Errors
    /// `Config` if it cannot work as configured, `Auth` if the key is missing.
    pub fn check(&self) -> Result<()> {
        self.resolved().map(drop)
    }

    fn resolved(&self) -> Result<&Resolved> {
        let resolved = self.0.resolved.get(|| self.0.resolve());
        resolved.map_err(|error| error.operation("Genai::check").with("model", &self.0.config.model))
    }
}

abyme_model_http::http_settings!(Genai);

impl Inner {
    fn resolve(&self) -> Result<Resolved> {
        let config = &self.config;
        let url = config.check()?;
        let model = identify(&config.model)?;
        let mut headers = Headers::default();
        if let Some(key) = &config.api_key {
            headers = headers.masking(key);
        }
        // genai makes the address of each request from its own table; what is needed here is that it is
        // HTTPS.
        let somewhere = base_url("https://provider.invalid")?;
        let http = HttpClient::new(url.as_ref().unwrap_or(&somewhere), &config.http, headers)?;
        let mut provider = ProviderConfig::default();
        if let Some(url) = &url {
            provider = provider.with_endpoint(Endpoint::from_owned(url.as_str()));
            // The key of the environment does not go to a host that the code names.
            provider = provider.with_auth(AuthData::from_single(""));
        }
        if let Some(key) = &config.api_key {
            provider = provider.with_auth(AuthData::from_single(key.expose()));
        }
        let client = Client::builder()
            .with_reqwest(http.reqwest().clone())
            .append_provider_config(model.adapter_kind, provider)
            .build()
            .map_err(|_| Error::new(ErrorKind::Config, "genai's client cannot be set up"))?;
        let host = url.as_ref().map_or_else(|| model.adapter_kind.as_lower_str().to_owned(), host_of);
        Ok(Resolved { client, http, model, host })
    }
}

impl Resolved {
    /// The reply to a request, in pieces as they come.
    async fn open(&self, request: &Request, config: &Config) -> Result<ResponseStream<'static>> {
        // Timers and sockets need one, and panic without.
        HomeRuntime::current()?;
        let model = match &request.model {
            Some(other) => identify(other)?,
            None => self.model.clone(),
        };
        if model.adapter_kind != self.model.adapter_kind {
            let message = format!("`{}` is a model of another provider", model.model_name);
            return Err(Error::new(ErrorKind::Config, message));
        }
        let total = request.timeout.into_iter().chain(config.http.timeout).min().unwrap_or(DEFAULT_TIMEOUT);
        let exchange = Exchange::new(&self.http, "/", &model.model_name);
        let (chat, options) = (request::chat(request), request::options(request, config));
        let opened = self.client.exec_chat_stream(model, chat, Some(&options));
        let opened = opened.with_subscriber(NoSubscriber::new()).await;
        let stream = opened.map_err(|error| failure::error(error, &exchange, &self.host))?.stream;
        let reading = Reading {
            stream,
            exchange,
            host: self.host.clone(),
            reply: Reply::default(),
            deadline: Instant::now() + total,
            total,
            most: config.http.max_body_bytes,
            is_over: false,
        };
        Ok(reading.deltas().boxed())
    }
}

/// A reply that is being read.
struct Reading {
    stream: ChatStream,
    exchange: Exchange,
    host: String,
    reply: Reply,
    deadline: Instant,
    total: Duration,
    most: usize,
    is_over: bool,
}

impl Reading {
    fn deltas(self) -> impl Stream<Item = Result<Delta>> + Send {
        stream::unfold(self, async |mut reading| {
            if reading.is_over {
                return None;
            }
            let next = reading.next().await;
            reading.is_over = !matches!(next, Ok(Delta::Text(_) | Delta::Reasoning(_)));
            Some((next, reading))
        })
    }

    async fn next(&mut self) -> Result<Delta> {
        loop {
            if self.reply.bytes() > self.most {
                let cut = self.reply.response(&StreamEnd::default());
                return Ok(Delta::Done(cut.finish_reason(FinishReason::Length)));
            }
            // genai writes what providers answer into the log, where a key could be.
            let next = self.stream.next().with_subscriber(NoSubscriber::new());
            let host = &self.host;
            let Ok(next) = timeout_at(self.deadline, next).await else {
                let message =
                    format!("{host} was not done within {} s (total timeout)", self.total.as_secs_f64());
                return Err(Error::new(ErrorKind::ModelTimeout, message));
            };
            match next {
                None => {
                    let message = format!("the answer of {host} ended before the reply did");
                    return Err(Error::new(ErrorKind::Connection, message));
                }
                Some(Err(error)) => return Err(failure::error(error, &self.exchange, host)),
                Some(Ok(event)) => {
                    if let Some(delta) = self.reply.take(event) {
                        return Ok(delta);
                    }
                }
            }
        }
    }
}

impl From<Config> for Genai {
    fn from(config: Config) -> Self {
        Self(Arc::new(Inner { config, resolved: Lazy::default() }))
    }
}

impl From<Genai> for Config {
    fn from(model: Genai) -> Self {
        model.0.config.clone()
    }
}

#[async_trait]
impl LanguageModel for Genai {
    fn name(&self) -> &str {
        &self.0.config.model
    }

    fn check(&self) -> Result<()> {
        Genai::check(self)
    }

    fn price(&self) -> Option<Price> {
        self.0.config.price
    }

    fn max_input_tokens(&self) -> Option<u64> {
        self.0.config.max_input_tokens
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        collect(self.stream(request)).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let price = self.0.config.price;
        let with_cost = move |delta| match delta {
            Delta::Done(mut response) => {
                let usage = &mut response.usage;
                usage.cost = usage.cost.or_else(|| price?.of(usage));
                Delta::Done(response)
            }
            other => other,
        };
        let opened = stream::once(async { self.resolved()?.open(request, &self.0.config).await });
        let about = |error: Error| error.operation("Genai::complete").with("model", &self.0.config.model);
        opened.try_flatten().map_ok(with_cost).map_err(about).boxed()
    }
}

impl fmt::Debug for Genai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.config.fmt(f)
    }
}

//! The model: its settings, one pool of connections, and the facts that every error carries.

use std::{fmt, path::Path, sync::Arc};

use abyme_core::{
    Delta, Error, LanguageModel, ModelFacts, Price, PriceTable, Request, Response, ResponseStream, Result,
    model::{collect, pieces},
    runtime::HomeRuntime,
};
use abyme_model_http::{
    Answer, Configured, Exchange, HttpClient, Lazy, Learned, ProviderError, Secret, Sources, Url, deltas,
    host_of, json, reply_in,
};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    config::{Config, PROVIDER, is_own, models_url, stream_url},
    demands::{Demands, Sent},
    reply::{self, Reply},
    request,
};

/// A model behind Google's Gemini API.
///
/// [`new`](Self::new) and the chained setters configure it; nothing is sent before the first call. One call
/// is one try: [`with_retry`](abyme_core::LanguageModelExt::with_retry) wraps a model that is used without an
/// `Rlm`. Clones share their connections; a setter on a clone starts a pool of its own.
///
/// `Debug` does not show keys, and serialising writes the configuration without them. Deserialising reads
/// keys too, and takes nothing from the environment.
///
/// ```
/// use abyme_model_gemini::Gemini;
///
/// let model = Gemini::new("gemini-3-flash-preview").api_key("AIza...").thinking_budget(4_000);
/// model.check()?;
/// assert_eq!(model.host(), Some("generativelanguage.googleapis.com"));
/// # Ok::<(), abyme_core::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct Gemini(Arc<Inner>);

struct Inner {
    config: Config,
    /// Whether the environment gives what the configuration leaves open.
    uses_environment: bool,
    resolved: Lazy<Resolved>,
}

/// All that a call needs.
struct Resolved {
    config: Config,
    url: Url,
    host: String,
    client: HttpClient,
    table: PriceTable,
    learned: Learned<Demands>,
}

/// The constructors.
impl Gemini {
    /// A model by its name (`gemini-3-flash-preview`), with or without `gemini/` before it.
    ///
    /// The key, the base URL and the most tokens of a reply come from the environment or `.env`, by the rules
    /// of [`from_env`](Self::from_env), at the first use. As soon as [`base_url`](Self::base_url),
    /// [`api_key`](Self::api_key) or a header with a key is set, nothing is read from the environment: its
    /// key does not go to a host that the code names, nor the code's key to a host that the environment
    /// names.
    pub fn new(model: impl Into<String>) -> Self {
        Self::with_config(Config::new(model), true)
    }

    /// The model that the environment configures, or else a `.env` in the working directory or the nearest
    /// parent that has one. A variable that is set in both has its value from the environment; an empty one
    /// is not set.
    ///
    /// Each list is in order: the first variable that is set counts.
    /// - The model: `ABYME_MODEL`, `DSPY_LM_MODEL`.
    /// - The base URL: `GOOGLE_GEMINI_BASE_URL`. `ABYME_API_BASE` is one of an OpenAI-compatible server, and
    ///   not read here.
    /// - The key: `ABYME_API_KEY`, `DSPY_LLM_API_KEY`, `DSPY_LM_API_KEY`, if the environment's own model
    ///   begins with `gemini/`; `GEMINI_API_KEY`, `GOOGLE_API_KEY`.
    /// - The most tokens of a reply: `DSPY_LM_MAX_TOKENS`.
    ///
    /// A base URL that only `.env` gives does not receive a key from outside that file: a folder should not
    /// decide alone where the key of the account goes.
    ///
    /// # Errors
    /// `NotConfigured` if no model is configured; `Config` if a variable, or its line in `.env`, cannot be
    /// used. No value of a key, and no line of the file, is in the message. A missing key shows at the first
    /// call, or by [`check`](Self::check).
    pub fn from_env() -> Result<Self> {
        let sources = Sources::of_process(&|name| PROVIDER.reads(name))?;
        Ok(Self::with_config(configured(PROVIDER.configured(&sources, None)?), false))
    }

    /// Like [`from_env`](Self::from_env), with these variables, and `.env` looked for from `directory` on.
    ///
    /// ```
    /// use abyme_core::LanguageModel;
    /// use abyme_model_gemini::Gemini;
    ///
    /// let vars = |name: &str| match name {
    ///     "ABYME_MODEL" => Some("gemini/gemini-3-flash-preview".to_owned()),
    ///     "GEMINI_API_KEY" => Some("AIza123".to_owned()),
    ///     _ => None,
    /// };
    /// let model = Gemini::from_vars(&vars, std::path::Path::new("/nowhere"))?;
    /// assert!(model.has_api_key() && model.name() == "gemini/gemini-3-flash-preview");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`from_env`](Self::from_env).
    pub fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Self> {
        let sources = Sources::read(vars, directory, &|name| PROVIDER.reads(name));
        Ok(Self::with_config(configured(PROVIDER.configured(&sources, None)?), false))
    }

    fn with_config(config: Config, uses_environment: bool) -> Self {
        Self(Arc::new(Inner { config, uses_environment, resolved: Lazy::default() }))
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.0.config.clone();
        change(&mut config);
        let uses_environment = self.0.uses_environment && !config.names_endpoint_or_key();
        Self::with_config(config, uses_environment)
    }
}

fn configured(found: Configured) -> Config {
    let Configured { model, base_url, api_key, max_tokens, .. } = found;
    Config { base_url, api_key, max_tokens, ..Config::new(model) }
}

/// The settings.
impl Gemini {
    /// Sets where the API is, with or without a version (`/v1beta`) at its end. Default:
    /// `https://generativelanguage.googleapis.com`.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        self.with(|config| config.base_url = Some(url.into()))
    }

    /// Sets the key. Servers other than Google's own may do without.
    pub fn api_key(self, key: impl Into<Secret>) -> Self {
        self.with(|config| config.api_key = Some(key.into()))
    }

    /// Sets the most tokens of a reply, its thoughts included, unless the request says. Default: the model's
    /// own limit.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.max_tokens = tokens.into())
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        self.with(|config| config.temperature = temperature.into())
    }

    /// Sets how many tokens the model may think before it answers; 0 turns thinking off, where the model can
    /// do without. It is not sent again to a model that refuses it. Default: the model's own way.
    pub fn thinking_budget(self, tokens: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.thinking_budget = tokens.into())
    }

    /// Sets whether the model says what it thinks: [`Response::reasoning`]. Default: no.
    pub fn thoughts(self, thoughts: bool) -> Self {
        self.with(|config| config.thoughts = thoughts)
    }

    /// Sets how much effort the model takes, from Gemini 3 on: `minimal`, `low`, `medium`, `high`. Such
    /// models want that in place of a budget. Default: the model's own.
    pub fn effort(self, effort: impl Into<Option<String>>) -> Self {
        self.with(|config| config.effort = effort.into())
    }

    /// Adds a field to each request's body, such as `safetySettings`. It wins over ours; one that is `null`
    /// leaves ours out. The fields of `generationConfig` are added one by one.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|config| drop(config.extra_body.insert(field.into(), value.into())))
    }

    /// Replaces the fields added to each request's body.
    pub fn extra_body(self, fields: Map<String, Value>) -> Self {
        self.with(|config| config.extra_body = fields)
    }

    /// Sets what the model's tokens cost.
    ///
    /// Default: what the built-in [`PriceTable`] says, if the endpoint is Google's own and
    /// [`extra_body`](Self::extra_body) sets no tier and no tools.
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

    /// Sets how many tokens a request may have. Default: what the built-in [`PriceTable`] says, if the
    /// endpoint is Google's own.
    pub fn with_max_input_tokens(self, tokens: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_input_tokens = tokens.into())
    }
}

abyme_model_http::http_settings!(Gemini);

/// What it resolves to.
impl Gemini {
    /// Checks whether the model can be called as it is configured. Sends nothing.
    ///
    /// # Errors
    /// `Config` if it cannot work as configured, `Auth` if the key is missing.
    pub fn check(&self) -> Result<()> {
        self.resolved().map(drop)
    }

    /// The host that requests go to, with its port if the URL has one; `None` if [`check`](Self::check)
    /// fails.
    pub fn host(&self) -> Option<&str> {
        self.resolved().ok().map(|resolved| resolved.host.as_str())
    }

    /// Whether requests carry an API key, set in code or found in the environment.
    pub fn has_api_key(&self) -> bool {
        self.resolved().map_or(&self.0.config, |resolved| &resolved.config).api_key.is_some()
    }

    /// The names of the models that the server has.
    ///
    /// # Errors
    /// Those of a call, and `MalformedReply` if the answer is no list of models, as that of a server which
    /// does not tell.
    pub async fn available_models(&self) -> Result<Vec<String>> {
        // Timers and sockets need one, and panic without.
        HomeRuntime::current()?;
        let Resolved { client, url, .. } = self.resolved()?;
        let listed = client.models(&models_url(url), "models", "name").await;
        // The API lists `models/gemini-x` and is asked for `gemini-x`.
        let plain = |name: String| name.strip_prefix("models/").map(str::to_owned).unwrap_or(name);
        let listed = listed.map(|names| names.into_iter().map(plain).collect());
        listed.map_err(|error| self.about(error.operation("Gemini::available_models")))
    }

    /// An error with what it is about.
    fn about(&self, error: Error) -> Error {
        let error = error.with("model", &self.0.config.model);
        self.host().into_iter().fold(error, |error, host| error.with("host", host))
    }

    fn resolved(&self) -> Result<&Resolved> {
        let resolved = self.0.resolved.get(|| self.0.resolve());
        resolved.map_err(|error| error.operation("Gemini::check").with("model", &self.0.config.model))
    }
}

impl Inner {
    fn resolve(&self) -> Result<Resolved> {
        let mut config = self.config.clone();
        if self.uses_environment {
            let sources = Sources::of_process(&|name| PROVIDER.reads(name))?;
            let found = PROVIDER.configured(&sources, Some(config.model.clone()))?;
            (config.base_url, config.api_key) = (found.base_url, found.api_key);
            config.max_tokens = config.max_tokens.or(found.max_tokens);
        }
        let url = config.check()?;
        let client = HttpClient::new(&url, &config.http, config.headers()?)?;
        let (host, table) = (host_of(&url), PriceTable::built_in());
        Ok(Resolved { config, url, host, client, table, learned: Learned::default() })
    }
}

impl Resolved {
    /// What the built-in table says of the configured model, where it is certain that it is this one.
    fn facts(&self) -> Option<&ModelFacts> {
        let model = PROVIDER.name_of(&self.config.model).ok().filter(|_| is_own(&self.url))?;
        self.table.find(&format!("{}/{model}", PROVIDER.prefix))
    }

    /// The reply to a request, in pieces as they come.
    async fn open(&self, request: &Request) -> Result<ResponseStream<'static>> {
        // Timers and sockets need one, and panic without.
        HomeRuntime::current()?;
        let written = request.model.as_ref().unwrap_or(&self.config.model);
        let model = PROVIDER.name_of(written)?;
        let allowed = self.client.allow(request.timeout);
        let url = stream_url(&self.url, model);
        let exchange = Exchange::new(&self.client, url.path(), model);
        let write = |demands| {
            let (body, sent) = request::body(request, &self.config, demands)?;
            Ok((body.into(), sent))
        };
        let at = (&self.client, &url, &exchange);
        let more =
            |demands: Demands, refusal: &ProviderError, sent: &Sent| demands.with(&refusal.message, *sent);
        match self.learned.ask(model, at, allowed, write, more).await? {
            Answer::Coming(incoming) if incoming.head.is_event_stream() => {
                Ok(deltas(*incoming, exchange, Reply::default()).boxed())
            }
            // A server that does not stream, or a failure: the answer is whole.
            Answer::Coming(incoming) => whole(&exchange, &incoming.whole().await?),
            Answer::Failed(reply) => whole(&exchange, &reply),
        }
    }
}

fn whole(exchange: &Exchange, reply: &abyme_model_http::Reply) -> Result<ResponseStream<'static>> {
    // It may be a stream of events although its type says otherwise.
    let response = exchange.response_of(reply, |body| match reply_in(body, &mut Reply::default()) {
        Some(outcome) => Ok(outcome),
        None => json(body).map(|answer| reply::whole(&answer)),
    })?;
    Ok(stream::iter(pieces(response).map(Ok)).boxed())
}

impl From<Config> for Gemini {
    fn from(config: Config) -> Self {
        Self::with_config(config, false)
    }
}

impl From<Gemini> for Config {
    fn from(model: Gemini) -> Self {
        model.0.config.clone()
    }
}

#[async_trait]
impl LanguageModel for Gemini {
    fn name(&self) -> &str {
        &self.0.config.model
    }

    fn check(&self) -> Result<()> {
        Gemini::check(self)
    }

    fn price(&self) -> Option<Price> {
        let in_table = || {
            let resolved = self.resolved().ok()?;
            let is_usual = !PRICED.iter().any(|field| resolved.config.extra_body.contains_key(*field));
            Some(resolved.facts().filter(|_| is_usual)?.price)
        };
        self.0.config.price.or_else(in_table)
    }

    fn max_input_tokens(&self) -> Option<u64> {
        let in_table = || self.resolved().ok()?.facts()?.max_input_tokens;
        self.0.config.max_input_tokens.or_else(in_table)
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        // A long reply that is not streamed is a connection on which nothing moves for minutes.
        collect(self.stream(request)).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let price = self.0.config.price;
        let with_cost = move |delta| match delta {
            // The table's price is the caller's to use: one given to a wrapper of this model counts first.
            Delta::Done(mut response) => {
                let usage = &mut response.usage;
                usage.cost = usage.cost.or_else(|| price?.of(usage));
                Delta::Done(response)
            }
            other => other,
        };
        let opened = stream::once(async { self.resolved()?.open(request).await });
        let about = move |error: Error| self.about(error.operation("Gemini::complete"));
        opened.try_flatten().map_ok(with_cost).map_err(about).boxed()
    }
}

impl fmt::Debug for Gemini {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.config.fmt(f)
    }
}

/// Fields of the body with which a call has another price.
const PRICED: &[&str] = &["serviceTier", "service_tier", "tools"];

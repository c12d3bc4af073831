//! The model: its settings, one pool of connections, and the facts that every error carries.

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use abyme_core::{
    Delta, Error, ErrorKind, LanguageModel, ModelFacts, Price, PriceTable, Request, Response, ResponseStream,
    Result,
    model::{collect, pieces},
    runtime::HomeRuntime,
};
use abyme_model_http::{
    Exchange, HttpClient, Incoming, Method, ReadReply, Reply, Secret, deltas, http_settings, json, reply_in,
};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    config::{Config, SystemRole},
    demands::Learned,
    env,
    provider::{Api, Endpoint},
    request::{self, Form},
    responses::{self, Events},
    sum::Sum,
    wire,
};

/// A model behind an OpenAI-compatible chat completions API.
///
/// [`new`](Self::new) and the chained setters configure it; nothing is sent before the first call. One call
/// is one try: [`with_retry`](abyme_core::LanguageModelExt::with_retry) wraps a model that is used without an
/// `Rlm`. Clones share their connections; a setter on a clone starts a pool of its own.
///
/// `Debug` does not show keys, and serialising writes the configuration without them. Deserialising reads
/// keys too, and takes nothing from the environment.
///
/// ```
/// use std::time::Duration;
///
/// use abyme_model_openai::OpenAi;
///
/// let model = OpenAi::new("openrouter/openai/gpt-5-mini")
///     .api_key("sk-or-...")
///     .max_tokens(8_000)
///     .timeout(Duration::from_secs(120))
///     .extra("reasoning", serde_json::json!({"effort": "low"}));
/// model.check()?;
/// assert_eq!(model.host(), Some("openrouter.ai"));
/// # Ok::<(), abyme_core::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Config", into = "Config")]
pub struct OpenAi(Arc<Inner>);

struct Inner {
    config: Config,
    /// Whether the environment gives what the configuration leaves open.
    uses_environment: bool,
    /// Made on first use.
    resolved: OnceLock<Result<Resolved, ConfigError>>,
}

/// All that a call needs.
struct Resolved {
    config: Config,
    endpoint: Endpoint,
    /// What the model is called at the endpoint.
    model: String,
    /// What the built-in table of prices says of it.
    facts: Option<ModelFacts>,
    client: HttpClient,
    learned: Learned,
}

/// An error of the configuration, kept to be returned by every call.
struct ConfigError {
    kind: ErrorKind,
    message: String,
}

/// The constructors.
impl OpenAi {
    /// A model by its name, with or without a provider's prefix as LiteLLM writes it (`openai/`,
    /// `openrouter/`, ...).
    ///
    /// Without a [`base_url`](Self::base_url) the prefix chooses the endpoint and is not sent; no prefix
    /// means OpenAI. With one, the prefix is dropped if it is a provider's name, and kept if it belongs to
    /// the model's (`meta-llama/Llama-3`).
    ///
    /// The key, the base URL and the most tokens of a reply come from the environment or `.env`, by the rules
    /// of [`from_env`](Self::from_env); keys of no one provider count only if the environment's own model is
    /// one of the same provider, or if there is a base URL. They are read at the first use. As soon as
    /// [`base_url`](Self::base_url), [`api_key`](Self::api_key) or a header with a key is set, nothing is
    /// read from the environment: its key does not go to a host that the code names, nor the code's key to a
    /// host that the environment names.
    ///
    /// ```
    /// use abyme_model_openai::OpenAi;
    ///
    /// let local = OpenAi::new("openai/qwen3").base_url("http://localhost:8000/v1");
    /// local.check()?;
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    pub fn new(model: impl Into<String>) -> Self {
        Self::with_config(Config::new(model), true)
    }

    /// The model that the environment configures, or else a `.env` in the working directory or the nearest
    /// parent that has one. A variable that is set in both has its value from the environment; an empty one
    /// is not set.
    ///
    /// Each list is in order: the first variable that is set counts.
    /// - The model: `ABYME_MODEL`, `DSPY_LM_MODEL`.
    /// - The base URL: `ABYME_API_BASE`, `DSPY_LM_API_BASE`; for OpenAI's models also `OPENAI_BASE_URL`,
    ///   `OPENAI_API_BASE`; for Azure's (`azure/...`) also `AZURE_API_BASE`, `AZURE_OPENAI_ENDPOINT`.
    /// - The version of Azure's API: `AZURE_API_VERSION`, `OPENAI_API_VERSION`.
    /// - The key: `ABYME_API_KEY`, `DSPY_LLM_API_KEY`, `DSPY_LM_API_KEY`, the provider's own (`GROQ_API_KEY`,
    ///   ...); with a base URL or for OpenAI also `OPENAI_API_KEY`.
    /// - The most tokens of a reply: `DSPY_LM_MAX_TOKENS`.
    ///
    /// A base URL that only `.env` gives does not receive a key from outside that file, unless the URL is
    /// that of the key's own provider: a folder should not decide alone where the key of the account goes.
    ///
    /// Of `.env` only the lines of these variables are read, and values are taken as they stand: `$` is a
    /// character like any other. A file that belongs to another user (other than root) is not used.
    ///
    /// # Errors
    /// `NotConfigured` if no model is configured; `Config` if a variable, or its line in `.env`, cannot be
    /// used. No value of a key, and no line of the file, is in the message. A missing key shows at the first
    /// call, or by [`check`](Self::check).
    pub fn from_env() -> Result<Self> {
        env::from_process(None).map(Self::from)
    }

    /// Like [`from_env`](Self::from_env), with these variables, and `.env` looked for from `directory` on.
    ///
    /// ```
    /// use abyme_core::LanguageModel;
    /// use abyme_model_openai::OpenAi;
    ///
    /// let vars = |name: &str| match name {
    ///     "ABYME_MODEL" => Some("groq/llama-3.3-70b".to_owned()),
    ///     "GROQ_API_KEY" => Some("gsk-123".to_owned()),
    ///     _ => None,
    /// };
    /// let model = OpenAi::from_vars(&vars, std::path::Path::new("/nowhere"))?;
    /// assert_eq!(model.name(), "groq/llama-3.3-70b");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`from_env`](Self::from_env).
    pub fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Self> {
        env::from_vars(vars, directory).map(Self::from)
    }

    fn with_config(config: Config, uses_environment: bool) -> Self {
        Self(Arc::new(Inner { config, uses_environment, resolved: OnceLock::new() }))
    }

    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.0.config.clone();
        change(&mut config);
        let uses_environment = self.0.uses_environment && !config.names_endpoint_or_key();
        Self::with_config(config, uses_environment)
    }
}

/// The settings.
impl OpenAi {
    /// Sets where the API is, up to the part before `/chat/completions`. Default: the endpoint of the
    /// provider that the model's name begins with, or `https://api.openai.com/v1`.
    ///
    /// Azure's is `https://NAME.openai.azure.com` with the deployment as the model (`azure/my-gpt-5`):
    /// requests go to `/openai/deployments/my-gpt-5/chat/completions`, with the key in the header `api-key`.
    /// With `https://NAME.openai.azure.com/openai/v1` they have the deployment in the body, and no version.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        self.with(|config| config.base_url = Some(url.into()))
    }

    /// Sets the key. Servers that are not well known may do without.
    pub fn api_key(self, key: impl Into<Secret>) -> Self {
        self.with(|config| config.api_key = Some(key.into()))
    }

    /// Sets the organization to bill, for accounts of more than one.
    pub fn organization(self, organization: impl Into<String>) -> Self {
        self.with(|config| config.organization = Some(organization.into()))
    }

    /// Sets the project to bill, for organizations of more than one.
    pub fn project(self, project: impl Into<String>) -> Self {
        self.with(|config| config.project = Some(project.into()))
    }

    /// Sets the version of the API that each URL names, which Azure wants. Default for Azure: `2024-10-21`.
    pub fn api_version(self, version: impl Into<String>) -> Self {
        self.with(|config| config.api_version = Some(version.into()))
    }

    /// Sets which API is asked. Default: chat completions, until the server says that a model is only in the
    /// Responses API.
    ///
    /// [`Api::Responses`] serves better where a model is in that one alone (OpenAI's `-pro` and `-codex`
    /// models), and where the thoughts of OpenAI's reasoning models are wanted
    /// (`.extra("reasoning", json!({"summary": "auto"}))`), which chat completions keep to themselves.
    /// Nothing is stored at the provider.
    pub fn api(self, api: Api) -> Self {
        self.with(|config| config.api = api)
    }

    /// Sets how much a reasoning model thinks: `minimal`, `low`, `medium`, `high`, or what else the model
    /// knows. Default: the model's own. To a model that does not know the field, it is not sent again.
    pub fn reasoning_effort(self, effort: impl Into<String>) -> Self {
        self.with(|config| config.reasoning_effort = Some(effort.into()))
    }

    /// Sets the most tokens of a reply, unless the request says. Sent to OpenAI as `max_completion_tokens`,
    /// to all others as `max_tokens`, and by the other name to a server that refuses this one; either name in
    /// [`extra_body`](Self::extra_body) takes its place.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        self.with(|config| config.max_tokens = tokens.into())
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own. To a model that
    /// refuses it, it is not sent again.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        self.with(|config| config.temperature = temperature.into())
    }

    /// Sets how the system's messages are sent. Default: in their own role, until the server says that its
    /// model has none.
    pub fn system_role(self, role: SystemRole) -> Self {
        self.with(|config| config.system_role = role)
    }

    /// Adds a field to each request's body. It wins over ours; one that is `null` leaves ours out.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|config| drop(config.extra_body.insert(field.into(), value.into())))
    }

    /// Replaces the fields added to each request's body.
    pub fn extra_body(self, fields: Map<String, Value>) -> Self {
        self.with(|config| config.extra_body = fields)
    }

    /// Sets what the model's tokens cost, where the server does not say what a call costs.
    ///
    /// Default: what the built-in [`PriceTable`] says, if the endpoint is the provider's own. A server that
    /// [`base_url`](Self::base_url) names may call anything `gpt-5`, so the price of its models is not known,
    /// and neither is one whose [`extra_body`](Self::extra_body) sets a `service_tier`.
    pub fn with_price(self, price: impl Into<Option<Price>>) -> Self {
        self.with(|config| config.price = price.into())
    }

    /// Sets what `prices` says of this model, by the name it was given here: its price and how many tokens a
    /// request may have. Changes nothing if the table does not know the model.
    ///
    /// ```
    /// use abyme_core::{LanguageModel, PriceTable};
    /// use abyme_model_openai::OpenAi;
    ///
    /// let own = r#"{"models": {"qwen3": {"input": 0.1, "output": 0.4}}}"#;
    /// let model = OpenAi::new("openai/qwen3").base_url("http://localhost:8000/v1");
    /// let model = model.with_prices(&PriceTable::from_json(own)?);
    /// assert_eq!(LanguageModel::price(&model).unwrap().output, 0.4);
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    pub fn with_prices(self, prices: &PriceTable) -> Self {
        match prices.find(&self.0.config.model).copied() {
            None => self,
            Some(facts) => self.with(|config| {
                config.price = Some(facts.price);
                config.max_input_tokens = facts.max_input_tokens.or(config.max_input_tokens);
            }),
        }
    }

    /// Sets whether the server says with each reply what the call cost. Default: whether it is OpenRouter or
    /// the model's name begins with `litellm_proxy/`. A cost that is reported counts in any case.
    pub fn with_reports_cost(self, reports: impl Into<Option<bool>>) -> Self {
        self.with(|config| config.reports_cost = reports.into())
    }

    /// Sets how many tokens a request may have. Default: what the built-in [`PriceTable`] says, if the
    /// endpoint is the provider's own.
    pub fn with_max_input_tokens(self, tokens: impl Into<Option<u64>>) -> Self {
        self.with(|config| config.max_input_tokens = tokens.into())
    }
}

http_settings!(OpenAi);

/// What it resolves to.
impl OpenAi {
    /// Checks whether the model can be called as it is configured. Sends nothing.
    ///
    /// # Errors
    /// `Config` if it cannot work as configured, `Auth` if a well-known provider's key is missing.
    pub fn check(&self) -> Result<()> {
        self.resolved().map(drop)
    }

    /// The host that requests go to, with its port if the URL has one; `None` if [`check`](Self::check)
    /// fails.
    pub fn host(&self) -> Option<&str> {
        self.resolved().ok().map(|resolved| resolved.endpoint.host.as_str())
    }

    /// What the model is called at the server, without a provider's prefix; `None` if [`check`](Self::check)
    /// fails.
    pub fn name_at_server(&self) -> Option<String> {
        self.resolved().ok().map(|resolved| resolved.model.clone())
    }

    /// Whether requests carry an API key, set in code or found in the environment.
    pub fn has_api_key(&self) -> bool {
        self.resolved().map_or(&self.0.config, |resolved| &resolved.config).api_key.is_some()
    }

    /// The names of the models that the server has, in its order: what it says at `GET .../models`.
    ///
    /// # Errors
    /// Those of a call, and `MalformedReply` if the answer is no list of models, as that of a server which
    /// does not tell.
    pub async fn available_models(&self) -> Result<Vec<String>> {
        let call = Call::new(self, &Request::default(), "OpenAi::available_models")?;
        let Resolved { endpoint, client, .. } = call.resolved;
        let listed = client.models(&endpoint.models_url(), "data", "id").await;
        listed.map_err(|error| call.error(error))
    }

    /// Whether requests go to a base URL that was set, in code or by the environment, and not to the endpoint
    /// of the provider that the model's name begins with.
    pub fn has_base_url(&self) -> bool {
        let inner = &self.0;
        let found =
            || env::from_process(Some(inner.config.model.clone())).is_ok_and(|it| it.base_url.is_some());
        inner.config.base_url.is_some() || inner.uses_environment && found()
    }

    fn resolved(&self) -> Result<&Resolved> {
        let resolved = self.0.resolved.get_or_init(|| {
            let resolved = self.0.resolve();
            resolved.map_err(|error| ConfigError { kind: error.kind(), message: error.message().to_owned() })
        });
        resolved.as_ref().map_err(|error| {
            let error = Error::new(error.kind, &error.message).operation("OpenAi::check");
            error.with("model", &self.0.config.model)
        })
    }
}

impl Inner {
    fn resolve(&self) -> Result<Resolved> {
        let mut config = self.config.clone();
        if self.uses_environment {
            let found = env::from_process(Some(config.model.clone()))?;
            (config.base_url, config.api_key) = (found.base_url, found.api_key);
            config.max_tokens = config.max_tokens.or(found.max_tokens);
            config.api_version = config.api_version.or(found.api_version);
        }
        let endpoint = config.check()?;
        let model = endpoint.model_name(&config.model)?;
        let url = endpoint.url(config.api, &model);
        let client = HttpClient::new(&url, &config.http, config.headers(&endpoint)?)?;
        let facts = endpoint.facts(&model);
        Ok(Resolved { config, endpoint, model, facts, client, learned: Learned::default() })
    }
}

/// An answer to a request.
enum Answer {
    Whole(Reply, Api),
    /// A stream of events.
    Coming(Box<Incoming>, Api),
}

impl Resolved {
    /// One try. A server that refuses a part of the request that it can do without is asked once more, within
    /// the same time: it did nothing yet, so this is no second try.
    async fn ask(
        &self,
        request: &Request,
        exchange: &Exchange,
        model: &str,
        is_streamed: bool,
    ) -> Result<Answer> {
        let allowed = self.client.allow(request.timeout);
        let learned = self.learned.of(model);
        let mut form = Form { demands: learned, is_streamed };
        loop {
            let (body, sent) = request::body(request, model, &self.endpoint, &self.config, form)?;
            let api = form.api(&self.config);
            let url = self.endpoint.url(api, model);
            let incoming = self.client.open(Method::POST, &url, Some(body), allowed).await?;
            let is_taken = incoming.head.status.is_success();
            if is_taken && form.demands != learned {
                self.learned.remember(model, form.demands);
            }
            if is_taken && incoming.head.is_event_stream() {
                return Ok(Answer::Coming(Box::new(incoming), api));
            }
            let reply = incoming.whole().await?;
            // This ends: each round adds one of a few demands.
            match exchange.refusal(&reply).and_then(|refusal| form.demands.with(&refusal, sent)) {
                Some(more) => {
                    tracing::debug!(model, demands = ?more, "repeating the request as wanted");
                    form.demands = more;
                }
                None => return Ok(Answer::Whole(reply, api)),
            }
        }
    }
}

/// What reads the events of an answer.
fn reader(api: Api) -> Box<dyn ReadReply> {
    match api {
        Api::ChatCompletions => Box::new(Sum::default()),
        Api::Responses => Box::new(Events::default()),
    }
}

/// What a whole answer says.
fn response(exchange: &Exchange, reply: &Reply, api: Api) -> Result<Response> {
    // It may be a stream of events although its type says otherwise.
    exchange.response_of(reply, |body| match reply_in(body, &mut reader(api)) {
        Some(outcome) => Ok(outcome),
        None => json(body).map(|answer| match api {
            Api::ChatCompletions => wire::completion(&answer),
            Api::Responses => responses::response(&answer),
        }),
    })
}

/// One call of a model, for its errors.
struct Call<'a> {
    resolved: &'a Resolved,
    price: Option<Price>,
    model: String,
    exchange: Exchange,
    start: Instant,
    operation: &'static str,
}

impl<'a> Call<'a> {
    fn new(openai: &'a OpenAi, request: &Request, operation: &'static str) -> Result<Self> {
        // Timers and sockets need one, and panic without.
        HomeRuntime::current().map_err(|error| error.operation(operation))?;
        let resolved = openai.resolved()?;
        let (written, model) = match &request.model {
            Some(other) => (other, resolved.endpoint.model_name(other)?),
            None => (&resolved.config.model, resolved.model.clone()),
        };
        let exchange = Exchange::new(
            &resolved.client,
            resolved.endpoint.url(resolved.config.api, &model).path(),
            &model,
        );
        // A well-known host's prefix is no part of a name there.
        let exchange = if resolved.endpoint.given { exchange.written(written) } else { exchange };
        // The table's price is the caller's to use: one given to a wrapper of this model counts first.
        let price = openai.0.config.price;
        Ok(Self { resolved, price, model, exchange, start: Instant::now(), operation })
    }

    async fn ask(&self, request: &Request, streamed: bool) -> Result<Answer> {
        self.resolved.ask(request, &self.exchange, &self.model, streamed).await
    }

    fn response(&self, mut response: Response) -> Response {
        let usage = &mut response.usage;
        usage.cost = usage.cost.or_else(|| self.price?.of(usage));
        response
    }

    fn error(&self, error: Error) -> Error {
        error
            .operation(self.operation)
            .with("model", &self.model)
            .with("host", &self.resolved.endpoint.host)
            .with("elapsed", format_args!("{:.3} s", self.start.elapsed().as_secs_f64()))
    }
}

impl From<Config> for OpenAi {
    fn from(config: Config) -> Self {
        Self::with_config(config, false)
    }
}

impl From<OpenAi> for Config {
    fn from(model: OpenAi) -> Self {
        model.0.config.clone()
    }
}

#[async_trait]
impl LanguageModel for OpenAi {
    fn name(&self) -> &str {
        &self.0.config.model
    }

    fn check(&self) -> Result<()> {
        OpenAi::check(self)
    }

    fn price(&self) -> Option<Price> {
        let in_table = || {
            let resolved = self.resolved().ok()?;
            // Calls of another tier have another price.
            let is_usual = !resolved.config.extra_body.contains_key("service_tier");
            Some(resolved.facts.filter(|_| is_usual)?.price)
        };
        self.0.config.price.or_else(in_table)
    }

    fn reports_cost(&self) -> bool {
        let config = &self.0.config;
        config.reports_cost.unwrap_or_else(|| {
            config.model.starts_with("litellm_proxy/")
                || self.resolved().is_ok_and(|resolved| resolved.endpoint.tells_cost_on_request())
        })
    }

    fn max_input_tokens(&self) -> Option<u64> {
        let in_table = || self.resolved().ok()?.facts?.max_input_tokens;
        self.0.config.max_input_tokens.or_else(in_table)
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let call = Call::new(self, request, "OpenAi::complete")?;
        let outcome = match call.ask(request, false).await {
            Ok(Answer::Whole(reply, api)) => response(&call.exchange, &reply, api),
            Ok(Answer::Coming(incoming, api)) => {
                collect(deltas(*incoming, call.exchange.clone(), reader(api)).boxed()).await
            }
            Err(error) => Err(error),
        };
        outcome.map(|response| call.response(response)).map_err(|error| call.error(error))
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let begun = async move {
            let call = Call::new(self, request, "OpenAi::stream")?;
            match call.ask(request, true).await {
                Ok(answer) => Ok((call, answer)),
                Err(error) => Err(call.error(error)),
            }
        };
        let deltas = stream::once(begun).flat_map(|begun| {
            let (call, answer) = match begun {
                Ok(begun) => begun,
                Err(error) => return stream::once(async { Err(error) }).boxed(),
            };
            let exchange = call.exchange.clone();
            let deltas = match answer {
                Answer::Coming(incoming, api) => deltas(*incoming, exchange, reader(api)).boxed(),
                Answer::Whole(reply, api) => stream::iter(match response(&exchange, &reply, api) {
                    Ok(response) => pieces(response).map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                })
                .boxed(),
            };
            let finished = deltas.map(move |delta| match delta {
                Ok(Delta::Done(response)) => Ok(Delta::Done(call.response(response))),
                Ok(delta) => Ok(delta),
                Err(error) => Err(call.error(error)),
            });
            finished.boxed()
        });
        deltas.boxed()
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.config.fmt(f)
    }
}

//! A client of models: how it is configured, made and called, whatever the provider.

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use abyme_core::{
    Delta, Error, ErrorKind, ModelFacts, Price, PriceTable, RateLimiter, Request, Response, ResponseStream,
    Result, model::collect, runtime::HomeRuntime,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

use crate::{
    asking::Call, client::HttpClient, env::Sources, masked_reply::masked, model_config::ModelConfig,
    provider_api::ProviderApi, secret::Secret,
};

/// A client of one provider's models: settings, one pool of connections, and the facts that every error
/// carries. The public client of a provider holds one, and [`model_client!`](crate::model_client) hands its
/// methods on.
///
/// Clones share their connections. `Debug` does not show keys, and serialising writes the configuration
/// without them. Deserialising reads keys too, and takes nothing from the environment.
pub struct ModelClient<A: ProviderApi>(Arc<Inner<A>>);

struct Inner<A: ProviderApi> {
    config: ModelConfig<A::Options>,
    /// Whether the environment gives what the configuration leaves open.
    uses_environment: bool,
    /// Made at the first use.
    resolved: Lazy<Resolved<A>>,
}

/// All that a call needs.
struct Resolved<A: ProviderApi> {
    config: ModelConfig<A::Options>,
    /// What the model is called at the provider.
    model: String,
    /// What is known of it.
    facts: Option<ModelFacts>,
    client: HttpClient,
    api: A,
    /// Where its calls take their turns, together with all others that the provider counts with them.
    limiter: RateLimiter,
}

/// A value that is made at the first use. What is wrong with it is said at every use.
#[derive(Debug)]
struct Lazy<T>(OnceLock<Result<T, (ErrorKind, String)>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Lazy<T> {
    /// The value, which `make` makes if it is not there.
    ///
    /// # Errors
    /// That of the first `make`: its kind and its message.
    fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        let made = self.0.get_or_init(|| make().map_err(|error| (error.kind(), error.message().to_owned())));
        made.as_ref().map_err(|(kind, message)| Error::new(*kind, message))
    }
}

/// What is configured, and what it resolves to.
impl<A: ProviderApi> ModelClient<A> {
    /// A model by its name. The rest comes from the environment at the first use, until an endpoint or a key
    /// is set.
    pub fn new(model: impl Into<String>) -> Self {
        Self::with_config(ModelConfig::new(model), true)
    }

    /// What the environment of this process configures, and `.env` from the working directory on.
    ///
    /// # Errors
    /// Those of [`ProviderApi::configured`].
    pub fn from_env() -> Result<Self> {
        Ok(Self::with_config(A::configured(&Sources::of_process(&A::reads)?, None)?, false))
    }

    /// What these variables configure, and `.env` from `directory` on.
    ///
    /// # Errors
    /// Those of [`ProviderApi::configured`].
    pub fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Self> {
        Ok(Self::with_config(A::configured(&Sources::read(vars, directory, &A::reads), None)?, false))
    }

    fn with_config(config: ModelConfig<A::Options>, uses_environment: bool) -> Self {
        Self(Arc::new(Inner { config, uses_environment, resolved: Lazy::default() }))
    }

    /// The client after a change of its settings.
    pub fn with(self, change: impl FnOnce(&mut ModelConfig<A::Options>)) -> Self {
        let mut config = self.0.config.clone();
        change(&mut config);
        let uses_environment = self.0.uses_environment && !config.names_endpoint_or_key();
        Self::with_config(config, uses_environment)
    }

    /// Sets what `prices` says of this model, by the name it was given.
    pub fn with_prices(self, prices: &PriceTable) -> Self {
        match prices.find(&self.0.config.model).copied() {
            None => self,
            Some(facts) => self.with(|config| {
                config.price = Some(facts.price);
                config.max_input_tokens = facts.max_input_tokens.or(config.max_input_tokens);
            }),
        }
    }

    /// The model, as its user writes it.
    pub fn name(&self) -> &str {
        &self.0.config.model
    }

    /// Checks whether the model can be called as it is configured. Sends nothing.
    ///
    /// # Errors
    /// Those of [`ProviderApi::connect`].
    pub fn check(&self, operation: &'static str) -> Result<()> {
        let named = |error: Error| error.operation(operation).with("model", self.name());
        self.resolved().map(drop).map_err(named)
    }

    /// The host that requests go to, with its port if the URL has one; `None` if the configuration cannot
    /// work.
    pub fn host(&self) -> Option<&str> {
        self.resolved().ok().map(|resolved| resolved.client.host())
    }

    /// What the model is called at the provider; `None` if the configuration cannot work.
    pub fn name_at_server(&self) -> Option<&str> {
        self.resolved().ok().map(|resolved| resolved.model.as_str())
    }

    /// Whether requests carry a key, set in code or found in the environment.
    pub fn has_api_key(&self) -> bool {
        self.resolved().map_or(&self.0.config, |resolved| &resolved.config).api_key.is_some()
    }

    /// Whether there is a base URL, set in code or, as `found` says of the model's name, in the environment.
    /// One that cannot be read counts: its client says what is wrong with it, and nothing goes to another
    /// server in its stead.
    pub fn has_base_url(&self, found: impl FnOnce(&Sources<'_>, &str) -> Result<bool>) -> bool {
        let config = &self.0.config;
        let found = || found(&Sources::of_process(&A::reads)?, &config.model);
        config.base_url.is_some() || self.0.uses_environment && found().unwrap_or(true)
    }

    /// What the model's tokens cost, if that is known.
    pub fn price(&self) -> Option<Price> {
        let in_table = || {
            let resolved = self.resolved().ok()?;
            let is_usual = !A::PRICED.iter().any(|field| resolved.config.extra_body.contains_key(*field));
            Some(resolved.facts.filter(|_| is_usual)?.price)
        };
        self.0.config.price.or_else(in_table)
    }

    /// How many tokens a request may have, if that is known.
    pub fn max_input_tokens(&self) -> Option<u64> {
        let in_table = || self.resolved().ok()?.facts?.max_input_tokens;
        self.0.config.max_input_tokens.or_else(in_table)
    }

    /// Whether replies say what they cost.
    pub fn reports_cost(&self) -> bool {
        self.resolved().is_ok_and(|resolved| resolved.api.reports_cost(&resolved.config))
    }

    /// The limiter of the host, the keys and the model; `None` if the configuration cannot work.
    pub fn rate_limiter(&self) -> Option<RateLimiter> {
        self.resolved().ok().map(|resolved| resolved.limiter.clone())
    }

    /// The keys that requests carry; none if the configuration cannot work.
    pub fn secrets(&self) -> Vec<String> {
        let keys = self.resolved().map_or(&[][..], |resolved| resolved.client.keys().secrets());
        keys.iter().map(|key| key.expose().to_owned()).collect()
    }

    fn resolved(&self) -> Result<&Resolved<A>> {
        self.0.resolved.get(|| self.0.resolve())
    }
}

impl<A: ProviderApi> Inner<A> {
    fn resolve(&self) -> Result<Resolved<A>> {
        let mut config = self.config.clone();
        if self.uses_environment {
            let sources = Sources::of_process(&A::reads)?;
            let found = A::configured(&sources, Some(config.model.clone()))?;
            (config.base_url, config.api_key) = (found.base_url, found.api_key);
            config.max_tokens = config.max_tokens.or(found.max_tokens);
            A::fill(&mut config.options, found.options);
        }
        let (client, api) = A::connect(&config)?;
        let model = api.name_of(&config.model)?.to_owned();
        let facts = api.facts(&model);
        let keys: Vec<_> = client.keys().secrets().iter().map(Secret::expose).collect();
        let limiter = RateLimiter::of_account(&(client.host(), keys, &model));
        Ok(Resolved { config, model, facts, client, api, limiter })
    }
}

/// Calls.
impl<A: ProviderApi> ModelClient<A> {
    /// The names of the models that the server has.
    ///
    /// # Errors
    /// Those of [`ProviderApi::available_models`].
    pub async fn available_models(&self, operation: &'static str) -> Result<Vec<String>> {
        let start = Instant::now();
        let listed = async {
            // Timers and sockets need one, and panic without.
            HomeRuntime::current()?;
            let Resolved { api, client, .. } = self.resolved()?;
            let names = api.available_models(client).await?;
            Ok(names.iter().map(|name| client.keys().text(name)).collect())
        };
        listed.await.map_err(|error| self.about(error, None, start).operation(operation))
    }

    /// The reply to a request.
    ///
    /// # Errors
    /// Those of [`ProviderApi::open`] and of its stream.
    pub async fn complete(&self, request: &Request, operation: &'static str) -> Result<Response> {
        collect(self.deltas(request, false, operation)).await
    }

    /// The reply to a request, in pieces as they come.
    pub fn stream<'a>(&'a self, request: &'a Request, operation: &'static str) -> ResponseStream<'a> {
        self.deltas(request, true, operation)
    }

    fn deltas<'a>(
        &'a self,
        request: &'a Request,
        is_streamed: bool,
        operation: &'static str,
    ) -> ResponseStream<'a> {
        let start = Instant::now();
        // The table's price is the caller's to use: one given to a wrapper of this model counts first.
        let price = self.0.config.price;
        let with_cost = move |delta| match delta {
            Delta::Done(mut response) => {
                let usage = &mut response.usage;
                usage.cost = usage.cost.or_else(|| price?.of(usage));
                Delta::Done(response)
            }
            other => other,
        };
        let about = move |error| self.about(error, request.model.as_deref(), start).operation(operation);
        let opened = stream::once(self.open(request, is_streamed));
        opened.try_flatten().map_ok(with_cost).map_err(about).boxed()
    }

    async fn open(&self, request: &Request, is_streamed: bool) -> Result<ResponseStream<'static>> {
        // Timers and sockets need one, and panic without.
        HomeRuntime::current()?;
        let Resolved { config, model, client, api, .. } = self.resolved()?;
        let (written, model) = match &request.model {
            Some(other) => (other, api.name_of(other)?),
            None => (&config.model, model.as_str()),
        };
        let allowed = client.allow(request.timeout);
        let call = Call { request, config, client, model, is_streamed, allowed, written };
        Ok(masked(client.keys(), api.open(&call).await?))
    }

    /// An error with what it is about.
    fn about(&self, error: Error, model: Option<&str>, start: Instant) -> Error {
        let written = model.unwrap_or(&self.0.config.model);
        match self.resolved() {
            Err(_) => error.with("model", written),
            Ok(resolved) => error
                .with("model", resolved.api.name_of(written).unwrap_or(written))
                .with("host", resolved.client.host())
                .with("elapsed", format_args!("{:.3} s", start.elapsed().as_secs_f64())),
        }
    }
}

impl<A: ProviderApi> Clone for ModelClient<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: ProviderApi> fmt::Debug for ModelClient<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.config.fmt_as(A::CLIENT, f)
    }
}

impl<A: ProviderApi> Serialize for ModelClient<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.config.serialize(serializer)
    }
}

impl<'de, A: ProviderApi> Deserialize<'de> for ModelClient<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::with_config(ModelConfig::deserialize(deserializer)?, false))
    }
}

/// What the public client of a provider is beside its own settings: those that all clients have, and a
/// [`LanguageModel`](abyme_core::LanguageModel). The client is a struct with one unnamed field, a
/// [`ModelClient`], and its file has [`Secret`](crate::Secret) in scope.
#[macro_export]
macro_rules! model_client {
    ($client:ident) => {
        /// The settings that the models of all providers have.
        impl $client {
            /// Sets the key. Servers other than the provider's own may do without.
            pub fn api_key(self, key: impl Into<Secret>) -> Self {
                Self(self.0.with(|config| config.api_key = Some(key.into())))
            }

            /// Replaces the fields added to each request's body.
            pub fn extra_body(
                self,
                fields: $crate::reexports::serde_json::Map<String, $crate::reexports::serde_json::Value>,
            ) -> Self {
                Self(self.0.with(|config| config.extra_body = fields))
            }

            /// Sets what `prices` says of this model, by the name it was given here: its price and how many
            /// tokens a request may have. Changes nothing if the table does not know the model.
            pub fn with_prices(self, prices: &::abyme_core::PriceTable) -> Self {
                Self(self.0.with_prices(prices))
            }

            /// Sets how many tokens a request may have. Default: what the built-in
            /// [`PriceTable`](::abyme_core::PriceTable) says, if the endpoint is the provider's own.
            pub fn with_max_input_tokens(self, tokens: impl Into<Option<u64>>) -> Self {
                Self(self.0.with(|config| config.max_input_tokens = tokens.into()))
            }
        }

        $crate::http_settings!($client);

        /// What it resolves to.
        impl $client {
            /// Checks whether the model can be called as it is configured. Sends nothing.
            ///
            /// # Errors
            /// `Config` if it cannot work as configured, `Auth` if the key is missing.
            pub fn check(&self) -> ::abyme_core::Result<()> {
                self.0.check(concat!(stringify!($client), "::check"))
            }

            /// The host that requests go to, with its port if the URL has one; `None` if
            /// [`check`](Self::check) fails.
            pub fn host(&self) -> Option<&str> {
                self.0.host()
            }

            /// What the model is called at the server, without a provider's prefix; `None` if
            /// [`check`](Self::check) fails.
            pub fn name_at_server(&self) -> Option<&str> {
                self.0.name_at_server()
            }

            /// Whether requests carry an API key, set in code or found in the environment.
            pub fn has_api_key(&self) -> bool {
                self.0.has_api_key()
            }

            /// The names of the models that the server has, in its order.
            ///
            /// # Errors
            /// Those of a call, and `MalformedReply` if the answer is no list of models, as that of a server
            /// which does not tell.
            pub async fn available_models(&self) -> ::abyme_core::Result<Vec<String>> {
                self.0.available_models(concat!(stringify!($client), "::available_models")).await
            }
        }

        #[::async_trait::async_trait]
        impl ::abyme_core::LanguageModel for $client {
            fn name(&self) -> &str {
                self.0.name()
            }

            fn check(&self) -> ::abyme_core::Result<()> {
                $client::check(self)
            }

            fn price(&self) -> Option<::abyme_core::Price> {
                self.0.price()
            }

            fn reports_cost(&self) -> bool {
                self.0.reports_cost()
            }

            fn max_input_tokens(&self) -> Option<u64> {
                self.0.max_input_tokens()
            }

            fn rate_limiter(&self) -> Option<::abyme_core::RateLimiter> {
                self.0.rate_limiter()
            }

            fn secrets(&self) -> Vec<String> {
                self.0.secrets()
            }

            async fn complete(
                &self,
                request: &::abyme_core::Request,
            ) -> ::abyme_core::Result<::abyme_core::Response> {
                self.0.complete(request, concat!(stringify!($client), "::complete")).await
            }

            fn stream<'a>(&'a self, request: &'a ::abyme_core::Request) -> ::abyme_core::ResponseStream<'a> {
                self.0.stream(request, concat!(stringify!($client), "::stream"))
            }
        }

        impl ::std::fmt::Debug for $client {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

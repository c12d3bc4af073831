//! A provider of genai, as a configuration resolves to it.

use abyme_core::{Error, ErrorKind, ModelFacts, PriceTable, ResponseStream, Result};
use abyme_model_http::{Call, Exchange, Headers, HttpClient, ProviderApi, Sources, base_url};
use async_trait::async_trait;
use futures_util::StreamExt;
use genai::{
    Client, ModelIden,
    adapter::AdapterKind,
    resolver::{AuthData, Endpoint, ProviderConfig},
};
use tokio::time::timeout_at;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{
    config::{Config, Options, check, configured, identify, reads},
    failure,
    reading::{Reading, late},
    request,
};

/// One provider, by genai's client of it.
pub(crate) struct GenaiProvider {
    kind: AdapterKind,
    client: Client,
    /// Whether it is asked at its own endpoint.
    is_own: bool,
}

#[async_trait]
impl ProviderApi for GenaiProvider {
    const CLIENT: &'static str = "Genai";
    type Options = Options;

    fn reads(variable: &str) -> bool {
        reads(variable)
    }

    fn configured(sources: &Sources<'_>, model: Option<String>) -> Result<Config> {
        configured(sources, model)
    }

    fn connect(config: &Config) -> Result<(HttpClient, Self)> {
        let (kind, url) = check(config)?;
        let headers = config.api_key.iter().fold(Headers::default(), Headers::masking);
        // genai makes the address of each request from its own table; what is needed here is that it is
        // HTTPS, and a name for messages.
        let named = base_url(&format!("https://{}", kind.as_lower_str()))?;
        let http = HttpClient::uncompressed(url.as_ref().unwrap_or(&named), &config.http, headers)?;
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
            .append_provider_config(kind, provider)
            .build()
            .map_err(|_| Error::new(ErrorKind::Config, "genai's client cannot be set up"))?;
        Ok((http, Self { kind, client, is_own: url.is_none() }))
    }

    fn name_of<'a>(&self, written: &'a str) -> Result<&'a str> {
        match identify(written) {
            Ok(model) if model.adapter_kind == self.kind => {
                Ok(written.split_once('/').map_or(written, |(_, name)| name))
            }
            Ok(_) => {
                let message = format!("`{written}` is a model of another provider");
                Err(Error::new(ErrorKind::Config, message))
            }
            // Whatever it begins with is a part of the name there.
            Err(_) => Ok(written),
        }
    }

    fn facts(&self, model: &str) -> Option<ModelFacts> {
        let named = format!("{}/{model}", self.kind.as_lower_str());
        self.is_own.then(|| PriceTable::built_in().find(&named).copied()).flatten()
    }

    async fn open(&self, call: &Call<'_, Options>) -> Result<ResponseStream<'static>> {
        let Call { request, config, client, model, allowed, .. } = *call;
        let (host, exchange) = (client.host(), call.exchange("/"));
        let (chat, options) = (request::chat(request), request::options(request, config));
        let opened = self.client.exec_chat_stream(ModelIden::new(self.kind, model), chat, Some(&options));
        // genai writes what providers answer into the log, where a key could be.
        let opened = timeout_at(allowed.deadline(), opened.with_subscriber(NoSubscriber::new())).await;
        let opened = opened.map_err(|_| late(host, allowed))?;
        let stream = opened.map_err(|error| failure::error(error, &exchange, host))?.stream;
        Ok(Reading::new(stream, exchange, host, allowed, config.http.max_body_bytes).deltas().boxed())
    }

    async fn available_models(&self, client: &HttpClient) -> Result<Vec<String>> {
        let (host, allowed) = (client.host(), client.allow(None));
        let listed = self.client.all_model_names(self.kind, ());
        let listed = timeout_at(allowed.deadline(), listed.with_subscriber(NoSubscriber::new())).await;
        let listed = listed.map_err(|_| late(host, allowed))?;
        listed.map_err(|error| failure::error(error, &Exchange::new(client, "/", ""), host))
    }
}

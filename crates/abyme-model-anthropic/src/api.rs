//! The Messages API, as a configuration resolves to it.

use abyme_core::{ModelFacts, PriceTable, ResponseStream, Result};
use abyme_model_http::{Call, HttpClient, KnownDemands, ProviderApi, ProviderError, Sources, Url};
use async_trait::async_trait;

use crate::{
    config::{Config, Options, PROVIDER, check, headers, models_url},
    demands::{Demands, Sent},
    reply::Reply,
    request,
};

/// The Messages API at one place.
pub(crate) struct Messages {
    url: Url,
    table: PriceTable,
    learned: KnownDemands<Demands>,
}

#[async_trait]
impl ProviderApi for Messages {
    const CLIENT: &'static str = "Anthropic";
    const PRICED: &'static [&'static str] = &["service_tier", "speed", "inference_geo"];
    type Options = Options;

    fn reads(variable: &str) -> bool {
        PROVIDER.reads(variable)
    }

    fn configured(sources: &Sources<'_>, model: Option<String>) -> Result<Config> {
        PROVIDER.configured(sources, model)
    }

    fn connect(config: &Config) -> Result<(HttpClient, Self)> {
        let url = check(config)?;
        let client = HttpClient::new(&url, &config.http, headers(config)?)?;
        Ok((client, Self { url, table: PriceTable::built_in(), learned: KnownDemands::default() }))
    }

    fn name_of<'a>(&self, written: &'a str) -> Result<&'a str> {
        PROVIDER.name_of(written)
    }

    fn facts(&self, model: &str) -> Option<ModelFacts> {
        PROVIDER.facts(&self.table, model).filter(|_| PROVIDER.is_at(&self.url))
    }

    async fn open(&self, call: &Call<'_, Options>) -> Result<ResponseStream<'static>> {
        // At any server, a model of this name writes no more than that.
        let most_output = PROVIDER.facts(&self.table, call.model).and_then(|facts| facts.max_output_tokens);
        let write = |demands| {
            let (body, sent) = request::body(call.request, call.model, most_output, call.config, demands)?;
            Ok((self.url.clone(), body, sent))
        };
        let more =
            |demands: Demands, refusal: &ProviderError, sent: &Sent| demands.with(&refusal.message, *sent);
        // A long reply that is not streamed is a connection on which nothing moves for minutes.
        call.ask(&self.learned, write, more, |_| Box::new(Reply::default())).await
    }

    async fn available_models(&self, client: &HttpClient) -> Result<Vec<String>> {
        client.models(&models_url(&self.url), "data", "id").await
    }
}

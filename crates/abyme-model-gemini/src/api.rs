//! `generateContent`, as a configuration resolves to it.

use abyme_core::{ModelFacts, PriceTable, ResponseStream, Result};
use abyme_model_http::{Call, HttpClient, KnownDemands, ProviderApi, ProviderError, Sources, Url};
use async_trait::async_trait;

use crate::{
    config::{Config, Options, PROVIDER, check, headers, models_url, stream_url},
    demands::{Demands, Sent},
    reply::Reply,
    request,
};

/// The API at one place.
pub(crate) struct GenerateContent {
    url: Url,
    learned: KnownDemands<Demands>,
}

#[async_trait]
impl ProviderApi for GenerateContent {
    const CLIENT: &'static str = "Gemini";
    const PRICED: &'static [&'static str] = &["serviceTier", "service_tier", "tools"];
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
        Ok((client, Self { url, learned: KnownDemands::default() }))
    }

    fn name_of<'a>(&self, written: &'a str) -> Result<&'a str> {
        PROVIDER.name_of(written)
    }

    fn facts(&self, model: &str) -> Option<ModelFacts> {
        PROVIDER.is_at(&self.url).then(|| PROVIDER.facts(&PriceTable::built_in(), model)).flatten()
    }

    async fn open(&self, call: &Call<'_, Options>) -> Result<ResponseStream<'static>> {
        let url = stream_url(&self.url, call.model);
        let write = |demands| {
            let (body, sent) = request::body(call.request, call.config, demands)?;
            Ok((url.clone(), body, sent))
        };
        let more =
            |demands: Demands, refusal: &ProviderError, sent: &Sent| demands.with(&refusal.message, *sent);
        // A long reply that is not streamed is a connection on which nothing moves for minutes.
        call.ask(&self.learned, write, more, |_| Box::new(Reply::default())).await
    }

    async fn available_models(&self, client: &HttpClient) -> Result<Vec<String>> {
        let listed = client.models(&models_url(&self.url), "models", "name").await?;
        // The API lists `models/gemini-x` and is asked for `gemini-x`.
        let plain = |name: String| name.strip_prefix("models/").map(str::to_owned).unwrap_or(name);
        Ok(listed.into_iter().map(plain).collect())
    }
}

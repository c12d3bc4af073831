//! An OpenAI-compatible API, as a configuration resolves to it.

use abyme_core::{ModelFacts, ResponseStream, Result};
use abyme_model_http::{Call, HttpClient, KnownDemands, ProviderApi, ProviderError, ReadReply, Sources};
use async_trait::async_trait;

use crate::{
    config::{Config, Options, check, headers},
    demands::{Demands, Sent},
    env,
    provider::{Api, Endpoint},
    request::{self, Form},
    responses::Events,
    sum::Sum,
};

/// The API at one endpoint.
pub(crate) struct Compatible {
    endpoint: Endpoint,
    learned: KnownDemands<Demands>,
}

#[async_trait]
impl ProviderApi for Compatible {
    const CLIENT: &'static str = "OpenAi";
    const PRICED: &'static [&'static str] = &["service_tier"];
    type Options = Options;

    fn reads(variable: &str) -> bool {
        env::is_ours(variable)
    }

    fn configured(sources: &Sources<'_>, model: Option<String>) -> Result<Config> {
        env::configured(sources, model)
    }

    fn fill(options: &mut Options, found: Options) {
        options.api_version = options.api_version.take().or(found.api_version);
    }

    fn connect(config: &Config) -> Result<(HttpClient, Self)> {
        let endpoint = check(config)?;
        let url = endpoint.url(config.options.api, endpoint.model_name(&config.model)?);
        let client = HttpClient::new(&url, &config.http, headers(config, &endpoint)?)?;
        Ok((client, Self { endpoint, learned: KnownDemands::default() }))
    }

    fn name_of<'a>(&self, written: &'a str) -> Result<&'a str> {
        self.endpoint.model_name(written)
    }

    fn facts(&self, model: &str) -> Option<ModelFacts> {
        self.endpoint.facts(model)
    }

    fn reports_cost(&self, config: &Config) -> bool {
        config.options.reports_cost.unwrap_or_else(|| {
            config.model.starts_with("litellm_proxy/") || self.endpoint.tells_cost_on_request()
        })
    }

    async fn open(&self, call: &Call<'_, Options>) -> Result<ResponseStream<'static>> {
        let Call { request, config, model, is_streamed, .. } = *call;
        let form = |demands| Form { demands, is_streamed };
        let write = |demands| {
            let url = self.endpoint.url(form(demands).api(config), model);
            let (body, sent) = request::body(request, model, &self.endpoint, config, form(demands))?;
            Ok((url, body, sent))
        };
        let more = |demands: Demands, refusal: &ProviderError, sent: &Sent| demands.with(refusal, *sent);
        let reader = |demands| -> Box<dyn ReadReply> {
            match form(demands).api(config) {
                Api::ChatCompletions => Box::new(Sum::default()),
                Api::Responses => Box::new(Events::default()),
            }
        };
        call.ask(&self.learned, write, more, reader).await
    }

    async fn available_models(&self, client: &HttpClient) -> Result<Vec<String>> {
        client.models(&self.endpoint.models_url(), "data", "id").await
    }
}

//! What a client knows of its provider.

use std::fmt::Debug;

use abyme_core::{ModelFacts, ResponseStream, Result};
use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};

use crate::{asking::Call, client::HttpClient, env::Sources, model_config::ModelConfig};

/// One provider's API, as a configuration resolves to it: all that a [`ModelClient`](crate::ModelClient) does
/// not know by itself.
#[async_trait]
pub trait ProviderApi: Sized + Send + Sync + 'static {
    /// The name of the client, as its `Debug` shows it.
    const CLIENT: &'static str;
    /// Fields of the body with which a call has another price than the usual one.
    const PRICED: &'static [&'static str] = &[];
    /// What clients of other providers cannot be told.
    type Options: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// Whether a variable of the environment is one that [`configured`](Self::configured) reads.
    fn reads(variable: &str) -> bool;

    /// What the environment configures; with a model, for that model.
    ///
    /// # Errors
    /// `NotConfigured` if there is no model; `Config` if a variable, or its line in `.env`, cannot be used.
    fn configured(sources: &Sources<'_>, model: Option<String>) -> Result<ModelConfig<Self::Options>>;

    /// Takes from `found`, which the environment gave, what the options leave open.
    fn fill(options: &mut Self::Options, found: Self::Options) {
        let _ = (options, found);
    }

    /// Checks what can be checked without a request, and sets up the connections. Sends nothing.
    ///
    /// # Errors
    /// `Config` if the configuration cannot work, `Auth` if it has no key and needs one.
    fn connect(config: &ModelConfig<Self::Options>) -> Result<(HttpClient, Self)>;

    /// What a model that is written as `written` is called at the provider.
    ///
    /// # Errors
    /// `Config` if it is one of another provider.
    fn name_of<'a>(&self, written: &'a str) -> Result<&'a str>;

    /// What is known of a model by its name at the provider, where it is certain which model that is.
    fn facts(&self, model: &str) -> Option<ModelFacts>;

    /// Whether replies say what they cost.
    fn reports_cost(&self, config: &ModelConfig<Self::Options>) -> bool {
        let _ = config;
        false
    }

    /// The reply to a request, in pieces as they come. As a rule by [`Call::ask`].
    ///
    /// # Errors
    /// If there is no reply.
    async fn open(&self, call: &Call<'_, Self::Options>) -> Result<ResponseStream<'static>>;

    /// The names of the models that the server has.
    ///
    /// # Errors
    /// Those of a call, and `MalformedReply` if the answer is no list of models.
    async fn available_models(&self, client: &HttpClient) -> Result<Vec<String>>;
}

//! The public client: its constructors and its settings.

use std::path::Path;

use abyme_core::{Price, Result};
use abyme_model_http::{ModelClient, Secret, model_client};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::GenaiProvider;

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
#[serde(transparent)]
pub struct Genai(ModelClient<GenaiProvider>);

/// The constructors.
impl Genai {
    /// A model by its provider and its name there: `cohere/command-a-03-2025`, `vertex/gemini-3-flash`,
    /// `bedrock/anthropic.claude-haiku-4-5-v1:0`.
    ///
    /// The key and the most tokens of a reply come from the environment or `.env`, by the rules of
    /// [`from_env`](Self::from_env), at the first use, unless [`api_key`](Self::api_key) or
    /// [`base_url`](Self::base_url) is set.
    pub fn new(model: impl Into<String>) -> Self {
        Self(ModelClient::new(model))
    }

    /// The model that the environment configures, or else a `.env` in the working directory or the nearest
    /// parent that has one. A variable that is set in both has its value from the environment; an empty one
    /// is not set.
    ///
    /// Each list is in order: the first variable that is set counts.
    /// - The model: `ABYME_MODEL`, `DSPY_LM_MODEL`.
    /// - The key: `ABYME_API_KEY`, `DSPY_LLM_API_KEY`, `DSPY_LM_API_KEY`, if the environment's own model is
    ///   one of this provider; the provider's own variable, as genai names it (`COHERE_API_KEY`,
    ///   `BEDROCK_API_KEY`, ...).
    /// - The most tokens of a reply: `DSPY_LM_MAX_TOKENS`.
    ///
    /// What else a provider needs, such as Vertex's project, genai reads from the environment itself, and not
    /// from `.env`.
    ///
    /// # Errors
    /// `NotConfigured` if no model is configured; `Config` if a variable, or its line in `.env`, cannot be
    /// used. A missing key shows at the first call, or by [`check`](Self::check).
    pub fn from_env() -> Result<Self> {
        ModelClient::from_env().map(Self)
    }

    /// Like [`from_env`](Self::from_env), with these variables, and `.env` looked for from `directory` on.
    ///
    /// ```
    /// use abyme_core::LanguageModel;
    /// use abyme_model_genai::Genai;
    ///
    /// let vars = |name: &str| match name {
    ///     "ABYME_MODEL" => Some("cohere/command-a-03-2025".to_owned()),
    ///     "COHERE_API_KEY" => Some("co-123".to_owned()),
    ///     _ => None,
    /// };
    /// let model = Genai::from_vars(&vars, std::path::Path::new("/nowhere"))?;
    /// assert!(model.has_api_key() && model.name() == "cohere/command-a-03-2025");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`from_env`](Self::from_env).
    pub fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Self> {
        ModelClient::from_vars(vars, directory).map(Self)
    }
}

/// The settings.
impl Genai {
    /// Sets where the API is. Default: the provider's own endpoint.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.base_url = Some(url.into())))
    }

    /// Sets the most tokens of a reply, unless the request says. Default: what genai or the provider sets.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        Self(self.0.with(|config| config.max_tokens = tokens.into()))
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        Self(self.0.with(|config| config.temperature = temperature.into()))
    }

    /// Sets how much effort the model takes, as genai names it: `none`, `low`, `medium`, `high`. Default: the
    /// model's own.
    pub fn effort(self, effort: impl Into<Option<String>>) -> Self {
        Self(self.0.with(|config| config.options.effort = effort.into()))
    }

    /// Sets the seed by which a model draws, for providers that take one. Default: none.
    pub fn seed(self, seed: impl Into<Option<u64>>) -> Self {
        Self(self.0.with(|config| config.options.seed = seed.into()))
    }

    /// Adds a field to each request's body.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(self.0.with(|config| drop(config.extra_body.insert(field.into(), value.into()))))
    }

    /// Sets what the model's tokens cost. Default: what the built-in [`PriceTable`](abyme_core::PriceTable)
    /// says, if the endpoint is the provider's own.
    pub fn with_price(self, price: impl Into<Option<Price>>) -> Self {
        Self(self.0.with(|config| config.price = price.into()))
    }
}

model_client!(Genai);

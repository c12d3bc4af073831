//! The public client: its constructors and its settings.

use std::path::Path;

use abyme_core::{Price, Result};
use abyme_model_http::{ModelClient, Secret, model_client};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::GenerateContent;

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
#[serde(transparent)]
pub struct Gemini(ModelClient<GenerateContent>);

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
        Self(ModelClient::new(model))
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
        ModelClient::from_env().map(Self)
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
        ModelClient::from_vars(vars, directory).map(Self)
    }
}

/// The settings.
impl Gemini {
    /// Sets where the API is, with or without a version (`/v1beta`) at its end. Default:
    /// `https://generativelanguage.googleapis.com`.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.base_url = Some(url.into())))
    }

    /// Sets the most tokens of a reply, its thoughts included, unless the request says. Default: the model's
    /// own limit.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        Self(self.0.with(|config| config.max_tokens = tokens.into()))
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        Self(self.0.with(|config| config.temperature = temperature.into()))
    }

    /// Sets how many tokens the model may think before it answers; 0 turns thinking off, where the model can
    /// do without. It is not sent again to a model that refuses it. Default: the model's own way.
    pub fn thinking_budget(self, tokens: impl Into<Option<u32>>) -> Self {
        Self(self.0.with(|config| config.options.thinking_budget = tokens.into()))
    }

    /// Sets whether the model says what it thinks: [`Response::reasoning`](abyme_core::Response::reasoning).
    /// Default: no.
    pub fn thoughts(self, thoughts: bool) -> Self {
        Self(self.0.with(|config| config.options.thoughts = thoughts))
    }

    /// Sets how much effort the model takes, from Gemini 3 on: `minimal`, `low`, `medium`, `high`. Such
    /// models want that in place of a budget. Default: the model's own.
    pub fn effort(self, effort: impl Into<Option<String>>) -> Self {
        Self(self.0.with(|config| config.options.effort = effort.into()))
    }

    /// Adds a field to each request's body, such as `safetySettings`. It wins over ours; one that is `null`
    /// leaves ours out. The fields of `generationConfig` are added one by one.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(self.0.with(|config| drop(config.extra_body.insert(field.into(), value.into()))))
    }

    /// Sets what the model's tokens cost.
    ///
    /// Default: what the built-in [`PriceTable`](abyme_core::PriceTable) says, if the endpoint is Google's
    /// own and [`extra_body`](Self::extra_body) sets no tier and no tools.
    pub fn with_price(self, price: impl Into<Option<Price>>) -> Self {
        Self(self.0.with(|config| config.price = price.into()))
    }
}

model_client!(Gemini);

//! The public client: its constructors and its settings.

use std::path::Path;

use abyme_core::{Price, Result};
use abyme_model_http::{ModelClient, Secret, model_client};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Messages;

/// A model behind Anthropic's Messages API.
///
/// [`new`](Self::new) and the chained setters configure it; nothing is sent before the first call. One call
/// is one try: [`with_retry`](abyme_core::LanguageModelExt::with_retry) wraps a model that is used without an
/// `Rlm`. Clones share their connections; a setter on a clone starts a pool of its own.
///
/// `Debug` does not show keys, and serialising writes the configuration without them. Deserialising reads
/// keys too, and takes nothing from the environment.
///
/// ```
/// use abyme_model_anthropic::Anthropic;
///
/// let model = Anthropic::new("claude-haiku-4-5").api_key("sk-ant-...").thinking_budget(4_000);
/// model.check()?;
/// assert_eq!(model.host(), Some("api.anthropic.com"));
/// # Ok::<(), abyme_core::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Anthropic(ModelClient<Messages>);

/// The constructors.
impl Anthropic {
    /// A model by its name (`claude-haiku-4-5`), with or without `anthropic/` before it.
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
    /// - The base URL: `ANTHROPIC_BASE_URL`. `ABYME_API_BASE` is one of an OpenAI-compatible server, and not
    ///   read here.
    /// - The key: `ABYME_API_KEY`, `DSPY_LLM_API_KEY`, `DSPY_LM_API_KEY`, if the environment's own model
    ///   begins with `anthropic/`; `ANTHROPIC_API_KEY`.
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
    /// use abyme_model_anthropic::Anthropic;
    ///
    /// let vars = |name: &str| match name {
    ///     "ABYME_MODEL" => Some("anthropic/claude-haiku-4-5".to_owned()),
    ///     "ANTHROPIC_API_KEY" => Some("sk-ant-123".to_owned()),
    ///     _ => None,
    /// };
    /// let model = Anthropic::from_vars(&vars, std::path::Path::new("/nowhere"))?;
    /// assert!(model.has_api_key() && model.name() == "anthropic/claude-haiku-4-5");
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
impl Anthropic {
    /// Sets where the API is, with or without `/v1` or `/v1/messages` at its end. Default:
    /// `https://api.anthropic.com`.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.base_url = Some(url.into())))
    }

    /// Sets the most tokens of a reply, its thoughts included, unless the request says. The API wants to be
    /// told. Default: 32 000 and the [`thinking_budget`](Self::thinking_budget), or as many as the model can
    /// write, if that is less.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        Self(self.0.with(|config| config.max_tokens = tokens.into()))
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own. It is not sent while
    /// the model is told to think, and not sent again to a model that refuses it, as the newest do.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        Self(self.0.with(|config| config.temperature = temperature.into()))
    }

    /// Sets how many tokens the model may think before it answers: at least 1 024, and less than a reply may
    /// have; 0 turns thinking off. A model that decides by itself how long it thinks, as the newest do, is
    /// asked to think. Default: the model's own way.
    pub fn thinking_budget(self, tokens: impl Into<Option<u32>>) -> Self {
        Self(self.0.with(|config| config.options.thinking_budget = tokens.into()))
    }

    /// Sets whether the model is to think and to say what it thinks, as long as it finds right:
    /// [`Response::reasoning`](abyme_core::Response::reasoning). A model that wants a budget for it gets
    /// 8 192 tokens. Default: no; a model that has a budget says what it thinks anyway.
    pub fn thoughts(self, thoughts: bool) -> Self {
        Self(self.0.with(|config| config.options.thoughts = thoughts))
    }

    /// Sets how much effort the model takes: `low`, `medium`, `high` and, for some, more. Default: the
    /// model's own. It is not sent again to a model that has none.
    pub fn effort(self, effort: impl Into<Option<String>>) -> Self {
        Self(self.0.with(|config| config.options.effort = effort.into()))
    }

    /// Adds a field to each request's body. It wins over ours; one that is `null` leaves ours out.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(self.0.with(|config| drop(config.extra_body.insert(field.into(), value.into()))))
    }

    /// Sets what the model's tokens cost.
    ///
    /// Default: what the built-in [`PriceTable`](abyme_core::PriceTable) says, if the endpoint is Anthropic's
    /// own and [`extra_body`](Self::extra_body) sets no tier, speed or region with a price of its own.
    pub fn with_price(self, price: impl Into<Option<Price>>) -> Self {
        Self(self.0.with(|config| config.price = price.into()))
    }
}

model_client!(Anthropic);

//! The public client: its constructors and its settings.

use std::path::Path;

use abyme_core::{Price, Result};
use abyme_model_http::{ModelClient, Secret, model_client};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{api::Compatible, config::SystemRole, env, provider::Api};

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
#[serde(transparent)]
pub struct OpenAi(ModelClient<Compatible>);

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
        Self(ModelClient::new(model))
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
        ModelClient::from_env().map(Self)
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
        ModelClient::from_vars(vars, directory).map(Self)
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
        Self(self.0.with(|config| config.base_url = Some(url.into())))
    }

    /// Sets the organization to bill, for accounts of more than one.
    pub fn organization(self, organization: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.options.organization = Some(organization.into())))
    }

    /// Sets the project to bill, for organizations of more than one.
    pub fn project(self, project: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.options.project = Some(project.into())))
    }

    /// Sets the version of the API that each URL names, which Azure wants. Default for Azure: `2024-10-21`.
    pub fn api_version(self, version: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.options.api_version = Some(version.into())))
    }

    /// Sets which API is asked. Default: chat completions, until the server says that a model is only in the
    /// Responses API.
    ///
    /// [`Api::Responses`] serves better where a model is in that one alone (OpenAI's `-pro` and `-codex`
    /// models), and where the thoughts of OpenAI's reasoning models are wanted
    /// (`.extra("reasoning", json!({"summary": "auto"}))`), which chat completions keep to themselves.
    /// Nothing is stored at the provider.
    pub fn api(self, api: Api) -> Self {
        Self(self.0.with(|config| config.options.api = api))
    }

    /// Sets how much a reasoning model thinks: `minimal`, `low`, `medium`, `high`, or what else the model
    /// knows. Default: the model's own. To a model that does not know the field, it is not sent again.
    pub fn reasoning_effort(self, effort: impl Into<String>) -> Self {
        Self(self.0.with(|config| config.options.reasoning_effort = Some(effort.into())))
    }

    /// Sets the most tokens of a reply, unless the request says. Sent to OpenAI as `max_completion_tokens`,
    /// to all others as `max_tokens`, and by the other name to a server that refuses this one; either name in
    /// [`extra_body`](Self::extra_body) takes its place.
    pub fn max_tokens(self, tokens: impl Into<Option<u32>>) -> Self {
        Self(self.0.with(|config| config.max_tokens = tokens.into()))
    }

    /// Sets the sampling temperature, unless the request says. Default: the model's own. To a model that
    /// refuses it, it is not sent again.
    pub fn temperature(self, temperature: impl Into<Option<f64>>) -> Self {
        Self(self.0.with(|config| config.temperature = temperature.into()))
    }

    /// Sets how the system's messages are sent. Default: in their own role, until the server says that its
    /// model has none.
    pub fn system_role(self, role: SystemRole) -> Self {
        Self(self.0.with(|config| config.options.system_role = role))
    }

    /// Adds a field to each request's body. It wins over ours; one that is `null` leaves ours out.
    pub fn extra(self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(self.0.with(|config| drop(config.extra_body.insert(field.into(), value.into()))))
    }

    /// Sets what the model's tokens cost, where the server does not say what a call costs.
    ///
    /// Default: what the built-in [`PriceTable`](abyme_core::PriceTable) says, if the endpoint is the
    /// provider's own. A server that [`base_url`](Self::base_url) names may call anything `gpt-5`, so the
    /// price of its models is not known, and neither is one whose [`extra_body`](Self::extra_body) sets a
    /// `service_tier`. A table has the prices of many models:
    ///
    /// ```
    /// use abyme_core::{LanguageModel, PriceTable};
    /// use abyme_model_openai::OpenAi;
    ///
    /// let own = r#"{"models": {"qwen3": {"input": 0.1, "output": 0.4}}}"#;
    /// let model = OpenAi::new("openai/qwen3").base_url("http://localhost:8000/v1");
    /// let model = model.with_prices(&PriceTable::from_json(own)?);
    /// assert_eq!(model.price().unwrap().output, 0.4);
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    pub fn with_price(self, price: impl Into<Option<Price>>) -> Self {
        Self(self.0.with(|config| config.price = price.into()))
    }

    /// Sets whether the server says with each reply what the call cost. Default: whether it is OpenRouter or
    /// the model's name begins with `litellm_proxy/`. A cost that is reported counts in any case.
    pub fn with_reports_cost(self, reports: impl Into<Option<bool>>) -> Self {
        Self(self.0.with(|config| config.options.reports_cost = reports.into()))
    }
}

/// What only this client resolves to.
impl OpenAi {
    /// Whether requests go to a base URL that was set, in code or by the environment, and not to the endpoint
    /// of the provider that the model's name begins with.
    pub fn has_base_url(&self) -> bool {
        self.0.has_base_url(|sources, model| Ok(env::base(sources, model)?.is_some()))
    }
}

model_client!(OpenAi);

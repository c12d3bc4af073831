//! Reads the configuration from the environment and from `.env`.

use std::path::Path;

use abyme_core::{Error, ErrorKind, Result};
use abyme_model_http::{Secret, Sources, Variable};

use crate::{
    config::Config,
    provider::{self, Endpoint, Provider},
};

/// The configuration that the environment of this process gives, and `.env` from the working directory on.
/// With a model, for that model. The rules are those of [`OpenAi::from_env`](crate::OpenAi::from_env) and
/// [`OpenAi::new`](crate::OpenAi::new).
pub(crate) fn from_process(model: Option<String>) -> Result<Config> {
    config(&Sources::of_process(&is_ours)?, model)
}

/// The configuration that these variables give, and `.env` from `directory` on.
pub(crate) fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Config> {
    config(&Sources::read(vars, directory, &is_ours), None)
}

fn config(sources: &Sources<'_>, model: Option<String>) -> Result<Config> {
    let configured = sources.first(MODEL)?.map(|variable| variable.value);
    // Keys of no one provider belong to the configured model's.
    let same_provider = match (&model, &configured) {
        (Some(model), Some(configured)) => Provider::of(model).ok() == Provider::of(configured).ok(),
        _ => true,
    };
    let model = model.or(configured).ok_or_else(|| {
        let message = "no model is configured: set `ABYME_MODEL` (for example `openai/gpt-5-mini`) in \
                       the environment or in `.env`, and the provider's key (for example \
                       `OPENAI_API_KEY`)";
        Error::new(ErrorKind::NotConfigured, message)
    })?;
    let mut config = Config::new(model);

    // A prefix that stands for no endpoint may still be a part of the name on an OpenAI-compatible server.
    let openai = Provider::of(&config.model).map_or(true, Provider::is_openai);
    let is_azure = provider::is_azure(&config.model);
    let base = match sources.first(BASE)? {
        None if is_azure => sources.first(AZURE_BASE)?,
        None if openai => sources.first(OPENAI_BASE)?,
        base => base,
    };
    if is_azure {
        config.api_version = sources.first(AZURE_VERSION)?.map(|variable| variable.value);
    }
    config.base_url = base.as_ref().map(|variable| variable.value.clone());
    let named = |error: Error| match &base {
        Some(variable) => error.context(format_args!("`{}`", variable.name)),
        None => error,
    };
    let version = config.api_version.as_deref();
    let endpoint = Endpoint::resolve(config.base_url.as_deref(), &config.model, version).map_err(named)?;
    config.api_key = key(sources, same_provider, base.as_ref(), &endpoint)?;
    config.max_tokens = sources.tokens(MAX_TOKENS)?;
    Ok(config)
}

/// The key for `endpoint`, whose URL is in `base` unless the model's name gave it.
fn key(
    sources: &Sources<'_>,
    same_provider: bool,
    base: Option<&Variable>,
    endpoint: &Endpoint,
) -> Result<Option<Secret>> {
    // Anybody can have a name at Azure, so its key is not safe with all of them.
    let trusted = endpoint.provider.map_or(&[] as &[_], |provider| provider.key_variables);
    let own = endpoint.key_variables();
    let general = if same_provider || base.is_some() { KEY } else { &[] };
    let openai = if base.is_some() && !endpoint.is_azure { OPENAI_KEY } else { &[] };
    sources.key(&[general, own, openai].concat(), trusted, base, &endpoint.host)
}

/// Whether a variable is one that is read here.
fn is_ours(name: &str) -> bool {
    let ours = [MODEL, BASE, OPENAI_BASE, AZURE_BASE, AZURE_VERSION, KEY, OPENAI_KEY, MAX_TOKENS];
    ours.iter().any(|names| names.contains(&name)) || provider::is_key_variable(name)
}

const MODEL: &[&str] = &["ABYME_MODEL", "DSPY_LM_MODEL"];
const BASE: &[&str] = &["ABYME_API_BASE", "DSPY_LM_API_BASE"];
const OPENAI_BASE: &[&str] = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];
const AZURE_BASE: &[&str] = &["AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"];
const AZURE_VERSION: &[&str] = &["AZURE_API_VERSION", "OPENAI_API_VERSION"];
const KEY: &[&str] = &["ABYME_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"];
const OPENAI_KEY: &[&str] = &["OPENAI_API_KEY"];
const MAX_TOKENS: &[&str] = &["DSPY_LM_MAX_TOKENS"];

#[cfg(test)]
mod tests;

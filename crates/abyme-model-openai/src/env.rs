//! Reads the configuration from the environment and from `.env`.

use abyme_core::{Error, Result};
use abyme_model_http::{Secret, Sources, Variable};

use crate::{
    config::Config,
    provider::{self, Endpoint, Provider},
};

/// The configuration that the environment gives; with a model, for that model. The rules are those of
/// [`OpenAi::from_env`](crate::OpenAi::from_env) and [`OpenAi::new`](crate::OpenAi::new).
pub(crate) fn configured(sources: &Sources<'_>, model: Option<String>) -> Result<Config> {
    let key_example = "the provider's key (for example `OPENAI_API_KEY`)";
    let (model, own) = sources.model(model, "openai/gpt-5-mini", key_example)?;
    // Keys of no one provider belong to the configured model's.
    let same_provider = own.is_none_or(|own| Provider::of(&model).ok() == Provider::of(&own).ok());
    let mut config = Config::new(model);
    let base = base(sources, &config.model)?;
    if provider::is_azure(&config.model) {
        config.options.api_version = sources.first(AZURE_VERSION)?.map(|variable| variable.value);
    }
    config.base_url = base.as_ref().map(|variable| variable.value.clone());
    let named = |error: Error| match &base {
        Some(variable) => error.context(format_args!("`{}`", variable.name)),
        None => error,
    };
    let version = config.options.api_version.as_deref();
    let endpoint = Endpoint::resolve(config.base_url.as_deref(), &config.model, version).map_err(named)?;
    config.api_key = key(sources, same_provider, base.as_ref(), &endpoint)?;
    config.max_tokens = sources.max_tokens()?;
    Ok(config)
}

/// The base URL that the environment gives for a model.
pub(crate) fn base(sources: &Sources<'_>, model: &str) -> Result<Option<Variable>> {
    // A prefix that stands for no endpoint may still be a part of the name on an OpenAI-compatible server.
    let is_openai = Provider::of(model).map_or(true, Provider::is_openai);
    match sources.first(BASE)? {
        None if provider::is_azure(model) => sources.first(AZURE_BASE),
        None if is_openai => sources.first(OPENAI_BASE),
        base => Ok(base),
    }
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
    let general = if same_provider || base.is_some() { Sources::KEY } else { &[] };
    let openai = if base.is_some() && !endpoint.is_azure { OPENAI_KEY } else { &[] };
    sources.key(&[general, own, openai].concat(), trusted, base, &endpoint.host)
}

/// Whether a variable is one that is read here.
pub(crate) fn is_ours(name: &str) -> bool {
    let ours = [BASE, OPENAI_BASE, AZURE_BASE, AZURE_VERSION, OPENAI_KEY];
    Sources::is_general(name)
        || ours.iter().any(|names| names.contains(&name))
        || provider::is_key_variable(name)
}

const BASE: &[&str] = &["ABYME_API_BASE", "DSPY_LM_API_BASE"];
const OPENAI_BASE: &[&str] = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];
const AZURE_BASE: &[&str] = &["AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"];
const AZURE_VERSION: &[&str] = &["AZURE_API_VERSION", "OPENAI_API_VERSION"];
const OPENAI_KEY: &[&str] = &["OPENAI_API_KEY"];

#[cfg(test)]
mod tests;

//! Reads the configuration from the environment and from `.env`.

mod dotenv;

use std::path::Path;

use abyme_core::{Error, ErrorKind, Result};

use self::dotenv::DotEnv;
use crate::{
    config::Config,
    provider::{self, Endpoint, Provider},
    secret::Secret,
};

/// The configuration that the environment of this process gives, and `.env` from the working directory on.
/// With a model, for that model. The rules are those of [`OpenAi::from_env`](crate::OpenAi::from_env) and
/// [`OpenAi::new`](crate::OpenAi::new).
pub(crate) fn from_process(model: Option<String>) -> Result<Config> {
    let vars = |name: &str| std::env::var(name).ok();
    let directory = std::env::current_dir().map_err(|error| {
        Error::new(ErrorKind::Io, "the working directory cannot be found").with_source(error)
    })?;
    Sources::read(&vars, &directory).config(model)
}

/// The configuration that these variables give, and `.env` from `directory` on.
pub(crate) fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Config> {
    Sources::read(vars, directory).config(None)
}

/// The variables of the environment and those of the file.
struct Sources<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    file: DotEnv,
}

/// A variable that is set.
struct Variable {
    name: &'static str,
    value: String,
    in_file: bool,
}

impl<'a> Sources<'a> {
    fn read(vars: &'a dyn Fn(&str) -> Option<String>, directory: &Path) -> Self {
        Self { vars, file: DotEnv::find(directory, &is_ours) }
    }

    fn config(&self, model: Option<String>) -> Result<Config> {
        let configured = self.first(MODEL)?.map(|variable| variable.value);
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

        // A prefix that stands for no endpoint may still be a part of the name on an OpenAI-compatible
        // server.
        let openai = Provider::of(&config.model).map_or(true, Provider::is_openai);
        let base = match self.first(BASE)? {
            None if openai => self.first(OPENAI_BASE)?,
            base => base,
        };
        config.base_url = base.as_ref().map(|variable| variable.value.clone());
        let named = |error: Error| match &base {
            Some(variable) => error.context(format_args!("`{}`", variable.name)),
            None => error,
        };
        let endpoint = Endpoint::resolve(config.base_url.as_deref(), &config.model).map_err(named)?;
        config.api_key = self.key(same_provider, base.as_ref(), &endpoint)?.map(Secret::new);

        if let Some(variable) = self.first(MAX_TOKENS)? {
            let number = variable.value.trim().parse().map_err(|_| {
                let message =
                    format!("`{}` has to be a number of tokens, not `{}`", variable.name, variable.value);
                Error::new(ErrorKind::Config, message)
            })?;
            config.max_tokens = Some(number);
        }
        Ok(config)
    }

    /// The key for `endpoint`, whose URL is in `base` unless the model's name gave it.
    fn key(
        &self,
        same_provider: bool,
        base: Option<&Variable>,
        endpoint: &Endpoint,
    ) -> Result<Option<String>> {
        let own = endpoint.provider.map_or(&[] as &[_], |provider| provider.key_variables);
        let mut keys = Vec::new();
        if same_provider || base.is_some() {
            keys.push(KEY);
        }
        keys.push(own);
        if base.is_some() {
            keys.push(OPENAI_KEY);
        }
        // A folder does not decide alone where the account's key goes. The provider's own key may go to the
        // provider.
        let only_in_file = base.is_some_and(|base| base.in_file);
        let mut withheld = None;
        for names in keys {
            for name in names {
                let Some(key) = self.variable(name)? else { continue };
                if !only_in_file || key.in_file || own.contains(name) {
                    return Ok(Some(key.value));
                }
                withheld.get_or_insert(key.name);
            }
        }
        if let (Some(name), Some(base)) = (withheld, base) {
            tracing::warn!(
                "{name} is not sent to {}, which only .env names: set {} in the environment too, or the key \
                 in .env",
                endpoint.host,
                base.name
            );
        }
        Ok(None)
    }

    /// The first of these variables that is set.
    fn first(&self, names: &'static [&'static str]) -> Result<Option<Variable>> {
        names.iter().find_map(|name| self.variable(name).transpose()).transpose()
    }

    /// A variable that is set, in the environment or else in the file.
    fn variable(&self, name: &'static str) -> Result<Option<Variable>> {
        let set = |value: &String| !value.trim().is_empty();
        if let Some(value) = (self.vars)(name).filter(set) {
            return Ok(Some(Variable { name, value, in_file: false }));
        }
        let found = self.file.get(name).map_err(|problem| Error::new(ErrorKind::Config, problem))?;
        let value = found.map(str::to_owned).filter(set);
        Ok(value.map(|value| Variable { name, value, in_file: true }))
    }
}

/// Whether a variable is one that is read here.
fn is_ours(name: &str) -> bool {
    let ours = [MODEL, BASE, OPENAI_BASE, KEY, OPENAI_KEY, MAX_TOKENS];
    ours.iter().any(|names| names.contains(&name)) || provider::is_key_variable(name)
}

const MODEL: &[&str] = &["ABYME_MODEL", "DSPY_LM_MODEL"];
const BASE: &[&str] = &["ABYME_API_BASE", "DSPY_LM_API_BASE"];
const OPENAI_BASE: &[&str] = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];
const KEY: &[&str] = &["ABYME_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"];
const OPENAI_KEY: &[&str] = &["OPENAI_API_KEY"];
const MAX_TOKENS: &[&str] = &["DSPY_LM_MAX_TOKENS"];

#[cfg(test)]
mod tests;

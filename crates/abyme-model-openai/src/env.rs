//! Reads the configuration from the environment and from `.env`.

use std::path::Path;

use abyme_core::{Error, ErrorKind, Result};

use crate::{
    config::Config,
    provider::{Endpoint, Provider},
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
    Sources::read(&vars, &directory)?.config(model)
}

/// The configuration that these variables give, and `.env` from `directory` on.
pub(crate) fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Config> {
    Sources::read(vars, directory)?.config(None)
}

/// The variables of the environment and those of the file.
struct Sources<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    file: Vec<(String, String)>,
}

/// A variable that is set.
struct Variable {
    name: &'static str,
    value: String,
    in_file: bool,
}

impl<'a> Sources<'a> {
    fn read(vars: &'a dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Self> {
        let path = directory.ancestors().map(|folder| folder.join(".env")).find(|path| path.is_file());
        let file = path.map(|path| read_file(&path)).transpose()?.unwrap_or_default();
        Ok(Self { vars, file })
    }

    fn config(&self, model: Option<String>) -> Result<Config> {
        let configured = self.first(MODEL).map(|variable| variable.value);
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
        let base = self.first(BASE).or_else(|| self.first(OPENAI_BASE).filter(|_| openai));
        config.base_url = base.as_ref().map(|variable| variable.value.clone());
        let named = |error: Error| match &base {
            Some(variable) => error.context(format_args!("`{}`", variable.name)),
            None => error,
        };
        let endpoint = Endpoint::resolve(config.base_url.as_deref(), &config.model).map_err(named)?;

        let own = endpoint.provider.map_or(&[] as &[_], |provider| provider.key_variables);
        config.api_key = self
            .first(KEY)
            .filter(|_| same_provider || base.is_some())
            .or_else(|| self.first(own))
            .or_else(|| self.openai_key(base.as_ref()?, &endpoint))
            .map(|variable| Secret::new(variable.value));

        if let Some(variable) = self.first(MAX_TOKENS) {
            let number = variable.value.trim().parse().map_err(|_| {
                let message =
                    format!("`{}` has to be a number of tokens, not `{}`", variable.name, variable.value);
                Error::new(ErrorKind::Config, message)
            })?;
            config.max_tokens = Some(number);
        }
        Ok(config)
    }

    /// The key for a base URL for which no other key is set.
    fn openai_key(&self, base: &Variable, endpoint: &Endpoint) -> Option<Variable> {
        let key = self.first(&["OPENAI_API_KEY"])?;
        if base.in_file && !key.in_file {
            let host = &endpoint.host;
            tracing::warn!(%host, "OPENAI_API_KEY is not sent to the host in .env; set ABYME_API_KEY");
            return None;
        }
        Some(key)
    }

    /// The first of these variables that is set.
    fn first(&self, names: &'static [&'static str]) -> Option<Variable> {
        names.iter().find_map(|name| {
            let set = |value: &String| !value.trim().is_empty();
            let outside = (self.vars)(name).filter(set).map(|value| Variable { name, value, in_file: false });
            outside.or_else(|| {
                // The last assignment counts, as in a shell.
                let value =
                    self.file.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                value.filter(set).map(|value| Variable { name, value, in_file: true })
            })
        })
    }
}

/// The variables in a file, without touching those of the process.
fn read_file(path: &Path) -> Result<Vec<(String, String)>> {
    let file = path.display();
    let unreadable = |error| Error::new(ErrorKind::Config, format!("cannot read {file}")).with_source(error);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|error| {
        // dotenvy's own message shows the line, which may hold a key.
        let line = match error {
            dotenvy::Error::LineParse(line, _) => text.lines().position(|other| other.trim() == line.trim()),
            _ => None,
        };
        let location = line.map_or_else(|| file.to_string(), |line| format!("{file}, line {}", line + 1));
        Error::new(ErrorKind::Config, format!("{location}: not of the form NAME=value"))
    })
}

const MODEL: &[&str] = &["ABYME_MODEL", "DSPY_LM_MODEL"];
const BASE: &[&str] = &["ABYME_API_BASE", "DSPY_LM_API_BASE"];
const OPENAI_BASE: &[&str] = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];
const KEY: &[&str] = &["ABYME_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"];
const MAX_TOKENS: &[&str] = &["DSPY_LM_MAX_TOKENS"];

#[cfg(test)]
mod tests;

//! The configuration as the environment and `.env` give it.

use std::path::{Path, PathBuf};

use abyme_core::{Error, ErrorKind, Result};

use crate::{OpenAiConfig, provider::Endpoint, provider::Provider, secret::Secret};

impl OpenAiConfig {
    /// The configuration that the environment gives, then a `.env` in the working directory or the nearest parent
    /// that has one. A variable that is set in both has its value from the environment; an empty one is not set.
    ///
    /// | what | variables, the first that is set wins |
    /// |---|---|
    /// | model | `ABYME_MODEL`, `DSPY_LM_MODEL` |
    /// | base URL | `ABYME_API_BASE`, `DSPY_LM_API_BASE`; for OpenAI's models also `OPENAI_BASE_URL`, `OPENAI_API_BASE` |
    /// | key | `ABYME_API_KEY`, `DSPY_LLM_API_KEY`, `DSPY_LM_API_KEY`, the provider's own (`GROQ_API_KEY`, ...); with a base URL or for OpenAI also `OPENAI_API_KEY` |
    /// | most tokens of a reply | `DSPY_LM_MAX_TOKENS` |
    ///
    /// A base URL that `.env` gives does not receive an `OPENAI_API_KEY` from outside that file, unless it is
    /// OpenAI's own: a folder should not decide alone where the key of the account goes.
    ///
    /// # Errors
    /// `NotConfigured` if no model is configured; `Config` if a variable or the file cannot be used. No value of a key, and no line
    /// of the file, is in the message.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(&process, &working_directory()?)
    }

    /// Like [`from_env`](Self::from_env), for a model of this name. The environment's keys that are not of one
    /// provider go with a model of another provider only if there is a base URL.
    ///
    /// # Errors
    /// See [`from_env`](Self::from_env).
    pub fn from_env_for(model: impl Into<String>) -> Result<Self> {
        Sources::read(&process, &working_directory()?)?.config(Some(model.into()))
    }

    /// Like [`from_env`](Self::from_env), with these variables, and `.env` looked for from `directory` on.
    ///
    /// ```
    /// use abyme_model_openai::OpenAiConfig;
    ///
    /// let vars = |name: &str| match name {
    ///     "ABYME_MODEL" => Some("groq/llama-3.3-70b".to_owned()),
    ///     "GROQ_API_KEY" => Some("gsk-123".to_owned()),
    ///     _ => None,
    /// };
    /// let config = OpenAiConfig::from_vars(&vars, std::path::Path::new("/nowhere"))?;
    /// assert_eq!(config.model, "groq/llama-3.3-70b");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// See [`from_env`](Self::from_env).
    pub fn from_vars(vars: &dyn Fn(&str) -> Option<String>, directory: &Path) -> Result<Self> {
        Sources::read(vars, directory)?.config(None)
    }
}

/// The variables of the environment and those of the file.
struct Sources<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    file: Vec<(String, String)>,
}

/// A variable that is set.
struct Found {
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

    fn config(&self, model: Option<String>) -> Result<OpenAiConfig> {
        let configured = self.first(MODEL).map(|found| found.value);
        // Keys of no one provider belong to the configured model's.
        let same_provider = match (&model, &configured) {
            (Some(model), Some(configured)) => Provider::of(model).ok() == Provider::of(configured).ok(),
            _ => true,
        };
        let model = model.or(configured).ok_or_else(|| {
            let message = "no model is configured: set `ABYME_MODEL` (for example `openai/gpt-5-mini`) in the \
                           environment or in `.env`, and the provider's key (for example `OPENAI_API_KEY`)";
            Error::new(ErrorKind::NotConfigured, message)
        })?;
        let mut config = OpenAiConfig::new(model);

        // A prefix that stands for no endpoint may still be a part of the name on an OpenAI-compatible server.
        let openai = Provider::of(&config.model).map_or(true, Provider::is_openai);
        let base = self.first(BASE).or_else(|| self.first(OPENAI_BASE).filter(|_| openai));
        config.base_url = base.as_ref().map(|found| found.value.clone());
        let named = |error: Error| match &base {
            Some(found) => error.context(format_args!("`{}`", found.name)),
            None => error,
        };
        let endpoint = Endpoint::resolve(config.base_url.as_deref(), &config.model).map_err(named)?;

        let own = endpoint.provider.map_or(&[] as &[_], |provider| provider.key_variables);
        config.api_key = self
            .first(KEY)
            .filter(|_| same_provider || base.is_some())
            .or_else(|| self.first(own))
            .or_else(|| self.openai_key(base.as_ref()?, &endpoint))
            .map(|found| Secret::new(found.value));

        if let Some(found) = self.first(MAX_TOKENS) {
            let number = found.value.trim().parse().map_err(|_| {
                let message = format!("`{}` has to be a number of tokens, not `{}`", found.name, found.value);
                Error::new(ErrorKind::Config, message)
            })?;
            config.max_tokens = Some(number);
        }
        Ok(config)
    }

    /// The key for a base URL that no better key was found for.
    fn openai_key(&self, base: &Found, endpoint: &Endpoint) -> Option<Found> {
        let key = self.first(&["OPENAI_API_KEY"])?;
        if base.in_file && !key.in_file {
            let host = &endpoint.host;
            tracing::warn!(%host, "OPENAI_API_KEY is not sent to the host that .env names; set ABYME_API_KEY");
            return None;
        }
        Some(key)
    }

    /// The first of these variables that is set.
    fn first(&self, names: &'static [&'static str]) -> Option<Found> {
        names.iter().find_map(|name| {
            let set = |value: &String| !value.trim().is_empty();
            let outside = (self.vars)(name).filter(set).map(|value| Found { name, value, in_file: false });
            outside.or_else(|| {
                // The last assignment counts, as in a shell.
                let value =
                    self.file.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                value.filter(set).map(|value| Found { name, value, in_file: true })
            })
        })
    }
}

fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn working_directory() -> Result<PathBuf> {
    let failed =
        |error| Error::new(ErrorKind::Io, "the working directory cannot be found").with_source(error);
    std::env::current_dir().map_err(failed)
}

/// The variables in a file, without touching those of the process.
fn read_file(path: &Path) -> Result<Vec<(String, String)>> {
    let shown = path.display();
    let unreadable = |error| Error::new(ErrorKind::Config, format!("cannot read {shown}")).with_source(error);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|error| {
        // dotenvy's own message shows the line, which may hold a key.
        let line = match error {
            dotenvy::Error::LineParse(line, _) => text.lines().position(|other| other.trim() == line.trim()),
            _ => None,
        };
        let place = line.map_or_else(|| shown.to_string(), |line| format!("{shown}, line {}", line + 1));
        Error::new(ErrorKind::Config, format!("{place}: not of the form NAME=value"))
    })
}

const MODEL: &[&str] = &["ABYME_MODEL", "DSPY_LM_MODEL"];
const BASE: &[&str] = &["ABYME_API_BASE", "DSPY_LM_API_BASE"];
const OPENAI_BASE: &[&str] = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];
const KEY: &[&str] = &["ABYME_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"];
const MAX_TOKENS: &[&str] = &["DSPY_LM_MAX_TOKENS"];

//! Variables of the environment and of `.env`, and the rules by which a key is found in them.

mod dotenv;
mod native;

use std::{fmt, path::Path};

use abyme_core::{Error, ErrorKind, Result};

use self::dotenv::DotEnv;
pub use self::native::Provider;
use crate::secret::Secret;

/// The variables of the environment and those of the nearest `.env`.
///
/// Of the file only the lines of variables that the client reads are looked at, and values are taken as they
/// stand. A file of another user (other than root) or over 1 MiB is not used. A variable that is set in both
/// has its value from the environment; an empty one is not set.
pub struct Sources<'a> {
    vars: &'a dyn Fn(&str) -> Option<String>,
    file: DotEnv,
}

/// A variable that is set.
#[derive(Clone)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value, which may be a key.
    pub value: String,
    /// Whether only the file has it.
    pub in_file: bool,
}

/// The variables of no one provider.
impl Sources<'_> {
    /// Those that hold the model, the first that is set counts.
    const MODEL: &'static [&'static str] = &["ABYME_MODEL", "DSPY_LM_MODEL"];
    /// Those that hold a key for the model's provider, whichever that is.
    pub const KEY: &'static [&'static str] = &["ABYME_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"];
    /// Those that hold the most tokens of a reply.
    const MAX_TOKENS: &'static [&'static str] = &["DSPY_LM_MAX_TOKENS"];

    /// The model to ask, which is the environment's own where none is given; and the environment's own.
    /// `example` is the name of a model, and `key` says which key goes with it.
    ///
    /// # Errors
    /// `NotConfigured` if there is no model, and those of [`variable`](Self::variable).
    pub fn model(&self, given: Option<String>, example: &str, key: &str) -> Result<(String, Option<String>)> {
        let own = self.first(Self::MODEL)?.map(|variable| variable.value);
        let Some(model) = given.or_else(|| own.clone()) else {
            let message = format!(
                "no model is configured: set `ABYME_MODEL` (for example `{example}`) in the environment or \
                 in `.env`, and {key}"
            );
            return Err(Error::new(ErrorKind::NotConfigured, message));
        };
        Ok((model, own))
    }

    /// Whether a variable is one of them.
    pub fn is_general(variable: &str) -> bool {
        [Self::MODEL, Self::KEY, Self::MAX_TOKENS].iter().any(|names| names.contains(&variable))
    }

    /// The most tokens of a reply.
    ///
    /// # Errors
    /// `Config` if it is no number.
    pub fn max_tokens(&self) -> Result<Option<u32>> {
        let Some(variable) = self.first(Self::MAX_TOKENS)? else { return Ok(None) };
        variable.value.trim().parse().map(Some).map_err(|_| {
            let Variable { name, value, .. } = variable;
            Error::new(ErrorKind::Config, format!("`{name}` has to be a number of tokens, not `{value}`"))
        })
    }
}

impl<'a> Sources<'a> {
    /// The environment of this process, and `.env` from the working directory on. `is_ours` says which
    /// variables the client reads.
    ///
    /// # Errors
    /// `Io` if the working directory cannot be found.
    pub fn of_process(is_ours: &dyn Fn(&str) -> bool) -> Result<Sources<'static>> {
        let directory = std::env::current_dir().map_err(|error| {
            Error::new(ErrorKind::Io, "the working directory cannot be found").with_source(error)
        })?;
        Ok(Sources::read(&process_variable, &directory, is_ours))
    }

    /// These variables, and `.env` from `directory` on.
    pub fn read(
        vars: &'a dyn Fn(&str) -> Option<String>,
        directory: &Path,
        is_ours: &dyn Fn(&str) -> bool,
    ) -> Self {
        Self { vars, file: DotEnv::find(directory, is_ours) }
    }

    /// The first of these variables that is set.
    ///
    /// # Errors
    /// See [`variable`](Self::variable).
    pub fn first(&self, names: &[&'static str]) -> Result<Option<Variable>> {
        names.iter().find_map(|name| self.variable(name).transpose()).transpose()
    }

    /// A variable that is set, in the environment or else in the file.
    ///
    /// # Errors
    /// `Config` if its line of the file cannot be read. The line is not in the message.
    pub fn variable(&self, name: &'static str) -> Result<Option<Variable>> {
        let set = |value: &String| !value.trim().is_empty();
        if let Some(value) = (self.vars)(name).filter(set) {
            return Ok(Some(Variable { name, value, in_file: false }));
        }
        let found = self.file.get(name).map_err(|problem| Error::new(ErrorKind::Config, problem))?;
        let value = found.map(str::to_owned).filter(set);
        Ok(value.map(|value| Variable { name, value, in_file: true }))
    }

    /// The first of the variables `names` that holds a key for `host`, whose URL is in `base` unless the
    /// model's name gave it. `own` are those of the host's own provider.
    ///
    /// A folder does not decide alone where the account's key goes: a host that only the file names gets a
    /// key from outside of the file only if it is its provider's own.
    ///
    /// # Errors
    /// See [`variable`](Self::variable).
    pub fn key(
        &self,
        names: &[&'static str],
        own: &[&str],
        base: Option<&Variable>,
        host: &str,
    ) -> Result<Option<Secret>> {
        let only_in_file = base.is_some_and(|base| base.in_file);
        let mut withheld = None;
        for name in names {
            let Some(key) = self.variable(name)? else { continue };
            if !only_in_file || key.in_file || own.contains(name) {
                return Ok(Some(Secret::new(key.value)));
            }
            withheld.get_or_insert(key.name);
        }
        if let (Some(name), Some(base)) = (withheld, base) {
            tracing::warn!(
                "{name} is not sent to {host}, which only .env names: set {} in the environment too, or the \
                 key in .env",
                base.name
            );
        }
        Ok(None)
    }
}

fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Values may be keys, so none is shown.
impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Values may be keys, so none is shown.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

//! What the environment says to the client of one provider.

use abyme_core::{Error, ErrorKind, Result};

use super::{Sources, Variable};
use crate::secret::Secret;

/// A provider with a client of its own, as the environment knows it.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// What names of its models may begin with, before a `/`.
    pub prefix: &'static str,
    /// A name of a model, for messages.
    pub example: &'static str,
    /// The variables that hold its base URL.
    pub base_url: &'static [&'static str],
    /// The variables that hold its key.
    pub keys: &'static [&'static str],
}

/// What the environment configures.
#[derive(Clone, Debug)]
pub struct Configured {
    /// The model, as it is written there or as it was given.
    pub model: String,
    /// The base URL.
    pub base_url: Option<String>,
    /// The key.
    pub api_key: Option<Secret>,
    /// The most tokens of a reply.
    pub max_tokens: Option<u32>,
}

impl Provider {
    /// Whether a model of this name is one of this provider; without a prefix it may be.
    pub fn has(&self, model: &str) -> bool {
        model.split_once('/').is_none_or(|(prefix, _)| prefix == self.prefix)
    }

    /// What a model is called at the provider.
    ///
    /// # Errors
    /// `Config` if the name is empty, or begins with another provider's prefix.
    pub fn name_of<'a>(&self, model: &'a str) -> Result<&'a str> {
        let name = match model.split_once('/') {
            Some((prefix, name)) if prefix == self.prefix => name,
            Some((prefix, _)) => {
                let message = format!(
                    "model `{model}` begins with `{prefix}/`, and is asked for at `{}`: write `{}/` or \
                     no prefix",
                    self.prefix, self.prefix
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
            None => model,
        };
        if name.trim().is_empty() {
            let message = format!("no model is configured: set `model`, for example `{}`", self.example);
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(name)
    }

    /// Whether a variable is one that [`configured`](Self::configured) reads.
    pub fn reads(&self, variable: &str) -> bool {
        [MODEL, KEY, MAX_TOKENS, self.base_url, self.keys].iter().any(|names| names.contains(&variable))
    }

    /// What the environment configures, with a model for that model. A key of no one provider
    /// (`ABYME_API_KEY`) counts only if the environment's own model is one of this provider, and comes first
    /// then.
    ///
    /// # Errors
    /// `NotConfigured` if there is no model; `Config` if a variable, or its line in `.env`, cannot be used.
    pub fn configured(&self, sources: &Sources<'_>, model: Option<String>) -> Result<Configured> {
        let own = sources.first(MODEL)?.map(|variable| variable.value);
        let is_ours = own.as_ref().is_some_and(|own| own.starts_with(&format!("{}/", self.prefix)));
        let model = model.or(own).ok_or_else(|| {
            let message = format!(
                "no model is configured: set `ABYME_MODEL` (for example `{}/{}`) in the environment or in \
                 `.env`, and the key `{}`",
                self.prefix, self.example, self.keys[0]
            );
            Error::new(ErrorKind::NotConfigured, message)
        })?;
        let base: Option<Variable> = sources.first(self.base_url)?;
        let general: &[_] = if is_ours { KEY } else { &[] };
        let host = base.as_ref().map_or(self.prefix, |base| base.value.as_str());
        let api_key =
            sources.key(&[general, self.keys].concat(), &[], base.as_ref(), &crate::url::shown(host))?;
        let base_url = base.map(|base| base.value);
        Ok(Configured { model, base_url, api_key, max_tokens: sources.tokens(MAX_TOKENS)? })
    }
}

const MODEL: &[&str] = &["ABYME_MODEL", "DSPY_LM_MODEL"];
const KEY: &[&str] = &["ABYME_API_KEY", "DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"];
const MAX_TOKENS: &[&str] = &["DSPY_LM_MAX_TOKENS"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PROVIDER: Provider = Provider {
        prefix: "acme",
        example: "acme-1",
        base_url: &["ACME_BASE_URL"],
        keys: &["ACME_API_KEY", "ACME_KEY"],
    };

    fn configured(set: &[(&str, &str)], env_file: &str, model: Option<&str>) -> Result<Configured> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), env_file).unwrap();
        let vars =
            |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let path: &Path = directory.path();
        let sources = Sources::read(&vars, path, &|name| PROVIDER.reads(name));
        PROVIDER.configured(&sources, model.map(str::to_owned))
    }

    fn key(set: &[(&str, &str)], env_file: &str, model: Option<&str>) -> Option<String> {
        configured(set, env_file, model).unwrap().api_key.map(|key| key.expose().to_owned())
    }

    #[test]
    fn the_providers_own_key_and_the_one_of_the_configured_model() {
        let model = Some("acme/acme-1");
        assert_eq!(key(&[("ACME_KEY", "b"), ("ACME_API_KEY", "a")], "", model), Some("a".into()));
        assert_eq!(key(&[("ABYME_API_KEY", "x")], "", model), None, "whose key that is nobody says");
        let ours = [("ABYME_MODEL", "acme/acme-2"), ("ABYME_API_KEY", "x"), ("ACME_KEY", "b")];
        assert_eq!(key(&ours, "", model), Some("x".into()));
        let other = [("ABYME_MODEL", "gpt-5"), ("ABYME_API_KEY", "x"), ("ACME_KEY", "b")];
        assert_eq!(key(&other, "", model), Some("b".into()));
        let found = configured(&ours, "DSPY_LM_MAX_TOKENS=9", None).unwrap();
        assert_eq!((found.model.as_str(), found.max_tokens), ("acme/acme-2", Some(9)));
        assert_eq!(configured(&[], "", None).unwrap_err().kind(), ErrorKind::NotConfigured);
    }

    #[test]
    fn a_folder_does_not_decide_where_the_accounts_key_goes() {
        let url = "ACME_BASE_URL=https://evil.example";
        let model = Some("acme/acme-1");
        assert_eq!(key(&[("ACME_API_KEY", "a")], url, model), None);
        assert_eq!(key(&[], &format!("{url}\nACME_API_KEY=f"), model), Some("f".into()));
        let set = [("ACME_API_KEY", "a"), ("ACME_BASE_URL", "https://mine.example")];
        assert_eq!(key(&set, url, model), Some("a".into()));
        let found = configured(&set, url, model).unwrap();
        assert_eq!(found.base_url.as_deref(), Some("https://mine.example"));
    }

    #[test]
    fn names_with_and_without_the_prefix() {
        assert_eq!(PROVIDER.name_of("acme/acme-1").unwrap(), "acme-1");
        assert_eq!(PROVIDER.name_of("acme-1").unwrap(), "acme-1");
        assert!(PROVIDER.has("acme-1") && PROVIDER.has("acme/x") && !PROVIDER.has("other/x"));
        for wrong in ["other/acme-1", "acme/", "", " "] {
            assert_eq!(PROVIDER.name_of(wrong).unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
    }
}

//! What the environment says to the client of one provider.

use abyme_core::{Error, ErrorKind, ModelFacts, PriceTable, Result};
use reqwest::Url;

use super::{Sources, Variable};
use crate::{
    model_config::ModelConfig,
    url::{base_url, host_of, shown},
};

/// A provider with a client of its own, as names and the environment know it.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// What names of its models may begin with, before a `/`.
    pub prefix: &'static str,
    /// A name of a model, for messages.
    pub example: &'static str,
    /// Where its API is, where nobody says otherwise.
    pub endpoint: &'static str,
    /// The variables that hold its base URL.
    pub base_url: &'static [&'static str],
    /// The variables that hold its key.
    pub keys: &'static [&'static str],
}

impl Provider {
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
        Sources::is_general(variable)
            || [self.base_url, self.keys].iter().any(|names| names.contains(&variable))
    }

    /// What the environment configures, with a model for that model. A key of no one provider
    /// (`ABYME_API_KEY`) counts only if the environment's own model is one of this provider, and comes first
    /// then.
    ///
    /// # Errors
    /// `NotConfigured` if there is no model; `Config` if a variable, or its line in `.env`, cannot be used.
    pub fn configured<O: Default>(
        &self,
        sources: &Sources<'_>,
        model: Option<String>,
    ) -> Result<ModelConfig<O>> {
        let example = format!("{}/{}", self.prefix, self.example);
        let (model, own) = sources.model(model, &example, &format!("the key `{}`", self.keys[0]))?;
        let is_ours = own.is_some_and(|own| own.starts_with(&format!("{}/", self.prefix)));
        let base: Option<Variable> = sources.first(self.base_url)?;
        let general: &[_] = if is_ours { Sources::KEY } else { &[] };
        let host = base.as_ref().map_or(self.prefix, |base| base.value.as_str());
        let api_key = sources.key(&[general, self.keys].concat(), &[], base.as_ref(), &shown(host))?;
        let base_url = base.map(|base| base.value);
        let max_tokens = sources.max_tokens()?;
        Ok(ModelConfig { base_url, api_key, max_tokens, ..ModelConfig::new(model) })
    }

    /// Checks what can be checked without a request. Returns where requests go: what `at` makes of the base
    /// URL. The fields of `reserved` are not the user's.
    ///
    /// # Errors
    /// `Config` for a setting that cannot work, and `Auth` for a key that is missing.
    pub fn check<O>(
        &self,
        config: &ModelConfig<O>,
        reserved: &[&str],
        at: impl FnOnce(Url) -> Url,
    ) -> Result<Url> {
        self.name_of(&config.model)?;
        config.check(reserved)?;
        let url = at(self.url(config)?);
        self.check_key(config, &url)?;
        Ok(url)
    }

    /// Where requests go by a configuration, before anything is added to it.
    ///
    /// # Errors
    /// `Config` if the configured base URL is none.
    fn url<O>(&self, config: &ModelConfig<O>) -> Result<Url> {
        base_url(config.base_url.as_deref().unwrap_or(self.endpoint))
    }

    /// Whether requests to `url` go to the provider itself.
    pub fn is_at(&self, url: &Url) -> bool {
        base_url(self.endpoint).is_ok_and(|own| own.origin() == url.origin())
    }

    /// Checks that there is a key where requests go to the provider itself.
    ///
    /// # Errors
    /// `Auth` if it is missing.
    pub fn check_key<O>(&self, config: &ModelConfig<O>, url: &Url) -> Result<()> {
        if !self.is_at(url) || config.has_key() {
            return Ok(());
        }
        let (host, variable) = (host_of(url), self.keys[0]);
        let message = format!("no API key for {host}: set `{variable}` in the environment or in `.env`");
        Err(Error::new(ErrorKind::Auth, message))
    }

    /// What `table` says of a model of this provider.
    pub fn facts(&self, table: &PriceTable, model: &str) -> Option<ModelFacts> {
        table.find(&format!("{}/{model}", self.prefix)).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PROVIDER: Provider = Provider {
        prefix: "acme",
        example: "acme-1",
        endpoint: "https://api.acme.example/v2",
        base_url: &["ACME_BASE_URL"],
        keys: &["ACME_API_KEY", "ACME_KEY"],
    };

    fn configured(set: &[(&str, &str)], env_file: &str, model: Option<&str>) -> Result<ModelConfig<()>> {
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
    fn only_the_provider_itself_needs_a_key() {
        let at = |base_url: Option<&str>, key: Option<&str>| {
            let config = ModelConfig::<()> {
                base_url: base_url.map(str::to_owned),
                api_key: key.map(Into::into),
                ..ModelConfig::new("acme-1")
            };
            let url = PROVIDER.url(&config)?;
            PROVIDER.check_key(&config, &url).map(|()| PROVIDER.is_at(&url))
        };
        let missing = at(None, None).unwrap_err();
        assert!(missing.kind() == ErrorKind::Auth && missing.message().contains("ACME_API_KEY"), "{missing}");
        assert!(at(None, Some("sk")).unwrap());
        assert!(!at(Some("http://api.acme.example"), None).unwrap(), "it is asked by HTTPS alone");
        assert!(!at(Some("http://localhost:4000"), None).unwrap(), "a server of one's own may do without");
        assert_eq!(at(Some("localhost:1"), None).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn names_with_and_without_the_prefix() {
        assert_eq!(PROVIDER.name_of("acme/acme-1").unwrap(), "acme-1");
        assert_eq!(PROVIDER.name_of("acme-1").unwrap(), "acme-1");
        for wrong in ["other/acme-1", "acme/", "", " "] {
            assert_eq!(PROVIDER.name_of(wrong).unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
    }
}

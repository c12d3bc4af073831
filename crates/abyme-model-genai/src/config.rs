//! The configuration as plain data, what a model's name says, and what the environment does.

use abyme_core::{Error, ErrorKind, Result};
use abyme_model_http::{ModelConfig, Sources, Url, base_url};
use genai::{ModelIden, adapter::AdapterKind};
use serde::{Deserialize, Serialize};

/// The configuration of a [`Genai`](crate::Genai), whose setters say what each field is for.
pub(crate) type Config = ModelConfig<Options>;

/// What only this client can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
}

/// Whether models whose names begin with `prefix` and a `/` can be asked by this crate: `bedrock`, `vertex`,
/// `cohere` and the other names of genai's providers.
///
/// ```
/// assert!(abyme_model_genai::is_provider("cohere") && !abyme_model_genai::is_provider("nonesuch"));
/// ```
pub fn is_provider(prefix: &str) -> bool {
    adapter(prefix).is_some()
}

fn adapter(prefix: &str) -> Option<AdapterKind> {
    // Custom ones are configured by variables of the environment that no one else reads.
    let known =
        |name: &str| AdapterKind::from_lower_str(name).filter(|kind| !matches!(kind, AdapterKind::Custom(_)));
    match prefix {
        "bedrock" => known("bedrock_api"),
        "vertex_ai" => known("vertex"),
        other => known(other),
    }
}

/// The provider and the name there of a model that is written as `provider/name`.
pub(crate) fn identify(written: &str) -> Result<ModelIden> {
    let wrong = |why: String| Err(Error::new(ErrorKind::Config, why));
    let named = written.split_once('/').filter(|(_, name)| !name.trim().is_empty());
    let Some((prefix, name)) = named else {
        return wrong(format!("model `{written}` names no provider: write `cohere/command-a`, for example"));
    };
    match adapter(prefix) {
        Some(kind) => Ok(ModelIden::new(kind, name)),
        None => {
            let known: Vec<_> = AdapterKind::all().iter().map(AdapterKind::as_lower_str).collect();
            wrong(format!(
                "no provider `{prefix}` of model `{written}` is known; known are {}",
                known.join(", ")
            ))
        }
    }
}

/// The variables that hold the key of a provider.
fn key_variables(kind: AdapterKind) -> Vec<&'static str> {
    let usual = kind.default_key_env_name();
    // AWS has a name of its own for it, which genai knows too.
    let other = (kind == AdapterKind::BedrockApi).then_some("AWS_BEARER_TOKEN_BEDROCK");
    usual.into_iter().chain(other).collect()
}

/// Whether a variable is one that is read here.
pub(crate) fn reads(variable: &str) -> bool {
    let of = |kind: &AdapterKind| key_variables(*kind).contains(&variable);
    Sources::is_general(variable) || AdapterKind::all().iter().any(of)
}

/// The configuration that the environment gives; with a model, for that model.
pub(crate) fn configured(sources: &Sources<'_>, model: Option<String>) -> Result<Config> {
    let key = "the provider's key (for example `COHERE_API_KEY`)";
    let (model, own) = sources.model(model, "cohere/command-a-03-2025", key)?;
    let kind_of = |model: &str| adapter(model.split_once('/')?.0);
    let of_own = own.as_deref().and_then(kind_of);
    let mut config = Config::new(model);
    if let Some(kind) = kind_of(&config.model) {
        // Keys of no one provider belong to the configured model's.
        let general = if of_own == Some(kind) { Sources::KEY } else { &[] };
        let names = [general, &key_variables(kind)].concat();
        config.api_key = sources.key(&names, &[], None, kind.as_lower_str())?;
    }
    config.max_tokens = sources.max_tokens()?;
    Ok(config)
}

/// Checks what can be checked without a request. Returns the provider, and the URL that was given, as genai
/// wants it.
pub(crate) fn check(config: &Config) -> Result<(AdapterKind, Option<Url>)> {
    let kind = identify(&config.model)?.adapter_kind;
    config.check(&[])?;
    // Whose URL is given may do without a key.
    let variable =
        kind.default_key_env_name().filter(|_| config.api_key.is_none() && config.base_url.is_none());
    if let Some(variable) = variable {
        let message =
            format!("no API key for `{}`: set `{variable}` in the environment or in `.env`", config.model);
        return Err(Error::new(ErrorKind::Auth, message));
    }
    let Some(base) = &config.base_url else { return Ok((kind, None)) };
    let mut url = base_url(base)?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok((kind, Some(url)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let defaults = json!({
            "model": "cohere/m", "connect_timeout": 10.0, "idle_timeout": 60.0, "max_body_bytes": 8_388_608,
        });
        assert_eq!(serde_json::to_value(Config::new("cohere/m")).unwrap(), defaults);
        assert_eq!(serde_json::from_value::<Config>(defaults).unwrap(), Config::new("cohere/m"));
    }

    #[test]
    fn the_environment_gives_the_model_and_the_key_of_its_provider() {
        let key = |set: &[(&str, &str)], model: Option<&str>| {
            let vars =
                |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            let sources = Sources::read(&vars, std::path::Path::new("/nowhere"), &reads);
            let config = configured(&sources, model.map(str::to_owned))?;
            Ok::<_, Error>((config.model, config.api_key.map(|key| key.expose().to_owned())))
        };
        let found = |model: &str, key: Option<&str>| (model.to_owned(), key.map(str::to_owned));
        let set = [("ABYME_MODEL", "cohere/m"), ("ABYME_API_KEY", "general"), ("COHERE_API_KEY", "own")];
        assert_eq!(key(&set, None).unwrap(), found("cohere/m", Some("general")));
        assert_eq!(key(&set, Some("groq/x")).unwrap(), found("groq/x", None), "whose key that is, is said");
        assert_eq!(key(&set[2..], Some("cohere/x")).unwrap(), found("cohere/x", Some("own")));
        let aws = [("AWS_BEARER_TOKEN_BEDROCK", "aws")];
        assert_eq!(key(&aws, Some("bedrock/x")).unwrap(), found("bedrock/x", Some("aws")));
        assert_eq!(key(&[], None).unwrap_err().kind(), ErrorKind::NotConfigured);
    }

    #[test]
    fn names_have_a_provider() {
        let identified = identify("bedrock/anthropic.claude-x-v1:0").unwrap();
        assert_eq!(identified.adapter_kind, AdapterKind::BedrockApi);
        assert_eq!(identified.model_name.to_string(), "anthropic.claude-x-v1:0");
        assert_eq!(identify("together/meta/llama").unwrap().model_name.to_string(), "meta/llama");
        for (wrong, part) in [
            ("command-a", "names no provider"),
            ("nonesuch/x", "known are"),
            ("cohere/", "names no provider"),
            ("genai_1/x", "known are"),
        ] {
            let error = identify(wrong).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn a_key_is_needed_only_at_the_providers_own_endpoint() {
        let missing = check(&Config::new("cohere/m")).unwrap_err();
        assert!(missing.kind() == ErrorKind::Auth && missing.message().contains("COHERE_API_KEY"));
        assert!(check(&Config { api_key: Some("sk".into()), ..Config::new("cohere/m") }).is_ok());
        let local = Config { base_url: Some("http://127.0.0.1:1/v1".into()), ..Config::new("cohere/m") };
        assert_eq!(check(&local).unwrap().1.unwrap().as_str(), "http://127.0.0.1:1/v1/");
        let nan = Config { temperature: Some(f64::NAN), ..local };
        assert_eq!(check(&nan).unwrap_err().kind(), ErrorKind::Config);
    }
}

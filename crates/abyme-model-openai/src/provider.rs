//! Where a model is served and what it is called there: provider prefixes as LiteLLM writes them, and base
//! URLs.

use abyme_core::{Error, ErrorKind, ModelFacts, PriceTable, Result};
use abyme_model_http::{Url, host_of};
use serde::{Deserialize, Serialize};

/// A well-known provider with an OpenAI-compatible endpoint.
#[derive(Debug, PartialEq)]
pub(crate) struct Provider {
    /// What its models' names may begin with. The first is the usual one.
    prefixes: &'static [&'static str],
    /// Its endpoint.
    base_url: &'static str,
    /// The environment variables that usually hold its key; none if it needs none.
    pub(crate) key_variables: &'static [&'static str],
}

/// Where models are served.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// What the URL of each request begins with.
    base: Url,
    /// Host and port, for messages.
    pub(crate) host: String,
    /// The well-known provider, if it is one.
    pub(crate) provider: Option<&'static Provider>,
    /// Whether the base URL was given, not derived from the model's name.
    pub(crate) given: bool,
    /// Whether it is Azure's, which has a header of its own for the key.
    pub(crate) is_azure: bool,
    /// Whether the URL of a request names a deployment.
    has_deployments: bool,
    /// The version of the API that each URL names.
    version: Option<String>,
}

/// What the API is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Api {
    /// Chat completions, which all servers have.
    #[default]
    ChatCompletions,
    /// OpenAI's Responses, which some of its models need, and others tell their thoughts by.
    Responses,
}

impl Api {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Endpoint {
    /// The endpoint of `base_url`; without one, that of the provider that `model` names. `version` is that of
    /// the API, for Azure.
    pub(crate) fn resolve(base_url: Option<&str>, model: &str, version: Option<&str>) -> Result<Self> {
        let Some(given) = base_url else {
            let provider = Provider::of(model)?;
            let (base, host) = base_and_host(provider.base_url)?;
            return Ok(Self {
                base,
                host,
                provider: Some(provider),
                given: false,
                is_azure: false,
                has_deployments: false,
                version: version.map(str::to_owned),
            });
        };
        let (base, host) = base_and_host(given)?;
        let provider = PROVIDERS.iter().find(|provider| provider.host_is(&host));
        let is_azure = is_azure(model) || AZURE_HOSTS.iter().any(|suffix| host.ends_with(suffix));
        // The newest form has no version and the deployment in the body, as everybody else has the model.
        let path = base.path();
        let has_deployments = is_azure && !path.ends_with("/v1") && !path.contains("/deployments/");
        let needs_version = has_deployments && !base.query_pairs().any(|(name, _)| name == "api-version");
        let version = version.or(needs_version.then_some(AZURE_VERSION)).map(str::to_owned);
        Ok(Self { base, host, provider, given: true, is_azure, has_deployments, version })
    }

    /// Where requests for the model that is called `model` here go.
    pub(crate) fn url(&self, api: Api, model: &str) -> Url {
        match api {
            Api::ChatCompletions if self.has_deployments => {
                self.at(&["deployments", model, "chat", "completions"])
            }
            Api::ChatCompletions => self.at(&["chat", "completions"]),
            Api::Responses => self.at(&["responses"]),
        }
    }

    /// Where the names of the models are.
    pub(crate) fn models_url(&self) -> Url {
        self.at(&["models"])
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            if self.has_deployments && !self.base.path().ends_with("/openai") {
                segments.push("openai");
            }
            segments.extend(path);
        }
        if let Some(version) = &self.version {
            url.query_pairs_mut().append_pair("api-version", version);
        }
        url
    }

    /// The environment variables that usually hold the key.
    pub(crate) fn key_variables(&self) -> &'static [&'static str] {
        let own = self.provider.map_or(&[] as &[_], |provider| provider.key_variables);
        if self.is_azure { AZURE_KEY } else { own }
    }

    /// What the model written as `written` is called here.
    pub(crate) fn model_name<'a>(&self, written: &'a str) -> Result<&'a str> {
        let openrouter = self.provider.is_some_and(|provider| provider.prefixes[0] == "openrouter");
        let Some((prefix, rest)) = written.split_once('/').filter(|(_, rest)| !rest.is_empty()) else {
            return Ok(written);
        };
        let strip = match self.provider {
            // OpenRouter's own names have a vendor and a slash: `openrouter/auto`, `openai/gpt-5`.
            _ if openrouter && !rest.contains('/') => false,
            _ if self.given => is_prefix(prefix),
            Some(provider) => provider.prefixes.contains(&prefix),
            None => false,
        };
        if !strip && !self.given && self.provider == Some(&PROVIDERS[0]) {
            let message =
                format!("model `{written}` is not one of {}: its prefix names another provider", self.host);
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(if strip { rest } else { written })
    }

    /// What the field for the most tokens of a reply is called here, as far as the host tells: OpenAI's newer
    /// models refuse the older name, and most other servers do not know the newer one.
    pub(crate) fn max_tokens_field(&self) -> &'static str {
        MAX_TOKENS_FIELDS[usize::from(self.is_azure || self.provider == Some(&PROVIDERS[0]))]
    }

    /// What the built-in table of prices says of the model that is called `model` here. Of an endpoint that
    /// is not its provider's own it says nothing: another server may call anything by that name.
    pub(crate) fn facts(&self, model: &str) -> Option<ModelFacts> {
        let provider = self.provider?.prefixes[0];
        PriceTable::built_in().find(&format!("{provider}/{model}")).copied()
    }

    /// Whether the provider tells what a call cost only to those who ask.
    pub(crate) fn tells_cost_on_request(&self) -> bool {
        self.provider.is_some_and(|provider| provider.prefixes[0] == "openrouter")
    }
}

/// Whether models whose names begin with `prefix` and a `/` have an endpoint that is known without a base
/// URL.
///
/// ```
/// assert!(abyme_model_openai::is_provider("groq") && !abyme_model_openai::is_provider("nonesuch"));
/// ```
pub fn is_provider(prefix: &str) -> bool {
    PROVIDERS.iter().any(|provider| provider.prefixes.contains(&prefix))
}

impl Provider {
    /// The provider that a model's name stands for when no base URL is given.
    pub(crate) fn of(model: &str) -> Result<&'static Self> {
        let Some((prefix, _)) = model.split_once('/') else { return Ok(&PROVIDERS[0]) };
        PROVIDERS.iter().find(|provider| provider.prefixes.contains(&prefix)).ok_or_else(|| {
            let known: Vec<_> = PROVIDERS.iter().map(|provider| provider.prefixes[0]).collect();
            let message = format!(
                "no endpoint is known for `{prefix}` of model `{model}`: set a base URL (`{}`, \
                 or `base_url` of the configuration); known without one are {}",
                if is_azure(model) { "AZURE_API_BASE" } else { "ABYME_API_BASE" },
                known.join(", ")
            );
            Error::new(ErrorKind::Config, message)
        })
    }

    /// Whether this is OpenAI itself.
    pub(crate) fn is_openai(&self) -> bool {
        self.prefixes[0] == "openai"
    }

    fn host_is(&self, host: &str) -> bool {
        base_and_host(self.base_url).is_ok_and(|(_, own)| own == host)
    }
}

/// Whether LiteLLM would take `prefix` for a provider, not for a part of the model's name.
fn is_prefix(prefix: &str) -> bool {
    ANY_SERVER.contains(&prefix) || is_provider(prefix)
}

/// Whether an environment variable is one that holds a provider's key.
pub(crate) fn is_key_variable(name: &str) -> bool {
    AZURE_KEY.contains(&name) || PROVIDERS.iter().any(|provider| provider.key_variables.contains(&name))
}

/// A base URL without `/chat/completions` and without a slash at its end, and its host.
fn base_and_host(base_url: &str) -> Result<(Url, String)> {
    let mut base = abyme_model_http::base_url(base_url)?;
    let path = base.path().trim_end_matches('/').trim_end_matches("/chat/completions").to_owned();
    base.set_path(path.trim_end_matches('/'));
    let host = host_of(&base);
    Ok((base, host))
}

/// Whether a model's name says that Azure serves it.
pub(crate) fn is_azure(model: &str) -> bool {
    model.split_once('/').is_some_and(|(prefix, _)| prefix == "azure")
}

/// The variables of Azure's keys.
pub(crate) const AZURE_KEY: &[&str] = &["AZURE_API_KEY", "AZURE_OPENAI_API_KEY"];

const AZURE_HOSTS: &[&str] = &[".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"];

/// The version of Azure's API where none is set: the last that is no preview.
const AZURE_VERSION: &str = "2024-10-21";

/// The names that most servers and OpenAI have for the most tokens of a reply.
pub(crate) const MAX_TOKENS_FIELDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// Prefixes that say "an OpenAI-compatible server", whose base URL has to be given.
const ANY_SERVER: &[&str] = &[
    "litellm_proxy",
    "azure",
    "azure_ai",
    "hosted_vllm",
    "vllm",
    "llamafile",
    "openai_like",
    "custom_openai",
    "text-completion-openai",
];

/// The well-known providers. OpenAI is the first: it is meant where a name has no prefix.
const PROVIDERS: &[Provider] = &[
    provider(&["openai"], "https://api.openai.com/v1", &["OPENAI_API_KEY"]),
    provider(&["openrouter"], "https://openrouter.ai/api/v1", &["OPENROUTER_API_KEY"]),
    provider(
        &["gemini"],
        "https://generativelanguage.googleapis.com/v1beta/openai",
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    ),
    provider(&["anthropic"], "https://api.anthropic.com/v1", &["ANTHROPIC_API_KEY"]),
    provider(&["groq"], "https://api.groq.com/openai/v1", &["GROQ_API_KEY"]),
    provider(&["deepseek"], "https://api.deepseek.com/v1", &["DEEPSEEK_API_KEY"]),
    provider(&["mistral"], "https://api.mistral.ai/v1", &["MISTRAL_API_KEY"]),
    provider(&["xai"], "https://api.x.ai/v1", &["XAI_API_KEY"]),
    provider(
        &["together_ai", "together"],
        "https://api.together.xyz/v1",
        &["TOGETHERAI_API_KEY", "TOGETHER_API_KEY"],
    ),
    provider(
        &["fireworks_ai", "fireworks"],
        "https://api.fireworks.ai/inference/v1",
        &["FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"],
    ),
    provider(&["cerebras"], "https://api.cerebras.ai/v1", &["CEREBRAS_API_KEY"]),
    provider(&["deepinfra"], "https://api.deepinfra.com/v1/openai", &["DEEPINFRA_API_KEY"]),
    provider(&["ollama", "ollama_chat"], "http://localhost:11434/v1", &[]),
    provider(&["lm_studio"], "http://localhost:1234/v1", &[]),
];

const fn provider(
    prefixes: &'static [&'static str],
    base_url: &'static str,
    key_variables: &'static [&'static str],
) -> Provider {
    Provider { prefixes, base_url, key_variables }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(base_url: Option<&str>, model: &str) -> (String, String) {
        let endpoint = Endpoint::resolve(base_url, model, None).unwrap();
        let name = endpoint.model_name(model).unwrap();
        (endpoint.url(Api::ChatCompletions, name).to_string(), name.to_owned())
    }

    #[test]
    fn names_with_a_base_url() {
        let base = Some("http://localhost:8000/v1/");
        for (written, expected) in [
            ("gpt-5-mini", "gpt-5-mini"),
            ("openai/gemini-3-flash-preview", "gemini-3-flash-preview"),
            ("hosted_vllm/meta-llama/Llama-3", "meta-llama/Llama-3"),
            ("meta-llama/Llama-3", "meta-llama/Llama-3"),
            ("litellm_proxy/gpt-5", "gpt-5"),
            ("text-completion-openai/x", "x"),
            ("openai/", "openai/"),
        ] {
            let url = "http://localhost:8000/v1/chat/completions";
            assert_eq!(sent(base, written), (url.into(), expected.into()), "{written}");
        }
    }

    #[test]
    fn names_without_a_base_url() {
        for (written, host, expected) in [
            ("gpt-5-mini", "api.openai.com", "gpt-5-mini"),
            ("openai/gpt-5-mini", "api.openai.com", "gpt-5-mini"),
            ("openrouter/openai/gpt-5", "openrouter.ai", "openai/gpt-5"),
            ("openrouter/auto", "openrouter.ai", "openrouter/auto"),
            ("groq/openai/gpt-oss-120b", "api.groq.com", "openai/gpt-oss-120b"),
            ("gemini/gemini-3-flash-preview", "generativelanguage.googleapis.com", "gemini-3-flash-preview"),
            ("ollama/qwen3", "localhost:11434", "qwen3"),
        ] {
            let endpoint = Endpoint::resolve(None, written, None).unwrap();
            let name = endpoint.model_name(written).unwrap();
            assert_eq!((endpoint.host.as_str(), name), (host, expected), "{written}");
        }
        for other in ["hosted_vllm/x", "bedrock/x", "meta-llama/Llama-3"] {
            let error = Endpoint::resolve(None, other, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.to_string().contains("ABYME_API_BASE") && error.to_string().contains(other),
                "{error}"
            );
        }
    }

    #[test]
    fn names_for_openrouter_by_base_url_keep_their_vendor() {
        let base = Some("https://openrouter.ai/api/v1");
        assert_eq!(sent(base, "openai/gpt-5").1, "openai/gpt-5");
        assert_eq!(sent(base, "openai/openai/gpt-5").1, "openai/gpt-5");
        assert_eq!(sent(base, "openrouter/openai/gpt-5").1, "openai/gpt-5");
    }

    #[test]
    fn another_model_of_the_same_provider() {
        let groq = Endpoint::resolve(None, "groq/llama", None).unwrap();
        assert_eq!(groq.model_name("groq/kimi").unwrap(), "kimi");
        assert_eq!(groq.model_name("openai/gpt-oss-120b").unwrap(), "openai/gpt-oss-120b");
        let openai = Endpoint::resolve(None, "gpt-5", None).unwrap();
        assert_eq!(openai.model_name("openai/gpt-5-mini").unwrap(), "gpt-5-mini");
        assert_eq!(openai.model_name("groq/llama").unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn only_a_providers_own_endpoint_has_the_prices_of_the_table() {
        let input = |base: Option<&str>, model: &str| {
            let endpoint = Endpoint::resolve(base, model, None).unwrap();
            let facts = endpoint.facts(endpoint.model_name(model).unwrap())?;
            Some(facts.price.input)
        };
        for (base, model, expected) in [
            (None, "gpt-5", Some(1.25)),
            (None, "openai/gpt-5-2025-08-07", Some(1.25)),
            (Some("https://api.openai.com/v1"), "gpt-5", Some(1.25)),
            (Some("http://localhost:8000/v1"), "gpt-5", None),
            (None, "openrouter/openai/gpt-5", None),
            (None, "ollama/gpt-5", None),
            (None, "groq/gpt-5", None),
            (None, "deepseek/deepseek-chat", Some(0.28)),
        ] {
            assert_eq!(input(base, model), expected, "{model} at {base:?}");
        }
    }

    #[test]
    fn base_urls() {
        for base in ["https://x.example/v1/chat/completions/?key=1#x", "https://x.example/v1/?key=1"] {
            assert_eq!(sent(Some(base), "m").0, "https://x.example/v1/chat/completions?key=1");
        }
        assert_eq!(sent(Some("http://x.example"), "m").0, "http://x.example/chat/completions");
        let endpoint = Endpoint::resolve(Some("http://x.example/v1/"), "m", Some("7")).unwrap();
        assert_eq!(endpoint.models_url().as_str(), "http://x.example/v1/models?api-version=7");
        assert_eq!(endpoint.url(Api::Responses, "m").path(), "/v1/responses");
    }

    #[test]
    fn azure_has_the_deployment_in_the_url_or_in_the_body() {
        let host = "https://me.openai.azure.com";
        let usual = format!("{host}/openai/deployments/my%2Fgpt/chat/completions?api-version=2024-10-21");
        for base in ["", "/", "/openai", "/openai/"] {
            let base = format!("{host}{base}");
            assert_eq!(sent(Some(&base), "azure/my/gpt"), (usual.clone(), "my/gpt".into()), "{base}");
        }
        let whole = format!("{host}/openai/deployments/gpt/chat/completions?api-version=2025-01-01-preview");
        assert_eq!(sent(Some(&whole), "azure/gpt").0, whole);
        let newest = format!("{host}/openai/v1");
        assert_eq!(sent(Some(&newest), "gpt").0, format!("{newest}/chat/completions"));
        let own = Endpoint::resolve(Some("https://gateway.test/x"), "azure/gpt", Some("v")).unwrap();
        assert_eq!(
            own.url(Api::ChatCompletions, "gpt").as_str(),
            "https://gateway.test/x/openai/deployments/gpt/chat/completions?api-version=v"
        );
        assert_eq!(own.url(Api::Responses, "gpt").path(), "/x/openai/responses");
        assert!(own.is_azure && own.key_variables().contains(&"AZURE_API_KEY"));
    }

    #[test]
    fn openai_has_its_own_name_for_max_tokens() {
        let field = |base| Endpoint::resolve(base, "x", None).unwrap().max_tokens_field();
        assert_eq!(field(None), "max_completion_tokens");
        assert_eq!(field(Some("https://api.openai.com/v1")), "max_completion_tokens");
        assert_eq!(field(Some("http://localhost:8000")), "max_tokens");
    }

    #[test]
    fn every_well_known_endpoint_parses() {
        for provider in PROVIDERS {
            assert!(provider.host_is(&base_and_host(provider.base_url).unwrap().1), "{provider:?}");
        }
    }
}

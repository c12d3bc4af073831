//! The client of a model, by the prefix of its name.

use std::sync::Arc;

use abyme_core::{Error, ErrorKind, LanguageModel, Result};

/// A model by its name, with the provider's prefix: `anthropic/claude-haiku-4-5`,
/// `gemini/gemini-3-flash-preview`, `openai/gpt-5-mini`, `groq/llama-3.3-70b`.
///
/// | the name begins with | the client | the feature |
/// |---|---|---|
/// | `anthropic/` | `Anthropic` | `anthropic` |
/// | `gemini/` | `Gemini` | `gemini` |
/// | the prefix of another provider that `OpenAi` knows, or none | `OpenAi` | `openai` |
/// | another name of a provider of genai: `bedrock/`, `vertex/`, `cohere/`, ... | `Genai` | `genai` |
///
/// A base URL in the environment (`ABYME_API_BASE`) is one of an OpenAI-compatible server: it is asked for
/// every model then, whatever its prefix, if the feature `openai` is on. Keys come from the environment, by
/// the rules of each client; a missing one shows by `check`, and when an `Rlm` is built.
///
/// ```
/// # #[cfg(feature = "anthropic")] {
/// let model = abyme::model("anthropic/claude-haiku-4-5")?;
/// assert_eq!(model.name(), "anthropic/claude-haiku-4-5");
/// # }
/// # Ok::<(), abyme::Error>(())
/// ```
///
/// # Errors
/// `Config` if no client knows the prefix; the message names the feature to enable.
pub fn model(name: impl Into<String>) -> Result<Arc<dyn LanguageModel>> {
    let name = name.into();
    let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
    #[cfg(feature = "openai")]
    {
        let openai = crate::OpenAi::new(&name);
        if openai.has_base_url() {
            return Ok(Arc::new(openai));
        }
    }
    match prefix {
        "anthropic" => anthropic(&name),
        "gemini" => gemini(&name),
        _ => other(&name, prefix),
    }
}

/// The error of a model whose client is not there.
#[allow(dead_code, reason = "with all features on, none is missing")]
fn missing(name: &str, feature: &str) -> Error {
    let message = format!("model `{name}` needs the feature `{feature}` of the crate `abyme`");
    Error::new(ErrorKind::Config, message)
}

#[cfg(feature = "anthropic")]
fn anthropic(name: &str) -> Result<Arc<dyn LanguageModel>> {
    Ok(Arc::new(crate::Anthropic::new(name)))
}

#[cfg(not(feature = "anthropic"))]
fn anthropic(name: &str) -> Result<Arc<dyn LanguageModel>> {
    Err(missing(name, "anthropic"))
}

#[cfg(feature = "gemini")]
fn gemini(name: &str) -> Result<Arc<dyn LanguageModel>> {
    Ok(Arc::new(crate::Gemini::new(name)))
}

#[cfg(not(feature = "gemini"))]
fn gemini(name: &str) -> Result<Arc<dyn LanguageModel>> {
    Err(missing(name, "gemini"))
}

#[cfg(feature = "openai")]
fn other(name: &str, prefix: &str) -> Result<Arc<dyn LanguageModel>> {
    let openai = crate::OpenAi::new(name);
    if prefix.is_empty() || crate::openai::is_provider(prefix) {
        return Ok(Arc::new(openai));
    }
    match openai.check() {
        Err(error) => genai(name, prefix, error),
        Ok(()) => Ok(Arc::new(openai)),
    }
}

#[cfg(not(feature = "openai"))]
fn other(name: &str, prefix: &str) -> Result<Arc<dyn LanguageModel>> {
    genai(name, prefix, missing(name, "openai"))
}

#[cfg(feature = "genai")]
fn genai(name: &str, prefix: &str, otherwise: Error) -> Result<Arc<dyn LanguageModel>> {
    match abyme_model_genai::is_provider(prefix) {
        true => Ok(Arc::new(crate::Genai::new(name))),
        false => Err(otherwise),
    }
}

#[cfg(not(feature = "genai"))]
fn genai(_: &str, _: &str, otherwise: Error) -> Result<Arc<dyn LanguageModel>> {
    let message =
        format!("{}; the feature `genai` of the crate `abyme` knows further providers", otherwise.message());
    Err(Error::new(ErrorKind::Config, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Which client a name leads to, by what its `Debug` begins with.
    fn client(name: &str) -> String {
        let shown = match model(name) {
            Ok(model) => format!("{model:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Config);
                error.to_string()
            }
        };
        shown.split(" {").next().unwrap().to_owned()
    }

    #[test]
    fn a_prefix_leads_to_its_client_or_to_the_feature_that_has_it() {
        let or_feature = |is_on: bool, client: &str, name: &str, feature: &str| match is_on {
            true => client.to_owned(),
            false => format!("model `{name}` needs the feature `{feature}` of the crate `abyme`"),
        };
        for (name, is_on, expected, feature) in [
            ("anthropic/claude-x", cfg!(feature = "anthropic"), "Anthropic", "anthropic"),
            ("gemini/gemini-x", cfg!(feature = "gemini"), "Gemini", "gemini"),
        ] {
            assert_eq!(client(name), or_feature(is_on, expected, name, feature));
        }
        if cfg!(feature = "openai") {
            for name in ["gpt-x", "openai/gpt-x", "groq/llama", "openrouter/anthropic/claude-x"] {
                assert_eq!(client(name), "OpenAi", "{name}");
            }
        }
        let bedrock = client("bedrock/anthropic.claude-x");
        match cfg!(feature = "genai") {
            true => assert_eq!(bedrock, "Genai"),
            false => assert!(bedrock.contains("the feature `genai`"), "{bedrock}"),
        }
        assert!(client("nonesuch/x").contains("nonesuch") || !cfg!(feature = "openai"));
    }
}

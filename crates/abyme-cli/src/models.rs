//! Which model to ask: flags first, then the environment, then `.env`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "anthropic")]
use abyme::Anthropic;
#[cfg(feature = "gemini")]
use abyme::Gemini;
#[cfg(feature = "genai")]
use abyme::Genai;
use abyme::{Error, ErrorKind, LanguageModel, OpenAi, Price, PriceTable, Result, openai::SystemRole};

use crate::args::{Fields, ModelArgs};

/// A model, by the client that asks it.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    OpenAi(OpenAi),
    #[cfg(feature = "anthropic")]
    Anthropic(Anthropic),
    #[cfg(feature = "gemini")]
    Gemini(Gemini),
    #[cfg(feature = "genai")]
    Genai(Genai),
}

/// The same for the model of each client.
macro_rules! each {
    ($self:expr, $model:ident => $then:expr) => {
        match $self {
            Model::OpenAi($model) => $then,
            #[cfg(feature = "anthropic")]
            Model::Anthropic($model) => $then,
            #[cfg(feature = "gemini")]
            Model::Gemini($model) => $then,
            #[cfg(feature = "genai")]
            Model::Genai($model) => $then,
        }
    };
}

/// A model again, after a change that each client has.
macro_rules! change {
    ($self:expr, $model:ident => $then:expr) => {
        match $self {
            Model::OpenAi($model) => Model::OpenAi($then),
            #[cfg(feature = "anthropic")]
            Model::Anthropic($model) => Model::Anthropic($then),
            #[cfg(feature = "gemini")]
            Model::Gemini($model) => Model::Gemini($then),
            #[cfg(feature = "genai")]
            Model::Genai($model) => Model::Genai($then),
        }
    };
}

impl Model {
    pub(crate) fn name(&self) -> &str {
        each!(self, model => model.name())
    }

    pub(crate) fn host(&self) -> Option<&str> {
        each!(self, model => model.host())
    }

    pub(crate) fn has_api_key(&self) -> bool {
        each!(self, model => model.has_api_key())
    }

    pub(crate) fn check(&self) -> Result<()> {
        each!(self, model => model.check())
    }

    /// What the server calls the model, as far as that is known.
    pub(crate) fn name_at_server(&self) -> Option<&str> {
        each!(self, model => model.name_at_server())
    }

    /// The names of the models that the server has.
    pub(crate) async fn available_models(&self) -> Result<Vec<String>> {
        each!(self, model => model.available_models().await)
    }

    pub(crate) fn with_prices(self, prices: &PriceTable) -> Self {
        change!(self, model => model.with_prices(prices))
    }

    pub(crate) fn with_price(self, price: Price) -> Self {
        change!(self, model => model.with_price(price))
    }

    pub(crate) fn with_max_input_tokens(self, tokens: u64) -> Self {
        change!(self, model => model.with_max_input_tokens(tokens))
    }

    pub(crate) fn shared(self) -> Arc<dyn LanguageModel> {
        each!(self, model => Arc::new(model))
    }
}

/// The model named `name`, or else the configured one, with what the flags say. It is not checked yet.
///
/// # Errors
/// Those of [`OpenAi::from_env`].
pub(crate) fn model(name: Option<&str>, args: &ModelArgs) -> Result<Model> {
    let mut model = client(name, args)?;
    if let Some(temperature) = args.temperature {
        model = change!(model, it => it.temperature(temperature));
    }
    if let Some(tokens) = args.max_reply_tokens {
        model = change!(model, it => it.max_tokens(tokens));
    }
    if let Some(seed) = args.seed {
        model = match model {
            Model::OpenAi(model) => Model::OpenAi(model.extra("seed", seed)),
            #[cfg(feature = "anthropic")]
            // Its models have none.
            Model::Anthropic(model) => Model::Anthropic(model),
            #[cfg(feature = "gemini")]
            Model::Gemini(model) => {
                let fields = [("seed".to_owned(), seed.into())].into_iter().collect();
                Model::Gemini(
                    model.extra("generationConfig", abyme::reexports::serde_json::Value::Object(fields)),
                )
            }
            #[cfg(feature = "genai")]
            Model::Genai(model) => Model::Genai(model.seed(u64::try_from(seed).ok())),
        };
    }
    // The other clients send the system's texts where their models read them.
    if let (true, Model::OpenAi(openai)) = (args.no_system_role, &model) {
        model = Model::OpenAi(openai.clone().system_role(SystemRole::InUserMessage));
    }
    for (field, value) in args.extra_body.iter().flat_map(|Fields(fields)| fields) {
        model = change!(model, it => it.extra(field, value.to_json()));
    }
    Ok(model)
}

/// How the error about a provider begins that the client for OpenAI-compatible servers does not know.
const UNKNOWN_PROVIDER: &str = "no endpoint is known";

/// The client for a model: that of its provider, or the one for OpenAI-compatible servers if a base URL is
/// set, which is one of such a server.
fn client(name: Option<&str>, args: &ModelArgs) -> Result<Model> {
    let openai = match openai(name, args) {
        // The environment names a model that another client may know.
        Err(error) if error.message().starts_with(UNKNOWN_PROVIDER) => return further(name, error),
        openai => openai?,
    };
    if openai.has_base_url() {
        return Ok(Model::OpenAi(openai));
    }
    match openai.name().split_once('/').map_or("", |(prefix, _)| prefix) {
        #[cfg(feature = "anthropic")]
        "anthropic" => Ok(Model::Anthropic(match name {
            Some(name) => Anthropic::new(name),
            None => Anthropic::from_env()?,
        })),
        #[cfg(feature = "gemini")]
        "gemini" => Ok(Model::Gemini(match name {
            Some(name) => Gemini::new(name),
            None => Gemini::from_env()?,
        })),
        prefix if prefix.is_empty() || abyme::openai::is_provider(prefix) => Ok(Model::OpenAi(openai)),
        _ => match openai.check() {
            Err(error) => further(name, error),
            Ok(()) => Ok(Model::OpenAi(openai)),
        },
    }
}

fn openai(name: Option<&str>, args: &ModelArgs) -> Result<OpenAi> {
    match (&args.api_base, name) {
        // `from_env` would send a key that belongs to another provider's model.
        (None, Some(name)) => Ok(OpenAi::new(name)),
        (None, None) => OpenAi::from_env(),
        (Some(api_base), name) => {
            let vars = |variable: &str| match (variable, name) {
                ("ABYME_API_BASE", _) => Some(api_base.clone()),
                ("ABYME_MODEL", Some(name)) => Some(name.to_owned()),
                _ => std::env::var(variable).ok(),
            };
            OpenAi::from_vars(&vars, &working_directory()?)
        }
    }
}

/// The client of a model that the others do not know, for the reason `otherwise`.
#[cfg(feature = "genai")]
fn further(name: Option<&str>, otherwise: Error) -> Result<Model> {
    let genai = match name {
        Some(name) => Ok(Genai::new(name)),
        None => Genai::from_env(),
    };
    let is_known = |genai: &Genai| {
        genai.name().split_once('/').is_some_and(|(prefix, _)| abyme::genai::is_provider(prefix))
    };
    genai.ok().filter(is_known).map(Model::Genai).ok_or(otherwise)
}

#[cfg(not(feature = "genai"))]
fn further(_: Option<&str>, otherwise: Error) -> Result<Model> {
    let message = format!(
        "{}; an `abyme` that is built with `--features genai` knows further providers (Bedrock, Vertex, \
         Cohere)",
        otherwise.message()
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// The user's own prices: those of the file that `--prices` or else `ABYME_PRICES` names.
///
/// # Errors
/// Those of [`PriceTable::load`].
pub(crate) fn prices(flag: Option<&Path>) -> Result<Option<PriceTable>> {
    let variable = || std::env::var_os("ABYME_PRICES").filter(|path| !path.is_empty()).map(PathBuf::from);
    flag.map(Path::to_path_buf).or_else(variable).map(PriceTable::load).transpose()
}

/// Where the model's name comes from, in words.
pub(crate) fn source(model: Option<&str>) -> String {
    if model.is_some() {
        return "--model".to_owned();
    }
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    match ["ABYME_MODEL", "DSPY_LM_MODEL"].iter().find(|name| set(name)) {
        Some(name) => format!("{name} in the environment"),
        None => match env_file() {
            Some(path) => path.display().to_string(),
            None => "the environment".to_owned(),
        },
    }
}

fn env_file() -> Option<PathBuf> {
    let directory = working_directory().ok()?;
    directory.ancestors().map(|folder: &Path| folder.join(".env")).find(|path| path.is_file())
}

fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| {
        Error::new(ErrorKind::Io, "the working directory cannot be found").with_source(error)
    })
}

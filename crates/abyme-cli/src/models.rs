//! Which model to ask: flags first, then the environment, then `.env`.

use std::path::Path;

use abyme::{Error, ErrorKind, OpenAi, Result};

/// A model; `model` and `api_base` are what flags say. It is not checked yet.
///
/// # Errors
/// Those of [`OpenAi::from_env`].
pub(crate) fn model(model: Option<&str>, api_base: Option<&str>) -> Result<OpenAi> {
    let Some(api_base) = api_base else {
        return match model {
            // `from_env` would send a key that belongs to another provider's model.
            Some(model) => Ok(OpenAi::new(model)),
            None => OpenAi::from_env(),
        };
    };
    let vars = |name: &str| match (name, model) {
        ("ABYME_API_BASE", _) => Some(api_base.to_owned()),
        ("ABYME_MODEL", Some(model)) => Some(model.to_owned()),
        _ => std::env::var(name).ok(),
    };
    OpenAi::from_vars(&vars, &working_directory()?)
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

fn env_file() -> Option<std::path::PathBuf> {
    let directory = working_directory().ok()?;
    directory.ancestors().map(|folder: &Path| folder.join(".env")).find(|path| path.is_file())
}

fn working_directory() -> Result<std::path::PathBuf> {
    std::env::current_dir().map_err(|error| {
        Error::new(ErrorKind::Io, "the working directory cannot be found").with_source(error)
    })
}

//! Which model to ask: flags first, then the environment, then `.env`.

use std::path::{Path, PathBuf};

use abyme::{Error, ErrorKind, OpenAi, PriceTable, Result, openai::SystemRole};

use crate::args::{Fields, ModelArgs};

/// The model named `name`, or else the configured one, with what the flags say. It is not checked yet.
///
/// # Errors
/// Those of [`OpenAi::from_env`].
pub(crate) fn model(name: Option<&str>, args: &ModelArgs) -> Result<OpenAi> {
    let mut model = match (&args.api_base, name) {
        // `from_env` would send a key that belongs to another provider's model.
        (None, Some(name)) => OpenAi::new(name),
        (None, None) => OpenAi::from_env()?,
        (Some(api_base), name) => {
            let vars = |variable: &str| match (variable, name) {
                ("ABYME_API_BASE", _) => Some(api_base.clone()),
                ("ABYME_MODEL", Some(name)) => Some(name.to_owned()),
                _ => std::env::var(variable).ok(),
            };
            OpenAi::from_vars(&vars, &working_directory()?)?
        }
    };
    if let Some(temperature) = args.temperature {
        model = model.temperature(temperature);
    }
    if let Some(tokens) = args.max_reply_tokens {
        model = model.max_tokens(tokens);
    }
    if let Some(seed) = args.seed {
        model = model.extra("seed", seed);
    }
    if args.no_system_role {
        model = model.system_role(SystemRole::InUserMessage);
    }
    for (field, value) in args.extra_body.iter().flat_map(|Fields(fields)| fields) {
        model = model.extra(field, value.to_json());
    }
    Ok(model)
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

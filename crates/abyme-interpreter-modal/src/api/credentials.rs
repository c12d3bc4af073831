//! The token of an account, and where Modal is: from the configuration, the environment, or `~/.modal.toml`.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use abyme_core::{Error, ErrorKind, Result};
use etcetera::BaseStrategy as _;
use serde::Deserialize;

use crate::config::AccountToken;

const DEFAULT_URL: &str = "https://api.modal.com";
const HOW: &str = "run `modal setup`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET \
                   (https://modal.com/settings/tokens)";

/// A token, and the server that it is for. Neither half is ever shown.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) url: String,
    pub(crate) environment: String,
    /// Where the token is from, for people.
    pub(crate) origin: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("url", &self.url)
            .field("environment", &self.environment)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// `text` without the token, should somebody have put it in there.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, "[hidden]").replace(&self.id, "[token]")
    }
}

/// What a program says itself. The rest comes from where Modal's own clients look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides<'a> {
    pub(crate) profile: Option<&'a str>,
    pub(crate) environment: Option<&'a str>,
    pub(crate) url: Option<&'a str>,
}

/// A profile of `~/.modal.toml`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Profile {
    token_id: Option<String>,
    token_secret: Option<String>,
    environment: Option<String>,
    server_url: Option<String>,
    active: bool,
}

/// Finds the credentials in this process's environment and the user's file, unless there is a `token`.
pub(crate) fn find(wanted: &Overrides<'_>, token: Option<&AccountToken>) -> Result<Credentials> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(AccountToken { id, secret }) = token {
        let of_token = |name: &str| match name {
            "MODAL_TOKEN_ID" => Some(id.clone()),
            "MODAL_TOKEN_SECRET" => Some(secret.clone()),
            "MODAL_PROFILE" => None,
            _ => variable(name),
        };
        let found = find_in(&Overrides { profile: None, ..wanted.clone() }, of_token, None)?;
        return Ok(Credentials { origin: "the configuration".to_owned(), ..found });
    }
    let path = config_file(&variable);
    let text = match &path {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                let what = format!("cannot read {}, where Modal keeps its token: {error}", path.display());
                return Err(Error::new(ErrorKind::Unavailable, what).with_source(error));
            }
        },
        None => None,
    };
    find_in(wanted, variable, path.zip(text))
}

fn config_file(variable: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let given = variable("MODAL_CONFIG_PATH").map(PathBuf::from);
    given.or_else(|| Some(etcetera::choose_base_strategy().ok()?.home_dir().join(".modal.toml")))
}

fn find_in(
    wanted: &Overrides<'_>,
    variable: impl Fn(&str) -> Option<String>,
    file: Option<(PathBuf, String)>,
) -> Result<Credentials> {
    let name = wanted.profile.map(str::to_owned).or_else(|| variable("MODAL_PROFILE"));
    let (profile, file_origin) = match &file {
        Some((path, text)) => {
            let (used, profile) = profile_of(text, name.as_deref()).map_err(|problem| {
                Error::new(ErrorKind::Unavailable, format!("{}: {problem}", path.display()))
            })?;
            (profile, format!("profile `{used}` of {}", path.display()))
        }
        None if wanted.profile.is_some() => {
            let profile = name.unwrap_or_default();
            let what = format!("there is no profile `{profile}`, as there is no ~/.modal.toml: {HOW}");
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        None => (Profile::default(), String::new()),
    };
    // A profile that a program names is meant; otherwise the environment comes first, as in Modal's clients.
    let of_environment = variable("MODAL_TOKEN_ID").zip(variable("MODAL_TOKEN_SECRET"));
    let of_environment = of_environment.filter(|_| wanted.profile.is_none());
    let (id, secret, origin) = match (of_environment, profile.token_id.zip(profile.token_secret)) {
        (Some((id, secret)), _) => (id, secret, "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET".to_owned()),
        (None, Some((id, secret))) => (id, secret, file_origin),
        (None, None) => {
            return Err(Error::new(ErrorKind::Unavailable, format!("there is no token for Modal: {HOW}")));
        }
    };
    // Metadata of a request are printable ASCII; anything else is a token that was pasted wrong.
    let is_token = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() > 3;
    if !is_token(id.trim()) || !is_token(secret.trim()) {
        let what =
            format!("the token of {origin} is none: it begins with `ak-`, its secret with `as-`; {HOW}");
        return Err(Error::new(ErrorKind::Unavailable, what));
    }
    let first = |wanted: Option<&str>, name: &str, of_profile: Option<String>| {
        wanted.map(str::to_owned).or_else(|| variable(name)).or(of_profile)
    };
    let url = first(wanted.url, "MODAL_SERVER_URL", profile.server_url);
    let environment = first(wanted.environment, "MODAL_ENVIRONMENT", profile.environment);
    Ok(Credentials {
        id: id.trim().to_owned(),
        secret: secret.trim().to_owned(),
        url: url.unwrap_or_else(|| DEFAULT_URL.to_owned()),
        environment: environment.unwrap_or_default(),
        origin,
    })
}

/// The profile of that name, or the active one, or the only one.
fn profile_of(text: &str, name: Option<&str>) -> Result<(String, Profile), String> {
    let profiles: BTreeMap<String, Profile> = toml::from_str(text).map_err(|error| {
        // The library's own text would show the line, which may hold the token.
        let line =
            error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("not a file of profiles (line {line})")
    })?;
    if let Some(name) = name {
        return match profiles.get(name) {
            Some(profile) => Ok((name.to_owned(), profile.clone())),
            None => {
                let all: Vec<_> = profiles.keys().map(String::as_str).collect();
                Err(format!("there is no profile `{name}`; there are: {}", all.join(", ")))
            }
        };
    }
    let mut active = profiles.iter().filter(|(_, profile)| profile.active);
    match (active.next(), active.next(), profiles.len()) {
        (Some((name, profile)), None, _) => Ok((name.clone(), profile.clone())),
        (Some(_), Some(_), _) => Err("more than one profile is active: set MODAL_PROFILE".to_owned()),
        (None, _, 1) => Ok(profiles.into_iter().next().unwrap_or_default()),
        _ => match profiles.get("default") {
            Some(profile) => Ok(("default".to_owned(), profile.clone())),
            None => Ok((String::new(), Profile::default())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[work]\ntoken_id = \"ak-work\"\ntoken_secret = \"as-work\"\nenvironment = \"dev\"\n\n\
                        [home]\ntoken_id = \"ak-home\"\ntoken_secret = \"as-home\"\nactive = true\n";

    fn find(wanted: &Overrides<'_>, variables: &[(&str, &str)], file: Option<&str>) -> Result<Credentials> {
        let variable = |name: &str| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        };
        find_in(wanted, variable, file.map(|text| ("/home/x/.modal.toml".into(), text.to_owned())))
    }

    #[test]
    fn the_environment_comes_before_the_file_and_the_active_profile_before_others() {
        let found = find(&Overrides::default(), &[], Some(FILE)).unwrap();
        assert_eq!((found.id.as_str(), found.url.as_str()), ("ak-home", DEFAULT_URL));
        assert!(found.origin.contains("profile `home`"), "{}", found.origin);
        let variables = [("MODAL_TOKEN_ID", "ak-env"), ("MODAL_TOKEN_SECRET", "as-env")];
        assert_eq!(find(&Overrides::default(), &variables, Some(FILE)).unwrap().id, "ak-env");
        let wanted = Overrides { profile: Some("work"), ..Overrides::default() };
        let found = find(&wanted, &variables, Some(FILE)).unwrap();
        assert_eq!((found.id.as_str(), found.environment.as_str()), ("ak-work", "dev"));
        let found = find(&Overrides::default(), &[("MODAL_PROFILE", "work")], Some(FILE)).unwrap();
        assert_eq!(found.id, "ak-work");
    }

    #[test]
    fn what_is_missing_is_said_and_no_token_is_shown() {
        let said = |variables: &[(&str, &str)], file| {
            let error = find(&Overrides::default(), variables, file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            format!("{error} {error:?}")
        };
        assert!(said(&[], None).contains("modal setup"));
        assert!(said(&[("MODAL_PROFILE", "none")], Some(FILE)).contains("there are: home, work"));
        let broken = said(&[], Some("[a]\ntoken_secret = as-very-secret\n"));
        assert!(broken.contains("line 2") && !broken.contains("very-secret"), "{broken}");
        let pasted = [("MODAL_TOKEN_ID", "ak-x\u{2014}"), ("MODAL_TOKEN_SECRET", "as-very-secret")];
        let pasted = said(&pasted, None);
        assert!(pasted.contains("is none") && !pasted.contains("very-secret"), "{pasted}");
        let shown = format!("{:?}", find(&Overrides::default(), &[], Some(FILE)).unwrap());
        assert!(!shown.contains("as-home") && !shown.contains("ak-home"), "{shown}");
    }
}

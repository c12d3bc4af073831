//! Finds the addresses of engines: from the configuration, `DOCKER_HOST`, the client's current context, or
//! the default.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use abyme_core::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The engine's address if nothing names another.
const DEFAULT: &str =
    if cfg!(windows) { "npipe:////./pipe/docker_engine" } else { "unix:///var/run/docker.sock" };

/// An engine's address and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address with its scheme.
    pub(crate) url: String,
    /// The directory of `ca.pem`, `cert.pem` and `key.pem`, where the connection is encrypted.
    pub(crate) certificates: Option<PathBuf>,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Configuration,
    Environment,
    Context(String),
    Default,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, origin, .. } = self;
        match origin {
            Origin::Configuration => write!(f, "{url} (from the configuration)"),
            Origin::Environment => write!(f, "{url} (from DOCKER_HOST)"),
            Origin::Context(name) => write!(f, "{url} (from the Docker context `{name}`)"),
            Origin::Default => write!(f, "{url} (the default)"),
        }
    }
}

/// The file of the Docker client that names its current context.
#[derive(Default, Deserialize)]
struct ClientConfig {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

/// What the Docker client keeps of a context.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: Option<String>,
}

impl Address {
    /// Whether the address can be used at all.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for one that the client cannot use, saying what to do.
    pub(crate) fn check(&self) -> Result<()> {
        let host = self.url.strip_prefix("ssh://").map(|rest| rest.split('/').next().unwrap_or(rest));
        let Some((name, port)) = host.and_then(|host| host.rsplit_once(':')) else { return Ok(()) };
        if name.ends_with(']') || !name.contains(':') {
            let what = format!(
                "the port of {self} cannot be given there: name it in `~/.ssh/config` (`Port {port}` below a \
                 `Host`), and use `ssh://` with that host"
            );
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(())
    }
}

/// The environment variable of this name, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Looks the addresses up as the Docker client does. `given` are those of the configuration. `DOCKER_HOST`
/// may name several, with commas between.
pub(crate) fn find(given: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Address>> {
    let home =
        || variable("HOME").or_else(|| variable("USERPROFILE")).map(|home| Path::new(&home).join(".docker"));
    let directory = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    // The client's own directory may hold certificates, as its documentation says.
    let certificates = || variable("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| directory.clone());
    let verify = variable("DOCKER_TLS_VERIFY").is_some();
    let at = |url: String, origin: Origin| {
        let encrypted = url.starts_with("https://") || (verify && url.starts_with("tcp://"));
        Address { certificates: if encrypted { certificates() } else { None }, url, origin }
    };
    if !given.is_empty() {
        return Ok(given.iter().map(|url| at(url.clone(), Origin::Configuration)).collect());
    }
    if let Some(list) = variable("DOCKER_HOST") {
        let urls = list.split(',').map(str::trim).filter(|url| !url.is_empty());
        return Ok(urls.map(|url| at(url.to_owned(), Origin::Environment)).collect());
    }
    let name = variable("DOCKER_CONTEXT").or_else(|| {
        let text = fs::read_to_string(directory.as_ref()?.join("config.json")).ok()?;
        serde_json::from_str::<ClientConfig>(&text).unwrap_or_default().current_context
    });
    match name.filter(|name| !name.is_empty() && name != "default") {
        Some(name) => Ok(vec![context(&name, directory.as_deref())?]),
        None => Ok(vec![at(DEFAULT.to_owned(), Origin::Default)]),
    }
}

/// The client keeps each context in a directory that is called by a hash of its name.
fn context(name: &str, directory: Option<&Path>) -> Result<Address> {
    let contexts = directory.map(|directory| directory.join("contexts")).unwrap_or_default();
    let entries = fs::read_dir(contexts.join("meta")).into_iter().flatten().flatten();
    for entry in entries {
        let text = fs::read_to_string(entry.path().join("meta.json")).unwrap_or_default();
        let Ok(context) = serde_json::from_str::<Context>(&text) else { continue };
        if context.name == name {
            let url =
                context.endpoints.docker.and_then(|endpoint| endpoint.host).filter(|url| !url.is_empty());
            let tls = contexts.join("tls").join(entry.file_name()).join("docker");
            return Ok(Address {
                url: url.unwrap_or_else(|| DEFAULT.to_owned()),
                certificates: tls.join("ca.pem").exists().then_some(tls),
                origin: Origin::Context(name.to_owned()),
            });
        }
    }
    let what = format!(
        "there is no Docker context `{name}` in {}: see `docker context ls`, or set DOCKER_HOST",
        contexts.display()
    );
    Err(Error::new(ErrorKind::Config, what))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn look_up(given: Option<&str>, variables: &[(&str, &str)]) -> Result<Address> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let given: Vec<_> = given.into_iter().map(str::to_owned).collect();
        let found = find(&given, |name| variables.get(name).map(|value| (*value).to_owned()))?;
        let [only] = found.try_into().unwrap();
        Ok(only)
    }

    #[test]
    fn the_configuration_comes_first() {
        let address = look_up(Some("unix:///a.sock"), &[("DOCKER_HOST", "unix:///b.sock")]).unwrap();
        assert_eq!(address.to_string(), "unix:///a.sock (from the configuration)");
    }

    #[test]
    fn then_the_environment() {
        let address =
            look_up(None, &[("DOCKER_HOST", "tcp://10.0.0.1:2375"), ("DOCKER_CONTEXT", "other")]).unwrap();
        assert_eq!(address.to_string(), "tcp://10.0.0.1:2375 (from DOCKER_HOST)");
        assert_eq!(address.certificates, None);
    }

    #[test]
    fn both_may_name_several() {
        let urls =
            |found: Result<Vec<Address>>| -> Vec<_> { found.unwrap().into_iter().map(|a| a.url).collect() };
        let variable =
            |name: &str| (name == "DOCKER_HOST").then(|| "unix:///a.sock, tcp://b:2375,".to_owned());
        assert_eq!(urls(find(&[], variable)), ["unix:///a.sock", "tcp://b:2375"]);
        let given = ["ssh://c".to_owned(), "ssh://d".to_owned()];
        assert_eq!(urls(find(&given, variable)), given);
    }

    #[test]
    fn certificates_are_where_the_environment_says() {
        let variables =
            [("DOCKER_HOST", "tcp://h:2376"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/certs")];
        assert_eq!(look_up(None, &variables).unwrap().certificates, Some("/certs".into()));
        let variables = [("DOCKER_HOST", "https://h:2376"), ("HOME", "/home/u")];
        assert_eq!(look_up(None, &variables).unwrap().certificates, Some("/home/u/.docker".into()));
    }

    #[test]
    fn a_port_for_ssh_is_refused() {
        assert!(look_up(Some("ssh://me@far"), &[]).unwrap().check().is_ok());
        assert!(look_up(Some("tcp://far:2375"), &[]).unwrap().check().is_ok());
        let error = look_up(Some("ssh://me@far:2222"), &[]).unwrap().check().unwrap_err();
        assert!(error.message().contains("`Port 2222`"), "{error}");
    }

    #[test]
    fn then_the_context_and_the_default() {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let config = home.path().to_str().unwrap();
        let variables = [("DOCKER_CONFIG", config)];
        assert_eq!(look_up(None, &variables).unwrap().url, DEFAULT);

        write(
            "contexts/meta/1234/meta.json",
            r#"{"Name":"far","Metadata":{},
                "Endpoints":{"docker":{"Host":"ssh://me@far","SkipTLSVerify":false}}}"#,
        );
        write("config.json", r#"{"auths":{},"currentContext":"far"}"#);
        let address = look_up(None, &variables).unwrap();
        assert_eq!(address.to_string(), "ssh://me@far (from the Docker context `far`)");
        assert_eq!(address.certificates, None);

        write("contexts/tls/1234/docker/ca.pem", "");
        let tls = home.path().join("contexts/tls/1234/docker");
        assert_eq!(look_up(None, &variables).unwrap().certificates, Some(tls));

        let variables = [("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "default")];
        assert_eq!(look_up(None, &variables).unwrap().url, DEFAULT);
        let variables = [("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "nowhere")];
        let error = look_up(None, &variables).unwrap_err();
        assert!(error.message().contains("no Docker context `nowhere`"), "{error}");
    }
}

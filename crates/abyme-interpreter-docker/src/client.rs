//! The connection to the engine: made once for each factory, when it is first used.

use std::{fmt, sync::Arc};

use abyme_core::{Error, Result};
use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as DockerError};
use rustls::crypto::CryptoProvider;

use crate::{
    DockerConfig,
    address::{self, Address},
    keeper::Keeper,
    problem,
};

/// How long the engine may take for one request, in seconds. Starting a container on a busy machine takes some.
const REQUEST_SECONDS: u64 = 120;

/// The engine, as a factory knows it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) docker: Docker,
    pub(crate) address: Address,
    pub(crate) keeper: Arc<Keeper>,
}

impl Client {
    /// Finds the engine and agrees with it on a version of its interface.
    pub(crate) async fn connect(config: &DockerConfig) -> Result<Self> {
        let address = address::find(config.host.as_deref(), address::variable)?;
        address.check()?;
        let keeper = Keeper::start()?;
        let at = address.clone();
        // What is opened for a connection belongs to the thread that uses it.
        let docker = keeper.run(async move { open(&at)?.negotiate_version().await }).await?;
        let docker = docker.map_err(|error| problem::failed("Docker cannot be used", error, &address))?;
        Ok(Self { docker, address, keeper })
    }

    /// An error of the engine, as one of ours. `what` could not be done.
    pub(crate) fn failed(&self, what: &str, error: DockerError) -> Error {
        problem::failed(what, error, &self.address)
    }

    /// What the engine says of itself and of an image.
    pub(crate) async fn engine(&self, image: &str) -> Result<Engine> {
        let (docker, name) = (self.docker.clone(), image.to_owned());
        let (version, found) = self
            .keeper
            .run(async move { (docker.version().await, docker.inspect_image(&name).await) })
            .await?;
        let version = version.map_err(|error| self.failed("the engine does not say its version", error))?;
        let image_id = match found {
            Ok(found) => Some(found.id.unwrap_or_default()),
            Err(error) if problem::is_missing(&error) => None,
            Err(error) => return Err(self.failed(&format!("cannot look for the image `{image}`"), error)),
        };
        let platform = format!("{}/{}", version.os.unwrap_or_default(), version.arch.unwrap_or_default());
        Ok(Engine {
            address: self.address.to_string(),
            version: version.version.unwrap_or_default(),
            platform,
            image: image.to_owned(),
            image_id,
        })
    }
}

fn open(address: &Address) -> Result<Docker, DockerError> {
    let Some(certificates) = &address.certificates else {
        let url = &address.url;
        // A `tcp://` address is not encrypted unless that was asked for; the environment has been looked at already.
        let url = url.strip_prefix("tcp://").map_or_else(|| url.clone(), |rest| format!("http://{rest}"));
        return Docker::connect_with_host(&url).map(|docker| docker.with_timeout(patience()));
    };
    if CryptoProvider::get_default().is_none() {
        // A program with several providers has none by default, and the client would not know which to take.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let file = |name: &str| certificates.join(name);
    Docker::connect_with_ssl(
        &address.url,
        &file("key.pem"),
        &file("cert.pem"),
        &file("ca.pem"),
        REQUEST_SECONDS,
        API_DEFAULT_VERSION,
    )
}

fn patience() -> std::time::Duration {
    std::time::Duration::from_secs(REQUEST_SECONDS)
}

/// What an engine says of itself, for `abyme doctor` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Engine {
    /// Its address, and where that was found.
    pub address: String,
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// Its system and kind of processor, such as `linux/amd64`.
    pub platform: String,
    /// The image of the configuration.
    pub image: String,
    /// The image's id, if the engine has it.
    pub image_id: Option<String>,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, version, platform, image, image_id } = self;
        let has = if image_id.is_some() { "has" } else { "does not have" };
        write!(f, "Docker {version} for {platform} at {address}, which {has} the image {image}")
    }
}

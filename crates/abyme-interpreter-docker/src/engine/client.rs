//! The connection to an engine. A factory makes it once, when it is first used.

use std::{fmt, sync::Arc, time::Duration};

use abyme_core::{Error, Result};
use abyme_driver::BackgroundThread;
use bollard::{API_DEFAULT_VERSION, Docker, errors::Error as DockerError};
use rustls::crypto::CryptoProvider;

use super::{address::Address, failure};

/// How long the engine may take for one request. Starting a container on a busy machine takes some seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// The connection to an engine. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) docker: Docker,
    pub(crate) address: Address,
    pub(crate) thread: Arc<BackgroundThread>,
}

impl Client {
    /// Connects to the engine and agrees with it on a version of its interface.
    pub(crate) async fn connect(address: Address) -> Result<Self> {
        let thread = Arc::new(BackgroundThread::start("docker")?);
        let engine_address = address.clone();
        // Sockets belong to the runtime that opens them, so the thread that uses them must open them.
        let docker = thread.run(async move { open(&engine_address)?.negotiate_version().await }).await?;
        let docker = docker.map_err(|error| failure::failed("Docker cannot be used", error, &address))?;
        Ok(Self { docker, address, thread })
    }

    /// An error of the engine, as one of Abyme's. `what` could not be done.
    pub(crate) fn failed(&self, what: &str, error: DockerError) -> Error {
        failure::failed(what, error, &self.address)
    }

    /// What the engine says of itself and of an image.
    pub(crate) async fn info(&self, image: &str) -> Result<EngineInfo> {
        let (docker, name) = (self.docker.clone(), image.to_owned());
        let (version, image_info) = self
            .thread
            .run(async move { (docker.version().await, docker.inspect_image(&name).await) })
            .await?;
        let version = version.map_err(|error| self.failed("the engine does not say its version", error))?;
        let image_id = match image_info {
            Ok(info) => Some(info.id.unwrap_or_default()),
            Err(error) if failure::is_missing(&error) => None,
            Err(error) => return Err(self.failed(&format!("cannot look for the image `{image}`"), error)),
        };
        let platform = format!("{}/{}", version.os.unwrap_or_default(), version.arch.unwrap_or_default());
        Ok(EngineInfo {
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
        // A `tcp://` address without certificates is not encrypted. `address::find` has read the environment
        // already.
        let url = url.strip_prefix("tcp://").map_or_else(|| url.clone(), |rest| format!("http://{rest}"));
        return Docker::connect_with_host(&url).map(|docker| docker.with_timeout(REQUEST_TIMEOUT));
    };
    if CryptoProvider::get_default().is_none() {
        // A program with several providers has no default one, and the client needs one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let file = |name: &str| certificates.join(name);
    Docker::connect_with_ssl(
        &address.url,
        &file("key.pem"),
        &file("cert.pem"),
        &file("ca.pem"),
        REQUEST_TIMEOUT.as_secs(),
        API_DEFAULT_VERSION,
    )
}

/// What an engine says of itself, for `abyme doctor` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineInfo {
    /// Its address and the origin of that.
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

impl fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, version, platform, image, image_id } = self;
        let has = if image_id.is_some() { "has" } else { "does not have" };
        write!(f, "Docker {version} for {platform} at {address}, which {has} the image {image}")
    }
}

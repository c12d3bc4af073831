//! One container of a session: how it is made, its streams, control over it, its owner, and its end.

mod control;
mod exit;
mod owner;
mod plan;
mod removal;
mod streams;

use std::sync::Arc;

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::Owner;
use bollard::{
    errors::Error as DockerError,
    query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder},
};

use self::{
    control::Container,
    removal::{remove, watch_end},
    streams::Link,
};
pub(crate) use self::{
    owner::{SESSION, sweep, sweep_in_background},
    streams::{Input, Output},
};
use crate::{
    config::Config,
    engine::{Client, chain, is_missing},
    image::Image,
};

/// Makes a container, connects to its streams and starts it. If anything fails, the container is removed.
/// Runs on the thread of the engine.
pub(crate) async fn start(
    client: Client,
    config: Arc<Config>,
    owner: Owner,
    image: Image,
) -> Result<StartedContainer, StartFailure> {
    let name = unique_name();
    let body = plan::container(&config, &owner, &name, &image);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let warnings = match client.docker.create_container(Some(options), body).await {
        Ok(created) => created.warnings,
        Err(error) if is_missing(&error) => return Err(StartFailure::ImageMissing),
        Err(error) => {
            // The engine may have made it all the same, if only its answer was lost.
            if !matches!(error, DockerError::DockerResponseServerError { .. }) {
                let _ = remove(&client.docker, &name, None).await;
            }
            return Err(StartFailure::Other(client.failed("cannot make a container", error)));
        }
    };
    let end = watch_end(&client, &name);
    let link = Arc::new(Link::default());
    // From here on the container is removed when this is dropped.
    let container = Arc::new(Container::new(client.clone(), name.clone(), config.clone(), link.clone(), end));
    if let Some(limit) = exit::ignored_limit(&warnings) {
        container.remove().await;
        let what = format!(
            "the Docker engine at {} cannot keep to a limit: {limit} Use another engine, or set this \
             limit to none",
            client.address
        );
        return Err(StartFailure::Other(Error::new(ErrorKind::Unavailable, what)));
    }
    match connect_and_run(&client, &name, link).await {
        Ok((output, input)) => Ok(StartedContainer { container, output, input }),
        Err(error) => {
            let said = chain(&error);
            let error = match exit::explain_image(&said, &config.image, &config.python) {
                Some(explanation) => Error::new(ErrorKind::Unavailable, explanation)
                    .with("image", &config.image)
                    .with_source(error),
                None => client.failed("cannot start a container", error),
            };
            container.remove().await;
            Err(StartFailure::Other(error))
        }
    }
}

/// A running container and its streams.
pub(crate) struct StartedContainer {
    pub(crate) container: Arc<Container>,
    pub(crate) output: Output,
    pub(crate) input: Input,
}

/// Why a container was not started.
#[derive(Debug)]
pub(crate) enum StartFailure {
    /// The image was removed after it was looked for.
    ImageMissing,
    Other(Error),
}

/// Attaches before the start, so that nothing of the output is missed.
async fn connect_and_run(
    client: &Client,
    name: &str,
    link: Arc<Link>,
) -> Result<(Output, Input), DockerError> {
    let streams =
        AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
    let attached = client.docker.attach_container(name, Some(streams)).await?;
    client.docker.start_container(name, None).await?;
    Ok((Output::new(attached.output, link), attached.input))
}

/// A name that is used only once. With it the container can be removed even if the engine's answer is lost.
fn unique_name() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("abyme-{}-{random:016x}", std::process::id())
}

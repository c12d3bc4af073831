//! One container, from the request to make it until it is gone. Runs on the keeper's thread.

use std::{sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
        WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::{
    DockerConfig,
    client::Client,
    control::Container,
    image::Image,
    owner::Owner,
    plan, problem,
    streams::{Input, Link, Output},
};

/// How long a removal may take.
const REMOVAL: Duration = Duration::from_secs(20);
/// How often it is tried again where the engine is not able to for the moment.
const TRIES: u32 = 5;

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this code. It has been removed.
    Exited(i64),
    /// The engine did not say. The reason, if it gave one.
    Unknown(String),
}

/// Hears of a container's end, once it is gone.
pub(crate) type Endings = watch::Receiver<Option<Ending>>;

/// Makes a container, connects to its streams and starts it. Whatever fails, nothing of it is left.
pub(crate) async fn start(
    client: Client,
    config: Arc<DockerConfig>,
    owner: Owner,
    image: Image,
    program: &'static str,
) -> Result<(Arc<Container>, Output, Input), Failure> {
    let name = name();
    let body = plan::container(&config, &owner, &name, &image, program);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let warnings = match client.docker.create_container(Some(options), body).await {
        Ok(created) => created.warnings,
        Err(error) if problem::is_missing(&error) => return Err(Failure::ImageMissing),
        Err(error) => {
            // The engine may have made it all the same, if it was only its answer that got lost.
            if !matches!(error, DockerError::DockerResponseServerError { .. }) {
                let _ = remove(&client.docker, &name, None).await;
            }
            return Err(Failure::Other(client.failed("cannot make a container", error)));
        }
    };
    let endings = watch_end(&client, &name);
    let link = Arc::new(Link::default());
    // From here on it is removed when this is dropped.
    let container = Container::new(client.clone(), name.clone(), config.clone(), link.clone(), endings);
    let container = Arc::new(container);
    if let Some(limit) = problem::ignored_limit(&warnings) {
        container.remove().await;
        let what = format!(
            "the Docker engine at {} cannot keep to a limit: {limit} Use another engine, or set this limit to none",
            client.address
        );
        return Err(Failure::Other(Error::new(ErrorKind::Unavailable, what)));
    }
    match connect_and_run(&client, &name, link).await {
        Ok((output, input)) => Ok((container, output, input)),
        Err(error) => {
            let said = problem::chain(&error);
            let error = match problem::of_image(&said, &config.image, &config.python) {
                Some(words) => {
                    Error::new(ErrorKind::Unavailable, words).with("image", &config.image).with_source(error)
                }
                None => client.failed("cannot start a container", error),
            };
            container.remove().await;
            Err(Failure::Other(error))
        }
    }
}

/// Why a container was not started.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The image is gone since it was looked for.
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

/// A name that nobody else takes: with it a container can be removed although the engine's answer never came.
fn name() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("abyme-{}-{random:016x}", std::process::id())
}

/// Waits in the background for a container to be gone: after that nothing would say how it ended.
fn watch_end(client: &Client, name: &str) -> Endings {
    let (tell, endings) = watch::channel(None);
    let (docker, name) = (client.docker.clone(), name.to_owned());
    client.keeper.spawn(async move {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut answers = Box::pin(docker.wait_container(&name, Some(options)));
        let answer = tokio::select! {
            answer = answers.next() => answer,
            // Nobody wants to know any more.
            () = tell.closed() => return,
        };
        let ending = match answer {
            Some(Ok(answer)) => Ending::Exited(answer.status_code),
            Some(Err(DockerError::DockerContainerWaitError { code, .. })) => Ending::Exited(code),
            Some(Err(error)) => Ending::Unknown(problem::chain(&error)),
            None => Ending::Unknown("the engine broke off".to_owned()),
        };
        let _ = tell.send(Some(ending));
    });
    endings
}

/// Kills and removes a container, and waits until it is gone. Whether it is.
pub(crate) async fn remove(docker: &Docker, name: &str, endings: Option<Endings>) -> bool {
    let removal = async {
        for attempt in 0..TRIES {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            match docker.remove_container(name, Some(options)).await {
                Ok(()) => return true,
                Err(error) if problem::is_missing(&error) => return true,
                Err(DockerError::DockerResponseServerError { status_code: 409, .. }) => {
                    // It removes itself at this moment.
                    if let Some(mut endings) = endings.clone() {
                        let soon = endings.wait_for(Option::is_some);
                        let _ = tokio::time::timeout(Duration::from_secs(2), soon).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(container = name, %error, "a container could not be removed yet")
                }
            }
            tokio::time::sleep(Duration::from_millis(20 << attempt)).await;
        }
        false
    };
    tokio::time::timeout(REMOVAL, removal).await.unwrap_or(false)
}

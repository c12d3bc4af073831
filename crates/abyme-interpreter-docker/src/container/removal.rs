//! The end of a container: waiting for it, and bringing it about.

use std::time::Duration;

use bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt;
use tokio::{sync::watch, time::timeout};

use crate::engine::{Client, chain, is_missing};

/// How long a removal may take.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a removal is tried. An engine may be unable to do it for a moment.
const REMOVAL_ATTEMPTS: u32 = 5;
/// How long a container that removes itself may take.
const SELF_REMOVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerEnd {
    /// It exited with this code and has been removed.
    Exited(i64),
    /// The engine did not say how, for this reason.
    Unknown(String),
}

/// Receives a container's end, once it is removed.
pub(crate) type EndReceiver = watch::Receiver<Option<ContainerEnd>>;

/// Waits in the background for the removal of a container. Asked later, the engine would not know how it
/// ended.
pub(crate) fn watch_end(client: &Client, name: &str) -> EndReceiver {
    let (sender, receiver) = watch::channel(None);
    let (docker, name) = (client.docker.clone(), name.to_owned());
    client.thread.spawn(async move {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut answers = Box::pin(docker.wait_container(&name, Some(options)));
        let answer = tokio::select! {
            answer = answers.next() => answer,
            // All receivers were dropped.
            () = sender.closed() => return,
        };
        let container_end = match answer {
            Some(Ok(answer)) => ContainerEnd::Exited(answer.status_code),
            Some(Err(DockerError::DockerContainerWaitError { code, .. })) => ContainerEnd::Exited(code),
            Some(Err(error)) => ContainerEnd::Unknown(chain(&error)),
            None => ContainerEnd::Unknown("the engine broke off".to_owned()),
        };
        let _ = sender.send(Some(container_end));
    });
    receiver
}

/// Kills and removes a container. Returns whether it is removed.
pub(crate) async fn remove(docker: &Docker, name: &str, end: Option<EndReceiver>) -> bool {
    let removal = async {
        for attempt in 0..REMOVAL_ATTEMPTS {
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            match docker.remove_container(name, Some(options)).await {
                Ok(()) => return true,
                Err(error) if is_missing(&error) => return true,
                Err(DockerError::DockerResponseServerError { status_code: 409, .. }) => {
                    // It is removing itself.
                    if let Some(mut end) = end.clone() {
                        let soon = end.wait_for(Option::is_some);
                        let _ = timeout(SELF_REMOVAL_TIMEOUT, soon).await;
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
    timeout(REMOVAL_TIMEOUT, removal).await.unwrap_or(false)
}

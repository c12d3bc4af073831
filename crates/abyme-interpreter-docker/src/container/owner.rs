//! The labels of a container, which name the process that made it, and the sweep of what ended processes
//! left.

use std::collections::HashMap;

use abyme_core::Result;
use abyme_driver::Owner;
use bollard::{Docker, errors::Error as DockerError, query_parameters::ListContainersOptionsBuilder};
use futures_util::{StreamExt, stream::FuturesUnordered};

use super::removal::remove;
use crate::engine::Client;

/// Every container of Abyme has this label; its value is the container's name.
pub(crate) const SESSION: &str = "dev.abyme.session";
/// What the names of the labels begin with that name the owner.
const OWNER: &str = "dev.abyme.owner.";

/// The labels of a container of this process.
pub(crate) fn labels(owner: &Owner, session: &str) -> HashMap<String, String> {
    let session = [(SESSION.to_owned(), session.to_owned())];
    owner.labels(OWNER).into_iter().chain(session).collect()
}

/// Removes the containers whose owner has ended, and returns how many there were.
pub(crate) async fn sweep(client: &Client, here: &Owner) -> Result<usize> {
    let swept = client.thread.run_to_end(remove_orphans(client.docker.clone(), here.clone())).await?;
    swept.map_err(|error| client.failed("cannot look for containers left behind", error))
}

/// Does the same without waiting for it. The end of the factory does, for as long as it waits for the removal
/// of its own containers.
pub(crate) fn sweep_in_background(client: &Client, here: &Owner) {
    let orphans = remove_orphans(client.docker.clone(), here.clone());
    client.thread.spawn_tracked(async move {
        if let Err(error) = orphans.await {
            tracing::warn!(%error, "containers left behind by other programs could not be looked for");
        }
    });
}

async fn remove_orphans(docker: Docker, here: Owner) -> Result<usize, DockerError> {
    let filters = HashMap::from([("label", vec![SESSION])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let removals = FuturesUnordered::new();
    for container in docker.list_containers(Some(options)).await? {
        let labels = container.labels.unwrap_or_default();
        let owner = Owner::of(OWNER, |name| labels.get(name).cloned());
        let is_orphan = owner.is_some_and(|owner| owner.has_ended(&here));
        if let Some(id) = container.id.filter(|_| is_orphan) {
            tracing::info!(container = id, "removing a container whose program has ended");
            // At once, so that all are asked for before a short program ends.
            let docker = &docker;
            removals.push(async move { remove(docker, &id, None).await });
        }
    }
    let removed: Vec<bool> = removals.collect().await;
    Ok(removed.into_iter().filter(|removed| *removed).count())
}

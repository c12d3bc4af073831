//! Removes what is left of sessions whose program ended without a chance to do so.

use std::collections::HashMap;

use abyme_core::Result;
use bollard::{Docker, errors::Error as DockerError, query_parameters::ListContainersOptionsBuilder};

use crate::{
    client::Client,
    container,
    owner::{self, Owner, SESSION},
};

/// Removes the containers whose owner is gone; how many there were.
pub(crate) async fn sweep(client: &Client, here: &Owner) -> Result<usize> {
    let swept = client.keeper.see_through(remove_orphans(client.docker.clone(), here.clone())).await?;
    swept.map_err(|error| client.failed("cannot look for containers left behind", error))
}

/// The same, without waiting for it.
pub(crate) fn in_background(client: &Client, here: &Owner) {
    let orphans = remove_orphans(client.docker.clone(), here.clone());
    client.keeper.spawn(async move {
        if let Err(error) = orphans.await {
            tracing::warn!(%error, "containers left behind by other programs could not be looked for");
        }
    });
}

async fn remove_orphans(docker: Docker, here: Owner) -> Result<usize, DockerError> {
    let filters = HashMap::from([("label", vec![SESSION])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let mut removed = 0;
    for found in docker.list_containers(Some(options)).await? {
        let labels = found.labels.unwrap_or_default();
        let gone = Owner::of(&labels).is_some_and(|owner| owner.is_gone(&here, owner::started));
        if let Some(id) = found.id.filter(|_| gone) {
            tracing::info!(container = id, "removing a container whose program is gone");
            removed += usize::from(container::remove(&docker, &id, None).await);
        }
    }
    Ok(removed)
}

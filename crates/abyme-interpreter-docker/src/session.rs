//! Starts a container and hands it the driver: from here on it is a driver session like any other.

use std::sync::Arc;

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::{DriverSession, python::BOOT};
use tokio::io::AsyncWriteExt;

use crate::{
    container::{self, Failure},
    driver,
    interpreter::Shared,
    plan,
    streams::{Input, Output},
};

/// Starts a container with a driver in it.
pub(crate) async fn launch(shared: &Shared) -> Result<DriverSession<Output, Input>> {
    plan::check(&shared.config)?;
    let client = shared.client().await?;
    let mut attempts = 0;
    let (container, output, mut input, image) = loop {
        attempts += 1;
        let image = shared.image(client).await?;
        let start = container::start(
            client.clone(),
            shared.config.clone(),
            shared.owner.clone(),
            image.clone(),
            BOOT,
        );
        // Should this future be dropped, the container is made all the same, and removed at once.
        match client.keeper.see_through(start).await? {
            Ok((container, output, input)) => break (container, output, input, image),
            // Somebody removed the image since it was looked for.
            Err(Failure::ImageMissing) if attempts < 2 => shared.forget_image().await,
            Err(Failure::ImageMissing) => {
                let what = format!("the image `{}` is removed over and over", shared.config.image);
                return Err(Error::new(ErrorKind::Unavailable, what));
            }
            Err(Failure::Other(error)) => return Err(error),
        }
    };
    let session = &shared.config.session;
    // A container that dies or never reads is noticed by the handshake, which says how.
    let _ = tokio::time::timeout(session.start_timeout, input.write_all(&shared.driver.bundle(&image))).await;
    driver::compile_in_background(shared, client, image);
    Ok(DriverSession::new(output, input, container as Arc<_>, session.clone()))
}

//! The image: looks for it, and fetches it where that is allowed.

mod progress;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use abyme_core::{Error, ErrorKind, Result};
use bollard::{models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};
use futures_util::StreamExt;

pub use self::progress::PullProgress;
pub(crate) use self::progress::Reporter;
use crate::{
    config::{Config, Pull},
    engine::{Client, is_missing},
};

/// The least time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// An image that the engine has.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its id. Its name may come to mean another image.
    pub(crate) id: String,
    /// Directories for which the image declares volumes.
    pub(crate) volumes: Vec<String>,
}

/// Makes sure that the engine has the image.
pub(crate) async fn ensure(client: &Client, config: &Config, reporter: &Reporter) -> Result<Image> {
    if config.pull != Pull::Always
        && let Some(image) = find(client, &config.image).await?
    {
        return Ok(image);
    }
    if config.pull == Pull::Never {
        return Err(missing(config, "and fetching it is not allowed (`pull`)"));
    }
    pull(client, config, reporter).await?;
    find(client, &config.image).await?.ok_or_else(|| missing(config, "although it was fetched"))
}

fn missing(config: &Config, more: &str) -> Error {
    let image = &config.image;
    let what = format!("the Docker engine does not have the image `{image}`, {more}: `docker pull {image}`");
    Error::new(ErrorKind::Unavailable, what).with("image", image)
}

async fn find(client: &Client, name: &str) -> Result<Option<Image>> {
    let (docker, image) = (client.docker.clone(), name.to_owned());
    match client.thread.run(async move { docker.inspect_image(&image).await }).await? {
        Ok(info) => {
            let volumes = info.config.and_then(|config| config.volumes).unwrap_or_default();
            let id = info.id.unwrap_or_else(|| name.to_owned());
            Ok(Some(Image { id, volumes }))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(client.failed(&format!("cannot look for the image `{name}`"), error)),
    }
}

async fn pull(client: &Client, config: &Config, reporter: &Reporter) -> Result<()> {
    let (docker, reporter) = (client.docker.clone(), reporter.clone());
    let (name, tag) = name_and_tag(&config.image);
    let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
    let begun = Instant::now();
    let image = config.image.clone();
    let done = client.thread.run(async move {
        reporter.report(PullProgress::Pulling { image: image.clone() });
        let mut layers = Layers::default();
        let mut steps = docker.create_image(Some(options), None, None);
        while let Some(step) = steps.next().await {
            if let Some(progress) = layers.step(step?) {
                reporter.report(progress);
            }
        }
        reporter.report(PullProgress::Pulled { image, time: begun.elapsed() });
        Ok::<_, bollard::errors::Error>(())
    });
    done.await?.map_err(|error| {
        let what = format!("the image `{}` cannot be fetched", config.image);
        let error = client.failed(&what, error);
        // An engine answers 404 or 500 for faults of the registry or the network.
        Error::new(
            ErrorKind::Unavailable,
            format!("{}; is its name right, and is there a network?", error.message()),
        )
        .with("image", &config.image)
        .with_source(error)
    })
}

/// An image's name and its tag. Without a tag the engine would fetch the images of all tags.
fn name_and_tag(image: &str) -> (&str, &str) {
    if image.contains('@') {
        return (image, "");
    }
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[last..].split_once(':') {
        Some((name, tag)) => (&image[..last + name.len()], tag),
        None => (image, "latest"),
    }
}

/// The progress of each layer.
#[derive(Default)]
struct Layers {
    bytes: HashMap<String, (u64, u64)>,
    reported: Option<Instant>,
}

impl Layers {
    /// Takes a step into account, and returns the progress if it is time to report it.
    fn step(&mut self, step: CreateImageInfo) -> Option<PullProgress> {
        let detail = step.progress_detail?;
        if step.status.as_deref() != Some("Downloading") {
            return None;
        }
        let number = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
        self.bytes.insert(step.id?, (number(detail.current), number(detail.total)));
        if self.reported.is_some_and(|time| time.elapsed() < REPORT_INTERVAL) {
            return None;
        }
        self.reported = Some(Instant::now());
        let sum = |of: fn(&(u64, u64)) -> u64| self.bytes.values().map(of).sum();
        Some(PullProgress::Downloading { done: sum(|bytes| bytes.0), total: sum(|bytes| bytes.1) })
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn tags_are_told_from_ports() {
        assert_eq!(name_and_tag("python:3.13-slim"), ("python", "3.13-slim"));
        assert_eq!(name_and_tag("python"), ("python", "latest"));
        assert_eq!(name_and_tag("host:5000/team/python"), ("host:5000/team/python", "latest"));
        assert_eq!(name_and_tag("host:5000/team/python:x"), ("host:5000/team/python", "x"));
        assert_eq!(name_and_tag("python@sha256:12"), ("python@sha256:12", ""));
    }

    #[test]
    fn layers_are_summed() {
        let step = |id: &str, current, total| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some("Downloading".to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        };
        let mut layers = Layers::default();
        assert_eq!(layers.step(step("a", 1, 10)), Some(PullProgress::Downloading { done: 1, total: 10 }));
        assert_eq!(layers.step(step("b", 5, 20)), None, "not so soon");
        layers.reported = None;
        assert_eq!(layers.step(step("a", 10, 10)), Some(PullProgress::Downloading { done: 15, total: 30 }));
    }
}

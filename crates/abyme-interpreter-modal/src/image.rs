//! The image of a sandbox: built by Modal where it does not have it, with the log as progress.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::Progress;
use tonic::Status;

use crate::{
    api::{
        ControlPlane, is_temporary,
        messages::{
            BaseImage, GenericResult, GenericStatus, Image, ImageGetOrCreateRequest,
            ImageJoinStreamingRequest,
        },
    },
    config::Config,
};

/// How long one question after a build waits for more of its log, in seconds, as in Modal's clients.
const JOIN_SECONDS: f32 = 55.0;
/// How often in a row a build's log may break off without a new line.
const JOIN_RETRIES: u32 = 10;
/// Lines of the log in the error of a build that failed.
const LAST_LINES: usize = 20;

/// A step of building an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildProgress {
    /// Modal does not have this image, and builds it.
    Building {
        /// Its first line.
        image: String,
    },
    /// A line of the build's log.
    Log(
        /// The line.
        String,
    ),
    /// It is built.
    Built {
        /// Modal's id of it.
        image_id: String,
        /// How long it took.
        time: Duration,
    },
}

impl fmt::Display for BuildProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildProgress::Building { image } => write!(f, "Modal builds an image: {image}"),
            BuildProgress::Log(line) => f.write_str(line),
            BuildProgress::Built { image_id, time } => {
                write!(f, "Modal has the image {image_id}, after {:.1} s", time.as_secs_f64())
            }
        }
    }
}

impl Progress for BuildProgress {}

pub(crate) type Reporter = abyme_driver::Reporter<BuildProgress>;

/// The id of the image, which is built if Modal does not have it.
pub(crate) async fn ensure(
    control_plane: &ControlPlane,
    config: &Config,
    app_id: &str,
    reporter: &Reporter,
) -> Result<String> {
    if let Some(id) = &config.image_id {
        return Ok(id.clone());
    }
    let builder_version = control_plane.image_builder().await?;
    let mut base: Option<String> = None;
    for lines in layers(config) {
        let image = Image {
            base_images: base
                .into_iter()
                .map(|image_id| BaseImage { image_id, docker_tag: "base".to_owned() })
                .collect(),
            dockerfile_commands: lines.clone(),
        };
        let request = ImageGetOrCreateRequest {
            image: Some(image),
            app_id: app_id.to_owned(),
            builder_version: builder_version.clone(),
        };
        let step = lines.last().cloned().unwrap_or_default();
        let building = build(control_plane, request, &step, reporter);
        let built = tokio::time::timeout(config.build_timeout, building).await;
        base = Some(built.unwrap_or_else(|_| {
            let limit = config.build_timeout.as_secs_f64();
            let what = format!(
                "Modal did not build the image (`{step}`) within {limit:.0} s: raise `build_timeout`"
            );
            Err(Error::new(ErrorKind::Unavailable, what))
        })?);
    }
    base.ok_or_else(|| Error::new(ErrorKind::Internal, "an image has no lines"))
}

/// The lines of each layer. Modal keeps each, so that a package more builds one layer.
fn layers(config: &Config) -> Vec<Vec<String>> {
    let mut layers = vec![vec![format!("FROM {}", config.image)]];
    let mut layer = |lines: Vec<String>| {
        layers.push(std::iter::once("FROM base".to_owned()).chain(lines).collect());
    };
    let quoted = |packages: &[String]| {
        let quoted: Vec<_> =
            packages.iter().map(|package| format!("'{}'", package.replace('\'', r"'\''"))).collect();
        quoted.join(" ")
    };
    if !config.apt_packages.is_empty() {
        let packages = quoted(&config.apt_packages);
        layer(vec![format!("RUN apt-get update && apt-get install -y --no-install-recommends {packages}")]);
    }
    if !config.pip_packages.is_empty() {
        let (python, packages) = (&config.python, quoted(&config.pip_packages));
        layer(vec![format!("RUN {python} -m pip install --no-cache-dir {packages}")]);
    }
    if !config.dockerfile_lines.is_empty() {
        layer(config.dockerfile_lines.clone());
    }
    layers
}

async fn build(
    control_plane: &ControlPlane,
    request: ImageGetOrCreateRequest,
    step: &str,
    reporter: &Reporter,
) -> Result<String> {
    let begun = Instant::now();
    let failed =
        |status: &Status| control_plane.failed(&format!("cannot build the image (`{step}`)"), status);
    let answer = control_plane.image(request).await.map_err(|status| failed(&status))?;
    let image_id = answer.image_id;
    let mut log = VecDeque::new();
    let mut result = answer.result.filter(|result| result.status != 0);
    if result.is_none() {
        reporter.report(BuildProgress::Building { image: step.to_owned() });
        result =
            Some(join(control_plane, &image_id, &mut log, reporter).await.map_err(|status| failed(&status))?);
        if is_built(result.as_ref()) {
            reporter.report(BuildProgress::Built { image_id: image_id.clone(), time: begun.elapsed() });
        }
    }
    if is_built(result.as_ref()) {
        return Ok(image_id);
    }
    let why = result.map(|result| result.exception).unwrap_or_default();
    let log: Vec<String> = log.into();
    let said = match log.is_empty() {
        true => String::new(),
        false => format!("; the end of its log:\n{}", log.join("\n")),
    };
    let what = format!("Modal cannot build the image (`{step}`): {}{said}", why.trim());
    Err(Error::new(ErrorKind::Config, what).with("image", &image_id))
}

fn is_built(result: Option<&GenericResult>) -> bool {
    result.is_some_and(|result| result.status == i32::from(GenericStatus::Success))
}

/// Follows a build to its end, and on where its log broke off.
async fn join(
    control_plane: &ControlPlane,
    image_id: &str,
    log: &mut VecDeque<String>,
    reporter: &Reporter,
) -> Result<GenericResult, Status> {
    let mut last_entry_id = String::new();
    let mut failures = 0;
    loop {
        let request = ImageJoinStreamingRequest {
            image_id: image_id.to_owned(),
            timeout: JOIN_SECONDS,
            last_entry_id: last_entry_id.clone(),
        };
        let reading = async {
            let mut messages = control_plane.join_build(request).await?;
            while let Some(message) = messages.message().await? {
                failures = 0;
                if !message.entry_id.is_empty() {
                    last_entry_id = message.entry_id;
                }
                for logs in message.task_logs {
                    for line in logs.data.lines().filter(|line| !line.trim().is_empty()) {
                        reporter.report(BuildProgress::Log(line.to_owned()));
                        log.push_back(line.to_owned());
                        if log.len() > LAST_LINES {
                            log.pop_front();
                        }
                    }
                }
                if let Some(result) = message.result.filter(|result| result.status != 0) {
                    return Ok(Some(result));
                }
            }
            Ok(None)
        };
        match reading.await {
            Ok(Some(result)) => return Ok(result),
            Ok(None) => {}
            Err(status) if is_temporary(Status::code(&status)) && failures < JOIN_RETRIES => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(10) * 2_u32.pow(failures)).await;
            }
            Err(status) => return Err(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_package_is_a_layer() {
        let config = Config {
            image: "python:3.12".to_owned(),
            apt_packages: vec!["git".to_owned()],
            pip_packages: vec!["numpy".to_owned(), "pandas>=2".to_owned()],
            dockerfile_lines: vec!["ENV A=1".to_owned()],
            ..Config::default()
        };
        let layers = layers(&config);
        assert_eq!(layers[0], ["FROM python:3.12"]);
        assert!(layers[1][1].ends_with("install -y --no-install-recommends 'git'"), "{layers:?}");
        assert_eq!(layers[2][1], "RUN python3 -m pip install --no-cache-dir 'numpy' 'pandas>=2'");
        assert_eq!(layers[3], ["FROM base", "ENV A=1"]);
    }
}

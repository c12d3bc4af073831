//! A bare container through the Docker API, with the image of our own sessions and nothing around it.

use std::{env, fmt, pin::Pin, time::Instant};

use async_trait::async_trait;
use bollard::{
    Docker,
    container::LogOutput,
    errors::Error as DockerError,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder},
};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::because;
use crate::trial::Trial;

const ROUND_TRIPS: u32 = 200;

/// The engine and the image.
#[derive(Clone, Debug)]
struct Engine {
    docker: Docker,
    image: String,
}

impl Engine {
    async fn find() -> Result<Self, String> {
        let image = env::var("ABYME_DOCKER_IMAGE").ok().filter(|image| !image.is_empty());
        let image = image.unwrap_or_else(|| abyme::Docker::DEFAULT_IMAGE.to_owned());
        let docker = match env::var("DOCKER_HOST") {
            // The client's word for a connection that is not encrypted.
            Ok(host) => Docker::connect_with_host(&host.replacen("tcp://", "http://", 1)),
            Err(_) => Docker::connect_with_defaults(),
        };
        let docker = docker.map_err(because("no Docker engine"))?;
        docker.ping().await.map_err(because("no Docker engine answers"))?;
        docker.inspect_image(&image).await.map_err(because("the engine does not have the image"))?;
        Ok(Self { docker, image })
    }

    /// Makes a container, connects to its streams, starts it. It ends when its stdin is closed, also when
    /// this process dies, and then the engine removes it.
    async fn start(&self, command: &[&str]) -> Result<Running, String> {
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(command.iter().map(|&word| word.to_owned()).collect()),
            cmd: Some(Vec::new()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            network_disabled: Some(true),
            host_config: Some(HostConfig {
                auto_remove: Some(true),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().build();
        let made = self.docker.create_container(Some(options), body).await;
        let id = made.map_err(because("cannot make a container"))?.id;
        let streams = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self.docker.attach_container(&id, Some(streams)).await;
        let attached = attached.map_err(because("cannot attach to a container"))?;
        if let Err(error) = self.docker.start_container(&id, None).await {
            // The engine does not remove a container that never ran.
            let _ = self.docker.remove_container(&id, None).await;
            return Err(format!("cannot start a container: {error}"));
        }
        Ok(Running { output: attached.output, input: attached.input })
    }
}

type Pieces = Pin<Box<dyn Stream<Item = Result<LogOutput, DockerError>> + Send>>;

struct Running {
    output: Pieces,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Running {
    /// Reads until there is a whole line.
    async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        while !line.ends_with('\n') {
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                    line.push_str(&String::from_utf8_lossy(&message));
                }
                Some(Ok(LogOutput::StdErr { message })) => {
                    return Err(String::from_utf8_lossy(&message).trim().to_owned());
                }
                Some(Ok(LogOutput::StdIn { .. })) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err(format!("the container ended after {line:?}")),
            }
        }
        Ok(line)
    }
}

/// A container is made, connected to and started, and Python in it prints a line. Its end is not timed.
#[derive(Debug)]
pub(crate) struct FirstLine(Engine);

impl FirstLine {
    /// Finds the engine and runs one container.
    ///
    /// # Errors
    /// No engine, or no image.
    pub(crate) async fn prepare() -> Result<Self, String> {
        let mut trial = Self(Engine::find().await?);
        trial.sample().await?;
        Ok(trial)
    }
}

#[async_trait]
impl Trial for FirstLine {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let mut running = self.0.start(&["python3", "-I", "-c", "print(6 * 7)"]).await?;
        let line = running.line().await?;
        let taken = started.elapsed().as_secs_f64();
        if line == "42\n" { Ok(taken) } else { Err(format!("the container printed {line:?}")) }
    }
}

/// Sends back what it gets, as `cat` does, which not every image has.
const CAT: &str = "import os\nwhile piece := os.read(0, 65536): os.write(1, piece)";

/// A line to a container and back, the mean of two hundred.
pub(crate) struct RoundTrip(Running);

impl fmt::Debug for RoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoundTrip")
    }
}

impl RoundTrip {
    /// Finds the engine and starts a container that sends back what it gets.
    ///
    /// # Errors
    /// No engine, or no image.
    pub(crate) async fn prepare() -> Result<Self, String> {
        let mut trial = Self(Engine::find().await?.start(&["python3", "-I", "-c", CAT]).await?);
        trial.once().await?;
        Ok(trial)
    }

    async fn once(&mut self) -> Result<(), String> {
        let line = "a line about as long as the frame of a small cell, and no longer\n";
        self.0.input.write_all(line.as_bytes()).await.map_err(because("cannot write to the container"))?;
        self.0.input.flush().await.map_err(because("cannot write to the container"))?;
        let seen = self.0.line().await?;
        if seen == line { Ok(()) } else { Err(format!("the container answered {seen:?}")) }
    }
}

#[async_trait]
impl Trial for RoundTrip {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        for _ in 0..ROUND_TRIPS {
            self.once().await?;
        }
        Ok(started.elapsed().as_secs_f64() / f64::from(ROUND_TRIPS))
    }
}

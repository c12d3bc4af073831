//! `cargo xtask docker-test-env`: a Docker engine of its own for the tests, with an image made from Debian
//! packages.
//!
//! Everything is below `target/docker-test-env`: socket, data, log, downloads. The command touches no
//! network, no registry and no engine of the machine. Starting twice is fine, and so is what an aborted start
//! left behind.

mod engine;
mod image;

use std::{process::Command, time::Instant};

use self::{
    engine::{Engine, say},
    image::IMAGE,
};
use crate::command::{Result, output};

/// What to do with the engine.
#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Start it, and print the variables that make tests use it: eval "$(cargo xtask docker-test-env start)".
    Start,
    /// Remove its containers and stop it. Its image stays for the next start.
    Stop,
    /// Say whether it runs.
    Status,
}

/// How tests find the engine and its image.
pub(crate) struct Env {
    /// For `DOCKER_HOST`.
    pub(crate) docker_host: String,
    /// For `ABYME_DOCKER_IMAGE`.
    pub(crate) image: String,
}

impl Env {
    /// The variables to set.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 2] {
        [("DOCKER_HOST", &self.docker_host), ("ABYME_DOCKER_IMAGE", &self.image)]
    }
}

pub(crate) fn run(action: &Action) -> Result<()> {
    match action {
        Action::Start => {
            for (name, value) in start()?.variables() {
                println!("export {name}={value}");
            }
        }
        Action::Stop => stop()?,
        Action::Status => {
            let state = if Engine::here().answers() { "runs" } else { "does not run" };
            println!("the test engine {state}: {}", Engine::here().host());
        }
    }
    Ok(())
}

/// Makes the engine run and the image be there.
pub(crate) fn start() -> Result<Env> {
    let engine = Engine::here();
    if engine.answers() {
        say("the engine runs already");
    } else {
        if !is_root() {
            return Err("the test engine needs root; or start an engine yourself, and set DOCKER_HOST and \
                        ABYME_DOCKER_IMAGE"
                .to_owned());
        }
        engine::install()?;
        engine.clean_up()?;
        engine.launch()?;
    }
    if engine.docker(&["image", "inspect", IMAGE]).is_ok() {
        say(&format!("the image {IMAGE} is there already"));
    } else {
        let started = Instant::now();
        image::import(&engine)?;
        say(&format!("the image {IMAGE} was made in {:.1} s", started.elapsed().as_secs_f64()));
    }
    Ok(Env { docker_host: engine.host(), image: IMAGE.to_owned() })
}

/// Removes the containers and ends the engine. Fine when it does not run.
pub(crate) fn stop() -> Result<()> {
    let engine = Engine::here();
    if engine.answers() {
        let containers = engine.docker(&["ps", "--all", "--quiet"])?;
        let ids: Vec<&str> = containers.split_whitespace().collect();
        if !ids.is_empty() {
            say(&format!("removing {} containers", ids.len()));
            engine.docker(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat())?;
        }
    }
    engine.clean_up()?;
    say("the engine is stopped");
    Ok(())
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

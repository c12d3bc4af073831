//! An interpreter that runs no Python and misbehaves in one chosen way, to see what the suite makes of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    reason = "shared by several test targets, each of which uses a part"
)]

use std::time::Duration;

use abyme_conformance::Harness;
use abyme_core::{
    Capabilities, Cell, CodeInterpreter, Error, ErrorKind, HostFunctions, Isolation, Observation, Result,
};
use async_trait::async_trait;

/// A case that an interpreter which answers every cell with nothing passes.
pub const PASSES: &str = "c01_lifecycle::shutdown_twice_is_fine";
/// A case that it fails.
pub const FAILS: &str = "c01_lifecycle::start_is_optional";
/// A case that asks for what it does not declare.
pub const LACKS: &str = "c08_concurrency::a_thread_left_behind_does_not_mix_in";

/// How the interpreter misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Cannot run on this machine.
    Absent,
    /// Never gives its thread back.
    Blocks,
    /// Never answers.
    Hangs,
    /// Panics.
    Panics,
    /// Answers every cell with nothing.
    Silent,
}

/// The harness of such an interpreter.
#[derive(Clone, Debug)]
pub struct Fake {
    manner: Manner,
    capabilities: Capabilities,
}

impl Fake {
    /// An interpreter that misbehaves in this way.
    pub fn new(manner: Manner) -> Self {
        let mut capabilities = Capabilities::new(Isolation::None);
        // Or the cases of C16 would have nothing to find wrong.
        (capabilities.fork, capabilities.snapshot) = (true, true);
        Self { manner, capabilities }
    }
}

#[async_trait]
impl Harness for Fake {
    type Guard = ();

    fn name(&self) -> &str {
        "fake"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn prerequisite(&self) -> Result<(), String> {
        match self.manner {
            Manner::Absent => Err("there is no fake on this machine".to_owned()),
            _ => Ok(()),
        }
    }

    async fn session(&self) -> Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), Box::new(FakeSession { fake: self.clone(), ended: false })))
    }
}

#[derive(Debug)]
struct FakeSession {
    fake: Fake,
    ended: bool,
}

#[async_trait]
impl CodeInterpreter for FakeSession {
    fn capabilities(&self) -> &Capabilities {
        &self.fake.capabilities
    }

    async fn start(&mut self) -> Result<()> {
        match self.fake.manner {
            _ if self.ended => Err(Error::new(ErrorKind::SessionEnded, "the fake was shut down")),
            Manner::Absent => Err(Error::new(ErrorKind::Unavailable, "there is no fake to start")),
            _ => Ok(()),
        }
    }

    async fn execute(&mut self, _: Cell, _: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        match self.fake.manner {
            Manner::Blocks => std::thread::sleep(Duration::from_secs(600)),
            Manner::Hangs => std::future::pending().await,
            Manner::Panics => panic!("the fake panics"),
            Manner::Absent | Manner::Silent => {}
        }
        Ok(Observation::default())
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.ended = true;
        Ok(())
    }
}

//! Faults planted between the suite and a good interpreter.

use abyme::{
    Capabilities, Cell, CodeInterpreter, HostFunctions, InterpreterFactory, Observation, Result, Subprocess,
    Value,
};
use abyme_conformance::Harness;
use async_trait::async_trait;

use super::fails;

/// One way to be wrong. What is not overridden is right.
trait Fault: Clone + std::fmt::Debug + Send + Sync + 'static {
    fn cell(&self, _: &mut Cell) {}
    fn observation(&self, _: &mut Observation) {}
    fn restarts(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Faulty<F> {
    fault: F,
    factory: Subprocess,
    inner: Box<dyn CodeInterpreter>,
    ran: bool,
}

#[async_trait]
impl<F: Fault> CodeInterpreter for Faulty<F> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        self.inner.start().await
    }

    async fn execute(&mut self, mut cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.ran = true;
        self.fault.cell(&mut cell);
        let mut observation = self.inner.execute(cell, host).await?;
        self.fault.observation(&mut observation);
        Ok(observation)
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.inner.shutdown().await?;
        if self.fault.restarts() && self.ran {
            self.inner = self.factory.create().await?;
        }
        Ok(())
    }
}

struct FaultyHarness<F> {
    fault: F,
    factory: Subprocess,
    capabilities: Capabilities,
}

impl<F> FaultyHarness<F> {
    fn new(fault: F) -> Self {
        let factory = Subprocess::new();
        let capabilities = factory.capabilities().clone();
        Self { fault, factory, capabilities }
    }
}

#[async_trait]
impl<F: Fault> Harness for FaultyHarness<F> {
    type Guard = ();

    fn name(&self) -> &str {
        "faulty"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn session(&self) -> Result<((), Box<dyn CodeInterpreter>)> {
        let (fault, factory) = (self.fault.clone(), self.factory.clone());
        let inner = factory.create().await?;
        Ok(((), Box::new(Faulty { fault, factory, inner, ran: false })))
    }
}

#[derive(Clone, Debug)]
struct RestartsAfterShutdown;

impl Fault for RestartsAfterShutdown {
    fn restarts(&self) -> bool {
        true
    }
}

#[test]
fn a_session_restarts_silently() {
    fails(FaultyHarness::new(RestartsAfterShutdown), &["c01_lifecycle::shutdown_is_the_end"]);
}

#[derive(Clone, Debug)]
struct HidesChanges;

impl Fault for HidesChanges {
    fn observation(&self, observation: &mut Observation) {
        observation.changed.clear();
    }
}

#[test]
fn changed_variables_are_hidden() {
    fails(FaultyHarness::new(HidesChanges), &["c05_output::changed_variables_are_reported"]);
}

#[derive(Clone, Debug)]
struct HalvesFloats;

impl Fault for HalvesFloats {
    fn cell(&self, cell: &mut Cell) {
        for (_, value) in &mut cell.variables {
            if let Value::Float(float) = value {
                #[allow(clippy::cast_possible_truncation, reason = "that is the fault")]
                let half = f64::from(*float as f32);
                *float = half;
            }
        }
    }
}

#[test]
fn floats_lose_half_their_bits() {
    fails(FaultyHarness::new(HalvesFloats), &["c06_values::floats_keep_every_bit"]);
}

#[derive(Clone, Debug)]
struct SortsKeys;

impl Fault for SortsKeys {
    fn cell(&self, cell: &mut Cell) {
        for (_, value) in &mut cell.variables {
            if let Value::Dict(entries) = value {
                entries.sort_keys();
            }
        }
    }
}

#[test]
fn keys_lose_their_order() {
    fails(
        FaultyHarness::new(SortsKeys),
        &["c06_values::keys_keep_their_order", "c07_answer::an_input_may_have_the_name"],
    );
}

#[derive(Clone, Debug)]
struct BytesEndAtZero;

impl Fault for BytesEndAtZero {
    fn cell(&self, cell: &mut Cell) {
        for (_, value) in &mut cell.variables {
            if let Value::Bytes(bytes) = value {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                bytes.truncate(end);
            }
        }
    }
}

#[test]
fn bytes_end_at_their_first_zero() {
    fails(FaultyHarness::new(BytesEndAtZero), &["c06_values::bytes_survive"]);
}

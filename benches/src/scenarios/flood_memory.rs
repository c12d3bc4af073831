//! Scenario `flood-memory`. A cell prints 1 GB, a million characters at a time. A sample is what the
//! program's memory grew by at its highest (the kernel's mark, cleared before). What Python itself takes
//! counts where Python is in the program (wasm, pyo3), and not where it is elsewhere. The observation has to
//! know how much was printed. Linux only.

use abyme::{Cell, CodeInterpreter};
use async_trait::async_trait;

use super::{
    memory,
    work::{PreparedTrial, check, made, ready, run},
};
use crate::{scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// The scenario.
#[derive(Debug)]
pub(crate) struct FloodMemory;

#[async_trait]
impl Scenario for FloodMemory {
    fn name(&self) -> &'static str {
        "flood-memory"
    }

    fn title(&self) -> &'static str {
        "host memory while a session prints 1 GB"
    }

    fn workload(&self) -> &'static str {
        "a cell prints 1 GB; what the program's memory grew by at its highest"
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn samples(&self) -> usize {
        5
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        memory::forget_peak()?;
        let mut session = ready(&**factory).await?;
        let _ =
            run(&mut *session, Cell::new("line = 'x' * 999_999\nfor _ in range(10): print(line)")).await?;
        made(Flooded { session })
    }
}

struct Flooded {
    session: Box<dyn CodeInterpreter>,
}

#[async_trait]
impl Trial for Flooded {
    async fn sample(&mut self) -> Result<f64, String> {
        memory::forget_peak()?;
        let before = memory::resident()?;
        let observation = run(&mut *self.session, Cell::new("for _ in range(1000): print(line)")).await?;
        let grown = memory::peak()?.saturating_sub(before);
        check("the number of characters", observation.stdout.total_chars, 1_000_000_000)?;
        Ok(grown as f64)
    }
}

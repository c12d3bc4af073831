//! Scenario `runs`. Complete runs in a second, two at a time, with a model that answers at once. A run has
//! three turns: it looks at its input, computes, and submits; each makes its own session and shuts it down. A
//! sample starts runs for a second, waits for the last, and divides their number by the time it took. Every
//! answer is checked.

use std::time::{Duration, Instant};

use abyme::{InterpreterFactory, Rlm, Text, inputs};
use async_trait::async_trait;

use super::{
    planner::Planner,
    work::{PreparedTrial, check, made, seconds, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const AT_A_TIME: usize = 2;

/// The scenario.
#[derive(Debug)]
pub(crate) struct Runs;

#[async_trait]
impl Scenario for Runs {
    fn name(&self) -> &'static str {
        "runs"
    }

    fn title(&self) -> &'static str {
        "complete runs of three turns"
    }

    fn workload(&self) -> &'static str {
        "whole runs of three turns with a model that answers at once, two at a time, each with a session \
         of its own"
    }

    fn unit(&self) -> Unit {
        Unit::PerSecond
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "wasm").then_some(Goal::Value(2000.0))
    }

    fn samples(&self) -> usize {
        10
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let rlm = three_turns(factory.clone(), Duration::ZERO)?;
        one(&rlm).await?;
        made(TwoAtATime { rlm })
    }
}

struct TwoAtATime {
    rlm: Rlm,
}

#[async_trait]
impl Trial for TwoAtATime {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let tasks: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                let rlm = self.rlm.clone();
                tokio::spawn(async move {
                    let mut runs = 0_u32;
                    while started.elapsed() < Duration::from_secs(1) {
                        one(&rlm).await?;
                        runs += 1;
                    }
                    Ok::<_, String>(runs)
                })
            })
            .collect();
        let mut runs = 0;
        for task in tasks {
            runs += task.await.map_err(|error| error.to_string())??;
        }
        Ok(f64::from(runs) / seconds(started))
    }
}

/// A run of three turns, for a model that takes so long for each reply.
///
/// # Errors
/// It cannot be put together.
pub(super) fn three_turns(
    factory: impl InterpreterFactory + 'static,
    delay: Duration,
) -> Result<Rlm, String> {
    let planner = Planner::new([
        "lines = context.splitlines()\nprint(len(context), len(lines), lines[0])",
        "total = sum(len(line.split()) for line in lines)\nprint(total)",
        "SUBMIT(answer=total)",
    ])
    .delay(delay);
    Rlm::builder("context -> answer: int").model(planner).interpreter(factory).build().map_err(words)
}

/// One run, with its answer checked.
///
/// # Errors
/// The run's.
pub(super) async fn one(rlm: &Rlm) -> Result<(), String> {
    let context = Text::from("a line of some text\n".repeat(50));
    let prediction = rlm.run(inputs! { context: context }).await.map_err(words)?;
    check("the answer", prediction.get::<i64>("answer").map_err(words)?, 250)
}

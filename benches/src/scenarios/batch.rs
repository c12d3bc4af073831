//! Scenario `batch`. In a real run, one cell sends 1 000 prompts with `llm_query_batched` to a model that
//! takes 50 ms for each and has no rate limit; as many may be in flight. The whole turn is timed: from the
//! reply that holds the cell to the next request, so parsing, the cell, the observation and the record are in
//! it, and the session's start is not. Every reply is checked by the cell. The least possible is 50 ms.

use std::time::Duration;

use abyme::{Rlm, Text, inputs};
use async_trait::async_trait;

use super::{
    planner::{Planner, SlowEcho},
    work::{PreparedTrial, check, is_ours, made, of_peer, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const CALLS: u32 = 1000;

/// The scenario.
#[derive(Debug)]
pub(crate) struct Batch;

#[async_trait]
impl Scenario for Batch {
    fn name(&self) -> &'static str {
        "batch"
    }

    fn title(&self) -> &'static str {
        "1 000 batched sub-calls of 50 ms each"
    }

    fn workload(&self) -> &'static str {
        "a turn whose cell calls `llm_query_batched` with 1 000 prompts, for a model that takes 50 ms \
         for each"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        is_ours(system).then_some(Goal::Value(0.15))
    }

    fn samples(&self) -> usize {
        15
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        match system {
            System::Backend(factory) => {
                let planner = Planner::new([
                    "replies = llm_query_batched([f'{context} {n}' for n in range(1000)])",
                    "SUBMIT(answer=sum(reply == f'{context} {n}' for n, reply in enumerate(replies)))",
                ])
                .stamped();
                let rlm = Rlm::builder("context -> answer: int")
                    .model(planner.clone())
                    .sub_model(SlowEcho(Duration::from_millis(50)))
                    .interpreter(factory.clone())
                    .limits(|limits| limits.max_llm_calls(CALLS).max_concurrent_calls(CALLS as usize))
                    .build()
                    .map_err(words)?;
                made(Batched { rlm, planner })
            }
            System::Peer(peer) => of_peer(peer, self.name(), at).await,
            System::Floor(_) | System::Loop => Ok(None),
        }
    }
}

struct Batched {
    rlm: Rlm,
    planner: Planner,
}

#[async_trait]
impl Trial for Batched {
    async fn sample(&mut self) -> Result<f64, String> {
        self.planner.take_stamps();
        let prediction = self.rlm.run(inputs! { context: Text::from("prompt") }).await.map_err(words)?;
        check("the number of right replies", prediction.get::<u32>("answer").map_err(words)?, CALLS)?;
        match self.planner.take_stamps().as_slice() {
            [first, second] => Ok((second.asked - first.answered).as_secs_f64()),
            stamps => Err(format!("the run took {} turns instead of 2", stamps.len())),
        }
    }
}

//! Scenarios `child` and `tree`: runs that start runs of their own.
//!
//! `child`: a cell starts children one after the other, with a model that answers at once. Each child has a
//! session of its own and submits in its first turn. Timed is the whole run, divided by the number of its
//! children.
//!
//! `tree`: a run starts 25 children, each of these starts 40 of its own, so that there are 1 000 at depth 2.
//! The model takes a second for each reply, and 64 runs may be at work at once. Timed is the whole run. The
//! least possible is a second for each level above, and the time that 64 at a time need for 1 000.

use std::time::{Duration, Instant};

use abyme::{InterpreterFactory, Limits, Rlm, inputs};
use async_trait::async_trait;

use super::{
    planner::Planner,
    work::{PreparedTrial, check, made, seconds, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// Children that are started one after the other.
const CHILDREN: u64 = 50;
/// The children of the tree's root, and the children of each.
const WIDTHS: (u64, u64) = (25, 40);
/// Runs at work at once.
const AT_ONCE: usize = 64;
const REPLY: Duration = Duration::from_secs(1);

/// The scenario: one after the other, or a tree of them.
#[derive(Debug)]
pub(crate) struct Children {
    is_tree: bool,
}

impl Children {
    pub(crate) fn one_by_one() -> Self {
        Self { is_tree: false }
    }

    pub(crate) fn tree() -> Self {
        Self { is_tree: true }
    }
}

#[async_trait]
impl Scenario for Children {
    fn name(&self) -> &'static str {
        if self.is_tree { "tree" } else { "child" }
    }

    fn title(&self) -> &'static str {
        if self.is_tree { "1 000 children at depth 2" } else { "a child run" }
    }

    fn workload(&self) -> &'static str {
        match self.is_tree {
            true => "a run with 25 children that have 40 each, a model that takes one second, 64 at once",
            false => {
                "a child with a session of its own, which submits in its first turn; the model takes no time"
            }
        }
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        let least = 2.0 + (WIDTHS.0 * WIDTHS.1).div_ceil(AT_ONCE as u64) as f64;
        match (system, self.is_tree) {
            ("wasm", false) => Some(Goal::Value(0.003)),
            ("wasm", true) => Some(Goal::Value(1.15 * least * REPLY.as_secs_f64())),
            _ => None,
        }
    }

    fn samples(&self) -> usize {
        if self.is_tree { 3 } else { 10 }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(120)
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        match (self.is_tree, factory.name()) {
            (true, "wasm") => {
                let rlm = tree(factory.clone(), WIDTHS, REPLY)?;
                made(Tree { rlm, leaves: WIDTHS.0 * WIDTHS.1, counted_as: 1 })
            }
            (false, _) => {
                let code = format!(
                    "done = [rlm_query('Leaf.') for _ in range({CHILDREN})]\nSUBMIT(answer=len(done))"
                );
                let rlm = build(factory.clone(), Planner::new([code]).task("Leaf.", [LEAF]))?;
                made(Tree { rlm, leaves: CHILDREN, counted_as: CHILDREN })
            }
            _ => Ok(None),
        }
    }
}

const LEAF: &str = "SUBMIT(answer='done')";

fn tree(
    factory: impl InterpreterFactory + 'static,
    (wide, each): (u64, u64),
    reply: Duration,
) -> Result<Rlm, String> {
    let root =
        format!("parts = rlm_query_batched(['Branch.'] * {wide})\nSUBMIT(answer=sum(map(int, parts)))");
    let branch =
        format!("parts = rlm_query_batched(['Leaf.'] * {each})\nSUBMIT(answer=str(parts.count('done')))");
    build(factory, Planner::new([root]).task("Branch.", [branch]).task("Leaf.", [LEAF]).delay(reply))
}

fn build(factory: impl InterpreterFactory + 'static, model: Planner) -> Result<Rlm, String> {
    let limits = |limits: Limits| limits.max_depth(2).max_llm_calls(10_000).max_concurrent_calls(AT_ONCE);
    Rlm::builder("-> answer: int").model(model).interpreter(factory).limits(limits).build().map_err(words)
}

struct Tree {
    rlm: Rlm,
    leaves: u64,
    counted_as: u64,
}

#[async_trait]
impl Trial for Tree {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let prediction = self.rlm.run(inputs! {}).await.map_err(words)?;
        let taken = seconds(started);
        check("the answer", prediction.get::<u64>("answer").map_err(words)?, self.leaves)?;
        Ok(taken / self.counted_as as f64)
    }
}

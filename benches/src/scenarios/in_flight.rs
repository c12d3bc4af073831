//! Scenarios `in-flight` and `in-flight-memory`. So many runs of three turns are started at once, with a
//! model that takes one second for each reply, so that three seconds are the least possible. The time runs
//! until the last has ended. The memory is the most that the program and its children had of their own
//! meanwhile, over what they had before, looked at five times a second. Every answer is checked.
//!
//! wasm: each run has a session. One takes about eight memory mappings, and Linux gives a process 65 530
//! unless `vm.max_map_count` says otherwise: of 10 000 runs about 7 700 have a session at the same time, and
//! the others wait for one to be free, which is in the time. subprocess: from a pool of 64 started sessions;
//! when that is empty, a run starts its own. pyo3: up to 1 000. docker has no part: a thousand containers are
//! not what an engine on a desk is made for.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use abyme::{InterpreterFactory, Pool, PoolConfig, Rlm, Wasm};
use async_trait::async_trait;
use tokio::task::JoinSet;

use super::{
    memory,
    runs::{one, three_turns},
    work::{PreparedTrial, made, seconds, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const POOL: usize = 64;
/// Memory mappings of a wasm session, and those that the rest of the program has.
const MAPPINGS: u64 = 8;
const OTHER_MAPPINGS: u64 = 4000;

/// The scenario, for its time or its memory.
#[derive(Debug)]
pub(crate) struct InFlight {
    unit: Unit,
}

impl InFlight {
    pub(crate) fn time() -> Self {
        Self { unit: Unit::Seconds }
    }

    pub(crate) fn memory() -> Self {
        Self { unit: Unit::Bytes }
    }
}

#[async_trait]
impl Scenario for InFlight {
    fn name(&self) -> &'static str {
        if self.unit == Unit::Bytes { "in-flight-memory" } else { "in-flight" }
    }

    fn title(&self) -> &'static str {
        if self.unit == Unit::Bytes { "peak memory of runs in flight" } else { "many runs in flight" }
    }

    fn workload(&self) -> &'static str {
        "runs of three turns, all started at once, with a model that takes one second for each reply"
    }

    fn unit(&self) -> Unit {
        self.unit
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("runs", vec![100, 1000, 10_000]))
    }

    fn goal(&self, system: &str, at: Option<u64>) -> Option<Goal> {
        match (system, at, self.unit) {
            ("wasm", Some(10_000), Unit::Bytes) => Some(Goal::Value(8e9)),
            ("wasm", Some(10_000), _) => Some(Goal::TimesWork(1.5)),
            _ => None,
        }
    }

    fn samples(&self) -> usize {
        3
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let runs = at.unwrap_or(100);
        let (factory, pool): (Arc<dyn InterpreterFactory>, _) = match factory.name() {
            "wasm" => (wide(runs), None),
            "subprocess" if runs <= 1000 => {
                let pool = Pool::new(factory.clone(), PoolConfig::default().size(POOL));
                (Arc::new(pool.clone()), Some(pool))
            }
            "pyo3" if runs <= 1000 => (factory.clone(), None),
            _ => return Ok(None),
        };
        memory::need(runs * 1_200_000)?;
        let rlm = three_turns(factory, Duration::from_secs(1))?;
        one(&rlm).await?;
        made(AllAtOnce { rlm, runs, pool, unit: self.unit })
    }
}

/// A wasm backend for as many sessions as runs, or as the kernel has mappings for.
fn wide(runs: u64) -> Arc<dyn InterpreterFactory> {
    let mappings = fs::read_to_string("/proc/sys/vm/max_map_count");
    let mappings = mappings.ok().and_then(|text| text.trim().parse::<u64>().ok());
    let fit = mappings.map_or(u64::MAX, |all| all.saturating_sub(OTHER_MAPPINGS) / MAPPINGS);
    let sessions = u32::try_from(runs.min(fit)).unwrap_or(u32::MAX);
    Arc::new(Wasm::new().max_sessions(sessions).queue_timeout(Duration::from_secs(120)))
}

struct AllAtOnce {
    rlm: Rlm,
    runs: u64,
    pool: Option<Pool>,
    unit: Unit,
}

#[async_trait]
impl Trial for AllAtOnce {
    async fn sample(&mut self) -> Result<f64, String> {
        if let Some(pool) = &self.pool {
            pool.fill().await.map_err(words)?;
            while pool.ready() < POOL {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        if self.unit == Unit::Bytes { self.peak().await } else { self.time().await }
    }
}

impl AllAtOnce {
    async fn time(&self) -> Result<f64, String> {
        let started = Instant::now();
        self.run_all().await?;
        Ok(seconds(started))
    }

    async fn run_all(&self) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        for _ in 0..self.runs {
            let rlm = self.rlm.clone();
            tasks.spawn(async move { one(&rlm).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// The sum of this process and its children, looked at while they live.
    async fn peak(&self) -> Result<f64, String> {
        let before = all_memory().await?;
        let mut peak = before;
        let mut runs = std::pin::pin!(self.run_all());
        loop {
            tokio::select! {
                ended = &mut runs => break ended?,
                () = tokio::time::sleep(Duration::from_millis(200)) => peak = peak.max(all_memory().await?),
            }
        }
        Ok(peak.saturating_sub(before) as f64)
    }
}

async fn all_memory() -> Result<u64, String> {
    let asked = tokio::task::spawn_blocking(|| Ok(memory::anonymous()? + memory::of_children()?)).await;
    asked.map_err(|error| error.to_string())?
}

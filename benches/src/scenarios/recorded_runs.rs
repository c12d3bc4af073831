//! Scenarios `resume`, `replay` and `fork-run`: a record of a run is gone on from, done again, and forked.
//!
//! `resume`: a run of 50 turns whose record ends before the last one goes on. Timed is until its session is
//! up to date, which runs 49 cells again, and the last turn is over. `replay`: a record of 50 turns is done
//! again, cells too; turns in a second. `fork-run`: a run under way holds 100 MB in a variable and is forked
//! between two turns; timed is from the end of the turn to that of the fork, which takes one turn. For
//! backends that can fork.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use abyme::{Event, Record, Rlm, Text, Trajectory, inputs};
use async_trait::async_trait;

use super::{
    memory,
    planner::Planner,
    work::{PreparedTrial, check, made, seconds, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const TURNS: u32 = 50;
const CELL: &str = "counts = globals().get('counts', []) + [len(context)]\nprint(len(counts))";
/// No zeros, which a copy need not hold.
const LARGE: &str = "data = bytes(range(1, 251)) * 400_000\nprint(len(data))";

/// One of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RecordedRuns {
    Resume,
    Replay,
    Fork,
}

#[async_trait]
impl Scenario for RecordedRuns {
    fn name(&self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Replay => "replay",
            Self::Fork => "fork-run",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Resume => "a run of 50 turns goes on from its record",
            Self::Replay => "a record is done again, cells too",
            Self::Fork => "a run beside 100 MB is forked between two turns",
        }
    }

    fn workload(&self) -> &'static str {
        match self {
            Self::Resume => "49 cells run again in a new session, and the last turn is taken",
            Self::Replay => "the turns of a record of 50, without a model, each observation compared",
            Self::Fork => {
                "from the end of the turn, where the session is copied, to the end of the fork after a turn \
                 of its own"
            }
        }
    }

    fn unit(&self) -> Unit {
        match self {
            Self::Replay => Unit::PerSecond,
            _ => Unit::Seconds,
        }
    }

    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        let goal = match self {
            Self::Resume => 100e-3,
            Self::Replay => 500.0,
            Self::Fork => 30e-3,
        };
        (system == "wasm").then_some(Goal::Value(goal))
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let (turns, first) = match self {
            Self::Fork if !factory.capabilities().fork => return Ok(None),
            Self::Fork => {
                memory::need(1_000_000_000)?;
                (2, LARGE)
            }
            _ => (TURNS, CELL),
        };
        let cells = (1..turns).map(|_| first).chain(["SUBMIT(answer=42)"]);
        let rlm = Rlm::builder("context -> answer: int")
            .model(Planner::new(cells))
            .interpreter(factory.clone())
            .limits(|limits| limits.max_iterations(turns))
            .build()
            .map_err(words)?;
        let context = Text::from("a text");
        let whole = rlm.run(inputs! { context: context.clone() }).await.map_err(words)?;
        let record = whole.trajectory().clone();
        let is_last = |event: &Event| matches!(event, Event::ModelReplied { turn, .. } if *turn == turns);
        let last = record.events().position(is_last).ok_or("the record has no last turn")?;
        let begun = record.records().take(last).cloned().collect();
        made(RunAgain { what: *self, rlm, context, record, begun })
    }
}

struct RunAgain {
    what: RecordedRuns,
    rlm: Rlm,
    context: Text,
    record: Trajectory,
    /// The record up to the last turn.
    begun: Trajectory,
}

#[async_trait]
impl Trial for RunAgain {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let (prediction, taken) = match self.what {
            RecordedRuns::Resume => {
                let resumed = self.rlm.resume_from(self.begun.clone()).await.map_err(words)?;
                (resumed, seconds(started))
            }
            RecordedRuns::Replay => {
                let replayed = self.rlm.replay_from(self.record.clone()).await.map_err(words)?;
                (replayed, f64::from(TURNS) / seconds(started))
            }
            RecordedRuns::Fork => {
                let ended = Arc::new(Mutex::new(started));
                let noted = ended.clone();
                let note_end = move |record: &Arc<Record>| {
                    if matches!(record.event, Event::CellFinished { turn: 1, .. }) {
                        *noted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    }
                };
                let run = self.rlm.run(inputs! { context: self.context.clone() }).on_event(note_end);
                let handle = run.fork_handle();
                let (whole, forked) = tokio::join!(run.into_future(), async {
                    let fork = handle.fork_at(1).await.map_err(words)?;
                    let forked = fork.await.map_err(words)?;
                    let since = *ended.lock().unwrap_or_else(PoisonError::into_inner);
                    Ok::<_, String>((forked, seconds(since)))
                });
                whole.map_err(words)?;
                forked?
            }
        };
        check("the answer", prediction.get::<i64>("answer").map_err(words)?, 42)?;
        Ok(taken)
    }
}

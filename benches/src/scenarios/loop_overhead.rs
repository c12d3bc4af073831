//! Scenario `loop`. What Abyme's own loop costs, without a model and without Python: from a model's reply to
//! the next request. It holds the parsing of the reply, the check of the cell, the rendering of the
//! observation, the record, and the messages of the next request. The model answers from a list, the
//! interpreter is the scripted one of the tests and answers each cell with 200 characters of output. A sample
//! is the mean over ten runs of 20 turns.

use abyme::{Observation, Rlm, Submission, Text, Value, Via, inputs, testing::ScriptedInterpreter};
use async_trait::async_trait;

use super::{
    planner::{Planner, Stamp},
    work::{PreparedTrial, check, made, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

const RUNS: u32 = 10;
const TURNS: usize = 20;

/// The scenario.
#[derive(Debug)]
pub(crate) struct LoopOverhead;

#[async_trait]
impl Scenario for LoopOverhead {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn title(&self) -> &'static str {
        "the loop's own cost of a turn"
    }

    fn workload(&self) -> &'static str {
        "from a model's reply to the next request, without model and Python (mean over runs of 20 turns)"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn goal(&self, _subject: &str, _at: Option<u64>) -> Option<Goal> {
        Some(Goal::Value(0.1e-3))
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Loop = system else { return Ok(None) };
        let mut trial = Turns(Bare::new(TURNS, 200)?);
        trial.sample().await?;
        made(trial)
    }
}

struct Turns(Bare);

#[async_trait]
impl Trial for Turns {
    async fn sample(&mut self) -> Result<f64, String> {
        let mut total = 0.0;
        for _ in 0..RUNS {
            let stamps = self.0.run().await?;
            let turns = stamps.windows(2).map(|pair| (pair[1].asked - pair[0].answered).as_secs_f64());
            total += turns.sum::<f64>() / (TURNS - 1) as f64;
        }
        Ok(total / f64::from(RUNS))
    }
}

/// A run with nothing in it but the loop.
pub(super) struct Bare {
    rlm: Rlm,
    planner: Planner,
    turns: usize,
}

impl Bare {
    /// A run of so many turns, each with so many characters of output. The last one submits.
    ///
    /// # Errors
    /// It cannot be put together.
    pub(super) fn new(turns: usize, output: usize) -> Result<Self, String> {
        let cell = "lines = [line for line in context.splitlines() if 'needle' in line]\n\
                    print(len(lines), lines[:3])";
        let cells = (1..turns).map(|_| cell).chain(["SUBMIT(answer=42)"]);
        let planner = Planner::new(cells).stamped();
        let output = "x".repeat(output);
        let interpreter = ScriptedInterpreter::from_fn(move |cell| {
            let mut observation = Observation::default();
            match cell.code.contains("SUBMIT") {
                true => observation.submission = Some(submission()),
                false => observation.stdout = output.as_str().into(),
            }
            Ok(observation)
        });
        let rlm = Rlm::builder("context -> answer: int")
            .model(planner.clone())
            .interpreter(interpreter.factory())
            .limits(|limits| limits.max_iterations(u32::try_from(turns).unwrap_or(u32::MAX)))
            .build()
            .map_err(words)?;
        Ok(Self { rlm, planner, turns })
    }

    /// The times of the requests and replies of one run.
    ///
    /// # Errors
    /// The run's, or it took another number of turns.
    pub(super) async fn run(&self) -> Result<Vec<Stamp>, String> {
        self.planner.take_stamps();
        let prediction = self.rlm.run(inputs! { context: Text::from("a text") }).await.map_err(words)?;
        check("the answer", prediction.get::<i64>("answer").map_err(words)?, 42)?;
        let stamps = self.planner.take_stamps();
        check("the number of turns", stamps.len(), self.turns)?;
        Ok(stamps)
    }
}

/// What the last cell submits.
pub(super) fn submission() -> Submission {
    let answer = ("answer".to_owned(), Value::from(42));
    Submission::fields(Via::Submit, [answer].into_iter().collect())
}

//! Scenario `hand-over`. A cell hands a text of so many megabytes, an input of its run, to a child. Timed is
//! from the start of that cell to the end of the child's: the text leaves one session and enters another.
//! Scenario `text-in` has what it takes to put the same text into a session once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use abyme::{Event, InterpreterFactory, Record, Rlm, Text, inputs};
use async_trait::async_trait;

use super::{
    memory,
    planner::Planner,
    work::{self, PreparedTrial, SharedText, check, made, words},
};
use crate::{scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// The scenario.
#[derive(Debug, Default)]
pub(crate) struct HandOver {
    text: SharedText,
}

#[async_trait]
impl Scenario for HandOver {
    fn name(&self) -> &'static str {
        "hand-over"
    }

    fn title(&self) -> &'static str {
        "a text from a run to its child"
    }

    fn workload(&self) -> &'static str {
        "a text that is an input of a run is handed to a child, whose cell asks for its length"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("megabytes", vec![10, 100]))
    }

    fn samples(&self) -> usize {
        5
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(120)
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let megabytes = at.unwrap_or(10);
        memory::need(megabytes * 6_000_000)?;
        let text = self.text.get(megabytes, || work::ascii(megabytes));
        let chars = text.chars_len();
        made(Handed { rlm: hands_over(factory.clone())?, text, chars })
    }
}

fn hands_over(factory: Arc<dyn InterpreterFactory>) -> Result<Rlm, String> {
    let root = "SUBMIT(answer=rlm_query('Leaf.', docs, signature='answer: int'))";
    let model = Planner::new([root]).task("Leaf.", ["SUBMIT(answer=len(context))"]);
    Rlm::builder("docs -> answer: int").model(model).interpreter(factory).build().map_err(words)
}

struct Handed {
    rlm: Rlm,
    text: Arc<Text>,
    chars: usize,
}

#[async_trait]
impl Trial for Handed {
    async fn sample(&mut self) -> Result<f64, String> {
        let times: Arc<Mutex<Vec<(bool, f64)>>> = Arc::default();
        let noted = times.clone();
        let run = self.rlm.run(inputs! { docs: Text::clone(&self.text) });
        let run = run.on_event(move |record: &Arc<Record>| {
            let is_start = match record.event {
                Event::CellStarted { .. } => true,
                Event::CellFinished { .. } => false,
                _ => return,
            };
            noted.lock().unwrap_or_else(PoisonError::into_inner).push((is_start, record.at));
        });
        let prediction = run.await.map_err(words)?;
        check("the answer", prediction.get::<usize>("answer").map_err(words)?, self.chars)?;
        let times = times.lock().unwrap_or_else(PoisonError::into_inner);
        let first = |wanted: bool| {
            let found = times.iter().find(|(is_start, _)| *is_start == wanted).map(|(_, at)| *at);
            found.ok_or_else(|| "no cell was recorded".to_owned())
        };
        Ok(first(false)? - first(true)?)
    }
}

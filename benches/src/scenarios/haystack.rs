//! Scenario `haystack`. A whole run that finds one line in a text of so many megabytes, as in the S-NIAH task
//! of RULER and the RLM paper (the task of `abyme demo`): a session starts, the text goes in, a cell searches
//! it with a regular expression and prints what it found, the next one submits the number. The model answers
//! at once and takes the number from what was printed. The lines of the text differ; the needle is in its
//! third quarter.

use std::{fmt::Write, sync::Arc, time::Instant};

use abyme::{Request, Response, Rlm, Text, inputs, testing::ScriptedModel};
use async_trait::async_trait;

use super::{
    memory,
    work::{PreparedTrial, SharedText, check, made, seconds, words},
};
use crate::{scenario::Scenario, systems::System, trial::Trial, units::Unit};

const NUMBER: i64 = 7_316_402;
const SEARCH: &str = "\
import re
for match in re.finditer(r'special magic number for (\\w+) is: (\\d+)', context):
    print('found', match.group(1), match.group(2))";

/// The scenario.
#[derive(Debug, Default)]
pub(crate) struct Haystack {
    text: SharedText,
}

#[async_trait]
impl Scenario for Haystack {
    fn name(&self) -> &'static str {
        "haystack"
    }

    fn title(&self) -> &'static str {
        "a run that finds one line in a long text"
    }

    fn workload(&self) -> &'static str {
        "a whole run: the session starts, the text goes in, a cell searches it, another submits"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    fn axis(&self) -> Option<(&'static str, Vec<u64>)> {
        Some(("megabytes", vec![1, 10, 100, 1000]))
    }

    fn samples(&self) -> usize {
        5
    }

    async fn prepare(&self, system: &System, at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        let megabytes = at.unwrap_or(1);
        memory::need(megabytes * 4_000_000)?;
        let text = self.text.get(megabytes, || haystack(megabytes));
        let model = ScriptedModel::from_fn(|request| Ok(Response::new(next_reply(request))));
        let rlm = Rlm::builder("context, query -> answer: int")
            .model(model)
            .interpreter(factory.clone())
            .build()
            .map_err(words)?;
        // What a backend does once per process is not part of a run.
        let mut trial = Search { rlm, text: Arc::new(Text::from(haystack(1))) };
        trial.sample().await?;
        trial.text = text;
        made(trial)
    }
}

struct Search {
    rlm: Rlm,
    text: Arc<Text>,
}

#[async_trait]
impl Trial for Search {
    async fn sample(&mut self) -> Result<f64, String> {
        let query = Text::from("What is the special magic number for harbour?");
        let inputs = inputs! { context: Text::clone(&self.text), query: query };
        let started = Instant::now();
        let prediction = self.rlm.run(inputs).await.map_err(words)?;
        let taken = seconds(started);
        check("the number", prediction.get::<i64>("answer").map_err(words)?, NUMBER)?;
        Ok(taken)
    }
}

/// Searches, then submits what the search printed.
fn next_reply(request: &Request) -> String {
    let last = request.messages.last().map(|message| message.content.as_str()).unwrap_or_default();
    let found = last.lines().find_map(|line| line.strip_prefix("found harbour "));
    let code = found.map_or_else(|| SEARCH.to_owned(), |number| format!("SUBMIT(answer={number})"));
    format!("I search for the sentence that the question asks for.\n\n```python\n{code}\n```")
}

/// A text of about so many megabytes in which every line is another.
fn haystack(megabytes: u64) -> String {
    let size = usize::try_from(megabytes).unwrap_or(1) * 1_000_000;
    let mut text = String::with_capacity(size + 200);
    let mut hidden = false;
    let mut line = 0_u64;
    while text.len() < size {
        line += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "On the way to the {} the {} moved a wooden ladder before sunrise, lot number {}.",
            ["pier", "mill", "chapel", "theatre"][(line % 4) as usize],
            ["clerk", "baker", "captain", "surveyor", "gardener"][(line % 5) as usize],
            line * 97 + 1_000_003
        );
        if !hidden && text.len() >= size / 3 * 2 {
            hidden = true;
            let _ = writeln!(text, "The special magic number for harbour is: {NUMBER}.");
        }
    }
    text
}

//! Scenario `asleep`. Many conversations sleep in a directory, and one of them is woken: its file is read and
//! checked, its session restored. Each was asked one question about 10 MB of text, which its session holds.
//! For backends with snapshots (wasm). The conversations are links to one file, so that 10 000 of them fit on
//! any disk; a file that is written takes the place of its link alone.

use std::time::Instant;

use abyme::{Conversations, ConversationsConfig, Rlm, Text, inputs};
use async_trait::async_trait;
use tempfile::TempDir;

use super::{
    planner::Planner,
    work::{PreparedTrial, check, made, seconds, words},
};
use crate::{goal::Goal, scenario::Scenario, systems::System, trial::Trial, units::Unit};

/// Conversations in the directory.
const CONVERSATIONS: usize = 10_000;
/// What each of them was asked about.
const BYTES: usize = 10_000_000;

/// The scenario.
#[derive(Debug)]
pub(crate) struct Asleep;

#[async_trait]
impl Scenario for Asleep {
    fn name(&self) -> &'static str {
        "asleep"
    }

    fn title(&self) -> &'static str {
        "waking one of 10 000 conversations"
    }

    fn workload(&self) -> &'static str {
        "one of 10 000 conversations that sleep on disk is woken, with a session that holds 10 MB of text"
    }

    fn unit(&self) -> Unit {
        Unit::Seconds
    }

    /// 5 ms for each 10 MB of its state: the text, once as an input and once in the session.
    fn goal(&self, system: &str, _at: Option<u64>) -> Option<Goal> {
        (system == "wasm").then_some(Goal::Value(10e-3))
    }

    async fn prepare(&self, system: &System, _at: Option<u64>) -> PreparedTrial {
        let System::Backend(factory) = system else { return Ok(None) };
        if !factory.capabilities().snapshot {
            return Ok(None);
        }
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let planner = Planner::new(["n = text.count(' ')\nSUBMIT(n)"]);
        let rlm = Rlm::builder("text -> n: int").model(planner).interpreter(factory.clone()).build();
        let talks = ConversationsConfig::default().directory(directory.path());
        let talks = rlm.and_then(|rlm| rlm.conversations(talks)).map_err(words)?;
        let text = Text::from("many words ".repeat(BYTES / 11));
        let talk = talks.open("conversation-0").map_err(words)?;
        talk.ask(inputs! { text: text }).await.map_err(words)?;
        let first = directory.path().join("first");
        talk.save(&first).await.map_err(words)?;
        for number in 0..CONVERSATIONS {
            let path = talks.path(&id(number)).map_err(words)?;
            std::fs::hard_link(&first, path).map_err(|error| error.to_string())?;
        }
        drop(talk);
        let mut trial = Sleeping { talks, next: 1, _directory: directory };
        trial.sample().await?;
        made(trial)
    }
}

fn id(number: usize) -> String {
    format!("conversation-{number}")
}

struct Sleeping {
    talks: Conversations,
    next: usize,
    _directory: TempDir,
}

#[async_trait]
impl Trial for Sleeping {
    async fn sample(&mut self) -> Result<f64, String> {
        let talk = self.talks.open(&id(self.next)).map_err(words)?;
        self.next = self.next % (CONVERSATIONS - 1) + 1;
        check("asleep", talk.is_asleep(), true)?;
        let started = Instant::now();
        talk.wake().await.map_err(words)?;
        let taken = seconds(started);
        let variables = talk.variables().await.map_err(words)?;
        check(
            "the answer",
            variables.get("n_1").and_then(abyme::Value::as_i64),
            Some((BYTES / 11) as i64 * 2),
        )?;
        talk.shutdown().await.map_err(words)?;
        Ok(taken)
    }
}

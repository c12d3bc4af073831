//! Tasks that are made from a seed, of any length.

mod dice;
pub(crate) mod haystack;
mod oolong;
mod pairs;
mod questions;
mod records;

use twox_hash::XxHash3_64;

use self::{dice::Dice, haystack::Haystack, records::CONTEXT};
use crate::{scorer::Scorer, task::Task};

/// Bytes of the generated texts for each token, about.
const BYTES_PER_TOKEN: u64 = 4;

/// What generated tasks ask. Their texts are this crate's own; what they ask is as in the benchmarks that the
/// paper "Recursive Language Models" uses, so that their numbers can be set beside each other, but they are
/// not those benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// As S-NIAH of RULER: one line of a long text has the answer.
    SNiah,
    /// As OOLONG's task with coarse labels: many questions in lines, whose labels have to be found by their
    /// meaning, and then counted and compared.
    Oolong,
    /// As OOLONG-Pairs: over the same lines, all pairs of users that meet a condition on their labels.
    OolongPairs,
}

impl Kind {
    /// Its name: `s-niah`, `oolong`, `oolong-pairs`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SNiah => "s-niah",
            Self::Oolong => "oolong",
            Self::OolongPairs => "oolong-pairs",
        }
    }
}

/// Makes tasks. The same settings give the same tasks on every machine, and more of them begin with the same
/// ones.
///
/// ```
/// use abyme_eval::{Generator, Kind};
///
/// let tasks: Vec<_> = Generator::new(Kind::SNiah).tokens([1_024, 8_192]).count(5).seed(7).tasks().collect();
/// assert_eq!(tasks.len(), 10);
/// assert_eq!((tasks[9].id.as_str(), tasks[9].group.as_str()), ("s-niah-8k-5", "s-niah 8k"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    kind: Kind,
    tokens: Vec<u64>,
    count: u32,
    seed: u64,
}

impl Generator {
    /// 20 tasks of 8 192 tokens, from the seed 1.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, tokens: vec![8_192], count: 20, seed: 1 }
    }

    /// Sets how many tokens the inputs have, at 4 bytes each: 256 at least.
    #[must_use]
    pub fn tokens(mut self, lengths: impl IntoIterator<Item = u64>) -> Self {
        self.tokens = lengths.into_iter().collect();
        self
    }

    /// Sets how many tasks there are of each length.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The tasks, one after the other: a long one is in memory alone.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        self.tokens
            .iter()
            .flat_map(move |tokens| (1..=self.count).map(move |number| self.task(*tokens, number)))
    }

    fn task(&self, tokens: u64, number: u32) -> Task {
        let (name, length) = (self.kind.name(), length(tokens));
        // Each task has a seed of its own, whatever comes before it.
        let mut dice =
            Dice::new(XxHash3_64::oneshot(format!("{name} {tokens} {number} {}", self.seed).as_bytes()));
        let bytes = tokens.max(256) * BYTES_PER_TOKEN;
        let task = match self.kind {
            Kind::SNiah => s_niah(&mut dice, bytes),
            Kind::Oolong => oolong::task(&mut dice, bytes, number),
            Kind::OolongPairs => pairs::task(&mut dice, bytes, number),
        };
        task.id(format!("{name}-{length}-{number}")).group(format!("{name} {length}"))
    }
}

fn s_niah(dice: &mut Dice, bytes: u64) -> Task {
    let Haystack { text, question, number } = Haystack::generate(dice.seed(), bytes);
    Task::new(question, number.to_string()).input(CONTEXT, text).scorer(Scorer::Contains)
}

/// A number of tokens, as people write it.
fn length(tokens: u64) -> String {
    const K: u64 = 1 << 10;
    const M: u64 = 1 << 20;
    match tokens {
        tokens if tokens > 0 && tokens.is_multiple_of(M) => format!("{}m", tokens / M),
        tokens if tokens > 0 && tokens.is_multiple_of(K) => format!("{}k", tokens / K),
        tokens => tokens.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(kind: Kind, tokens: u64, count: u32, seed: u64) -> Vec<Task> {
        Generator::new(kind).tokens([tokens]).count(count).seed(seed).tasks().collect()
    }

    fn context(task: &Task) -> &str {
        let Some(crate::task::TaskInput::Value(value)) = task.inputs.get(CONTEXT) else { panic!("{task:?}") };
        value.as_str().unwrap()
    }

    #[test]
    fn tasks_are_those_of_their_seed_and_as_long_as_asked_for() {
        for kind in [Kind::SNiah, Kind::Oolong, Kind::OolongPairs] {
            for tokens in [256, 4_096, 65_536] {
                let tasks = of(kind, tokens, 6, 7);
                assert_eq!(tasks[..3], of(kind, tokens, 3, 7));
                assert_ne!(tasks[0].inputs, of(kind, tokens, 1, 8)[0].inputs);
                let ids: HashSet<_> = tasks.iter().map(|task| &task.id).collect();
                assert_eq!(ids.len(), 6);
                for task in &tasks {
                    let bytes = context(task).len() as f64;
                    let wanted = (tokens * BYTES_PER_TOKEN) as f64;
                    assert!(bytes <= wanted && bytes > wanted - 250.0, "{} has {bytes}", task.id);
                    assert!(task.signature().is_ok(), "{task:?}");
                    task.scorer.check(&task.expected).unwrap();
                    assert_eq!(task.scorer.score(&task.expected, &task.expected), Some(1.0), "{task:?}");
                }
            }
        }
    }

    /// The tasks are what a seed makes of them for ever: published numbers name a seed.
    #[test]
    fn the_tasks_of_a_seed_do_not_change() {
        let tasks = of(Kind::SNiah, 4_096, 8, 7);
        let lines: Vec<_> = tasks.iter().map(|task| serde_json::to_string(task).unwrap()).collect();
        assert_eq!(format!("{:016x}", XxHash3_64::oneshot(lines.join("\n").as_bytes())), "f7c0734ba769ce6f");
    }
}

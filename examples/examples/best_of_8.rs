//! Best of 8: a run is forked where it begins to guess, and the best of what the forks found is kept. They
//! have the first turn in common, which is neither paid nor waited for again.

use std::{collections::BTreeSet, error::Error};

use abyme::prelude::*;
use abyme_examples::{Models, cell, document, printed, report};

const FORKS: usize = 8;

/// Choose 20 lines that together hold as many different words as possible. Look at the text first, then
/// search; a search with luck is welcome.
#[derive(Signature)]
struct RichLines {
    /// READMEs and changelogs
    #[input]
    docs: Text,
    /// The lines, unchanged
    #[output(non_empty)]
    lines: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let docs = document()?;
    let models = Models::choose(plan, |_| String::new())?;
    let rlm = Rlm::of::<RichLines>()
        .model(models.plans.clone())
        .interpreter(abyme_examples::interpreter()?)
        // Forks of a run with a seed draw numbers of their own, and can be done again.
        .seed(2026)
        .build()?;

    let run = rlm.run(RichLinesInput { docs: docs.clone() });
    let forks = (0..FORKS).map(|_| run.fork_at(1));
    let forks: Vec<_> = forks.map(|fork| tokio::spawn(async move { fork.await?.await })).collect();
    let first = run.await?;
    let mut found = Vec::new();
    for fork in forks {
        found.push(fork.await??);
    }

    let scores: Vec<usize> = found.iter().map(|fork| score(&docs, &fork.output.lines)).collect();
    let best = scores.iter().copied().max().unwrap_or_default();
    println!("words: {scores:?}");
    println!("best of {FORKS}: {best}");
    report(&first);
    let differ = scores.iter().collect::<BTreeSet<_>>().len() > 1;
    Ok(models.check("the forks did not all find the same", differ)?)
}

/// How many different words there are in 20 of these lines that are in the text.
fn score(docs: &Text, lines: &[String]) -> usize {
    let real: BTreeSet<&str> = docs.lines().map(str::trim).collect();
    let lines = lines.iter().map(|line| line.trim()).filter(|line| real.contains(line)).take(20);
    lines.flat_map(str::split_whitespace).collect::<BTreeSet<_>>().len()
}

/// Stands in for the model that plans.
fn plan(seen: &str) -> Option<String> {
    match printed(seen, "candidates: ") {
        None => cell("I look for long lines.", LOOK),
        Some(_) => cell("I draw some and keep what adds most.", SEARCH),
    }
}

const LOOK: &str = r#"
lines = sorted({line.strip() for line in docs.split("\n") if 20 < len(line.split()) < 200})
print("candidates: ", len(lines))
"#;
const SEARCH: &str = r#"
import random
words, chosen = set(), []
while len(chosen) < 20:
    best = max(random.sample(lines, min(40, len(lines))), key=lambda line: len(set(line.split()) - words))
    chosen.append(best)
    words |= set(best.split())
SUBMIT(lines=chosen)
"#;

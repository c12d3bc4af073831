//! Every run leaves a trajectory: the complete record of its reasoning, code and outputs. It is written while
//! the run goes on, looked at turn by turn, and read back from JSON Lines.

use std::error::Error;

use abyme::{Event, Trajectory, prelude::*};
use abyme_examples::{Models, cell, document, printed, report};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let text: String = document()?.chars().take(3_000).collect();
    let folder = tempfile::tempdir()?;
    let (live, saved) = (folder.path().join("live.jsonl"), folder.path().join("saved.jsonl"));
    let models = Models::choose(plan, answer)?;
    let rlm = Rlm::builder("text -> summary")
        .model(models.plans.clone())
        .sub_model(models.answers.clone())
        .interpreter(abyme_examples::interpreter()?)
        .limits(|limits| limits.max_iterations(10).max_llm_calls(10))
        .build()?;

    // The trace has one line for each event, as it happens.
    let answer = rlm.run(inputs! { text: text }).trace(&live).await?;

    let turns = answer.trajectory().turns();
    println!("trajectory ({} turns):", turns.len());
    for turn in &turns {
        println!("\nturn {}:", turn.number);
        println!("  reasoning: {:.100}", turn.reasoning);
        println!("  code: {:.60}...", turn.code.lines().next().unwrap_or_default());
        let seen = turn.observation.as_ref().map(|seen| seen.stdout.to_string()).unwrap_or_default();
        println!(
            "  output: {:.60}... ({} sub-calls)",
            seen.lines().next().unwrap_or_default(),
            turn.sub_calls
        );
    }
    println!("\nthe last turn, as it prints itself:\n{}", turns.last().ok_or("a run without turns")?);
    println!("summary: {}", answer.get::<String>("summary")?);
    report(&answer);

    // What a trajectory holds beyond its turns: every prompt, every reply, times and usage.
    for event in answer.trajectory().events() {
        if let Event::SubCallStarted { call, prompt, .. } = event {
            println!("sub-call {call} has a prompt of {} characters", prompt.chars().count());
        }
    }
    answer.trajectory().save(&saved)?;
    let loaded = Trajectory::load(&saved)?;
    println!("saved and loaded {} events", loaded.records().count());
    models.check("the loaded events are the same", loaded.to_jsonl() == answer.trajectory().to_jsonl())?;
    let same = std::fs::read(&live)? == std::fs::read(&saved)?;
    Ok(models.check("the file written during the run is the same", same)?)
}

/// Stands in for the model that plans.
fn plan(seen: &str) -> Option<String> {
    if seen.contains("`text` (str") {
        return cell(
            "Three thousand characters are few. I look at how the text is built before I have it summarised.",
            r#"
headings = [line.strip('# ') for line in text.splitlines() if line.startswith('#')]
print("headings:", len(headings), headings)
"#,
        );
    }
    if let Some(headings) = printed(seen, "headings: ") {
        let about = if headings.starts_with('0') { "It has no headings" } else { "It has headings" };
        return cell(
            &format!("{about}. One sub-call can read the whole text."),
            "summary = llm_query(\"Summarise this text in two sentences.\\n\\n\" + text)\n\
             print('summary:', summary)",
        );
    }
    printed(seen, "summary: ")?;
    cell("The summary says what the text is about.", "SUBMIT(summary=summary)")
}

/// Stands in for the model that reads: its summary is the two longest sentences of the text.
fn answer(prompt: &str) -> String {
    let text = prompt.split_once("\n\n").map_or(prompt, |(_, text)| text);
    let prose: Vec<&str> = text.lines().filter(|line| line.starts_with(char::is_alphabetic)).collect();
    let prose = prose.join(" ");
    let mut sentences: Vec<&str> = prose.split(". ").map(str::trim).collect();
    sentences.sort_by_key(|sentence| std::cmp::Reverse(sentence.len().min(200)));
    sentences.truncate(2);
    sentences.join(". ")
}

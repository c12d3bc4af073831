//! Stateful turns: later cells use what earlier ones left in variables. A struct says what goes in
//! and what comes out, with a dict and an int among it.

use std::{collections::BTreeMap, error::Error};

use abyme::prelude::*;
use abyme_examples::{Models, cell, document, number, printed, report};
use regex::Regex;

/// Find the list items (`- ` or `* `) with the word fix, fixes or fixed, and categorise them.
#[derive(Signature)]
struct FindErrorPatterns {
    /// READMEs and changelogs
    #[input]
    docs: Text,
    /// Kinds of errors mapped to those lines, each once and unchanged
    #[output(non_empty)]
    error_categories: BTreeMap<String, Vec<String>>,
    /// How many lines there are in all categories
    #[output]
    total_errors_found: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let docs = document()?;
    let models = Models::choose(plan, answer)?;
    let rlm = Rlm::of::<FindErrorPatterns>()
        .model(models.plans.clone())
        .sub_model(models.answers.clone())
        .interpreter(abyme_examples::interpreter()?)
        .limits(|limits| limits.max_iterations(30))
        .build()?;

    let answer = rlm.run(FindErrorPatternsInput { docs: docs.clone() }).await?;

    let found = &answer.output;
    println!("found {} error patterns", found.total_errors_found);
    for (category, lines) in &found.error_categories {
        println!("{category}: {} errors, such as {:.70}", lines.len(), lines.first().map_or("", |line| line));
    }
    report(&answer);
    let fix = Regex::new(r"(?mi)^[ \t]*[-*] .*(?-u:\b)fix(es|ed)?(?-u:\b).*$")?;
    let mut expected: Vec<&str> = fix.find_iter(&docs).map(|line| line.as_str().trim()).collect();
    let mut listed: Vec<&str> = found.error_categories.values().flatten().map(String::as_str).collect();
    expected.sort();
    listed.sort();
    models.check("the total is that of a search", found.total_errors_found == expected.len())?;
    Ok(models.check("every fix is in exactly one category", listed == expected)?)
}

/// Stands in for the model that plans.
fn plan(seen: &str) -> Option<String> {
    match (number(seen, "fixes: "), number(seen, "unclear: ")) {
        _ if seen.contains("`docs` (str") => {
            cell("I collect the lines, and define what comes next.", COLLECT)
        }
        (Some(count), _) => cell(&format!("{count} lines: I ask about packs of them."), "classify(KINDS)"),
        (_, Some(0)) => cell("Each line has its kind now. I group them and count.", GROUP),
        (_, Some(count)) => {
            let thought = format!("{count} do not fit one kind. I ask about these again, with a way out.");
            cell(&thought, "classify(KINDS + ' If several fit, take the first; if none does, say other.')")
        }
        _ => printed(seen, "complete: True").and_then(|_| cell("Nothing is missing.", SUBMIT)),
    }
}

const COLLECT: &str = r#"
FIX = r"(?ai)^[ \t]*[-*] .*\bfix(es|ed)?\b"
KINDS = "Say which kind of error each line fixes, as `number: kind`: crash, memory, concurrency, build."
fixes, kinds = [line.strip() for line in docs.split("\n") if re.search(FIX, line)], {}
def classify(question):
    left = [f"{n}: {line}" for n, line in enumerate(fixes) if n not in kinds]
    step = len(left) // 20 + 50
    packs = ["\n".join(left[i:i + step]) for i in range(0, len(left), step)]
    for reply in llm_query_batched([question + "\n\n" + pack for pack in packs]):
        kinds.update((int(n), kind) for n, kind in re.findall(r"(?m)^(\d+): (\w+)$", reply))
    print("unclear:", len(fixes) - len(kinds))
print("fixes:", len(fixes), fixes[:2])
"#;
const GROUP: &str = r#"
names = sorted(set(kinds.values()))
categories = {name: [fixes[n] for n in sorted(kinds) if kinds[n] == name] for name in names}
print("complete:", sum(map(len, categories.values())) == len(fixes))
"#;
const SUBMIT: &str = "SUBMIT(error_categories=categories, total_errors_found=len(fixes))";

/// Stands in for the model that reads: the words of a line tell which kinds fit.
fn answer(prompt: &str) -> String {
    const SIGNS: [(&str, &str); 4] = [
        ("crash", "panic crash abort overflow"),
        ("memory", "leak unsound undefined use-after-free memory"),
        ("concurrency", "deadlock hangs wakeup thread race"),
        ("build", "compil build warning clippy msrv"),
    ];
    let (question, text) = prompt.split_once("\n\n").unwrap_or_default();
    let classified = text.lines().filter_map(|line| {
        let (number, words) = line.split_once(": ").map(|(number, line)| (number, line.to_lowercase()))?;
        let fit = SIGNS.iter().filter(|(_, signs)| signs.split(' ').any(|sign| words.contains(sign)));
        let fit: Vec<&str> = fit.map(|(kind, _)| *kind).collect();
        let way_out = question.contains("other").then(|| fit.first().unwrap_or(&"other"));
        Some(format!("{number}: {}", if fit.len() == 1 { &fit[0] } else { way_out? }))
    });
    classified.collect::<Vec<_>>().join("\n")
}

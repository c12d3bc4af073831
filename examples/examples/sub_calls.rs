//! Long document analysis: search finds the lines that matter, a sub-model reads them, and the answer has
//! several typed outputs.

use std::{collections::BTreeSet, error::Error};

use abyme::prelude::*;
use abyme_examples::{Models, cell, document, number, report};
use regex::Regex;

/// Extract what a documentation says about an architecture.
///
/// Search for the lines that matter first; then let sub-calls read them.
#[derive(Signature)]
struct ExtractArchitecture {
    /// READMEs and changelogs
    #[input]
    docs: Text,
    /// What to extract
    #[input]
    query: String,
    /// Each name in backticks (a-z 0-9 _ -) that is followed by the word `feature`
    #[output]
    features: Vec<String>,
    /// Each name in backticks that is one word in CamelCase (ASCII)
    #[output]
    types: Vec<String>,
    /// A few sentences on what the authors design for
    #[output(non_empty)]
    design_principles: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let docs = document()?;
    println!("document: {} characters, {} lines", docs.chars_len(), docs.lines().count());
    let models = Models::choose(plan, answer)?;
    let rlm = Rlm::of::<ExtractArchitecture>()
        .model(models.plans.clone())
        .sub_model(models.answers.clone())
        .interpreter(abyme_examples::interpreter()?)
        .limits(|limits| limits.max_iterations(25))
        .build()?;

    let query = "Extract all features and types from the documentation, and the principles behind it";
    let input = ExtractArchitectureInput { docs: docs.clone(), query: query.to_owned() };
    let answer = rlm.run(input).await?;

    let ExtractArchitectureOutput { features, types, design_principles: principles } = &answer.output;
    println!("{} features: {:.60}...", features.len(), features.join(" "));
    println!("{} types: {:.60}...", types.len(), types.join(" "));
    println!("design principles: {principles}");
    report(&answer);
    let search = |pattern| -> Result<BTreeSet<&str>, regex::Error> {
        Ok(Regex::new(pattern)?
            .captures_iter(&docs)
            .filter_map(|found| Some(found.get(1)?.as_str()))
            .collect())
    };
    models.compare("features", features, &search("`([a-z][a-z0-9_-]*)` feature")?)?;
    models.compare("types", types, &search("`([A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*)`")?)?;
    Ok(models.check("there are design principles", !principles.trim().is_empty())?)
}

/// Stands in for the model that plans.
fn plan(seen: &str) -> Option<String> {
    if seen.contains("`docs` (str") {
        return cell("I search for the lines that can hold what is asked for.", SEARCH);
    }
    if let Some(count) = number(seen, "lines to read: ") {
        return cell(&format!("{count} lines: few enough. A sub-model reads them, many at a time."), READ);
    }
    let submit = "SUBMIT(features=features, types=types, design_principles=principles)";
    number(seen, "names: ")
        .filter(|_| !seen.contains("[ERROR]"))
        .and_then(|_| cell("These look right.", submit))
}

const SEARCH: &str = r#"
lines = docs.split("\n")
of_features = [line for line in lines if "` feature" in line]
of_types = [line for line in lines if re.search("`[A-Z]", line)]
of_design = [line for line in lines if re.search(r"(?i)\b(goals?|philosophy|principles?|designed)\b", line)]
print("lines to read:", len(of_features) + len(of_types) + len(of_design))
"#;
const READ: &str = r#"
def ask(question, lines):
    step = max(500, len(lines) // 50)
    prompts = [question + "\n\n" + "\n".join(lines[i:i + step]) for i in range(0, len(lines), step)]
    return "\n".join(llm_query_batched(prompts))
features = sorted(set(ask("List the names in backticks that `feature` follows.", of_features).split()))
types = sorted(set(ask("List the types: CamelCase names in backticks.", of_types).split()))
principles = ask("Summarise what the authors design for.", of_design[:500]) or "None are stated."
print("names:", len(features) + len(types), features[:5], types[:5], principles[:100])
"#;

/// Stands in for the model that reads: it goes through the names between backticks in its prompt's text.
fn answer(prompt: &str) -> String {
    let (question, text) = prompt.split_once("\n\n").unwrap_or_default();
    if question.starts_with("Summarise") {
        let mut sentences: Vec<&str> =
            text.lines().map(str::trim).filter(|line| line.ends_with('.')).collect();
        sentences.sort_by_key(|line| line.len().abs_diff(120));
        return sentences.into_iter().take(3).collect::<Vec<_>>().join(" ");
    }
    let lower = |name: &str| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    let ascii = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let camel = |name: &str| ascii(name) && name.contains(char::is_lowercase);
    let pairs = text.lines().flat_map(|line| line.split('`').skip(1).zip(line.split('`').skip(2)));
    let named = pairs.filter(|(name, after)| match question.contains("types") {
        true => name.starts_with(char::is_uppercase) && camel(name),
        false => name.starts_with(char::is_lowercase) && lower(name) && after.starts_with(" feature"),
    });
    named.map(|(name, _)| name).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("\n")
}

//! A custom tool: `regex_extract` runs in Rust on the host, and the cells call it like any Python function.

use std::error::Error;

use abyme::prelude::*;
use abyme_examples::{Models, cell, document, printed, report};
use regex::RegexBuilder;

/// Extract all matches of a regular expression from a text: its first group where it has one, else the whole
/// match.
// It computes, so it is no async function: it runs beside the run's other calls.
#[tool]
fn regex_extract(
    /// Source text to search
    text: &str,
    /// Pattern in the syntax of Rust's `regex` crate
    pattern: &str,
    /// Flags as in Python: `re.IGNORECASE`, `re.MULTILINE`, `re.DOTALL`
    #[arg(default)]
    flags: u32,
) -> Result<Vec<String>, HostError> {
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(flags & 2 != 0)
        .multi_line(flags & 8 != 0)
        .dot_matches_new_line(flags & 16 != 0)
        .build()
        .map_err(|error| HostError::value_error(error.to_string()))?;
    let found = regex.captures_iter(text).filter_map(|found| found.get(1).or_else(|| found.get(0)));
    Ok(found.map(|text| text.as_str().to_owned()).collect())
}

/// Describe how a documentation is built, with regex_extract().
///
/// Use regex_extract() to find headers and code blocks. Then summarise the structure.
#[derive(Signature)]
struct ExtractStructure {
    /// READMEs and changelogs
    #[input]
    docs: Text,
    /// All lines of one to six `#`, a space and more; in order, unchanged
    #[output]
    headers: Vec<String>,
    /// The languages: ASCII letters right after ``` at a line's start; in order
    #[output]
    code_blocks: Vec<String>,
    #[output]
    structure_summary: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let docs = document()?;
    let models = Models::choose(plan, answer)?;
    let rlm = Rlm::of::<ExtractStructure>()
        .model(models.plans.clone())
        .sub_model(models.answers.clone())
        .interpreter(abyme_examples::interpreter()?)
        .tool(regex_extract)
        .limits(|limits| limits.max_iterations(15).max_llm_calls(20))
        .build()?;

    let answer = rlm.run(ExtractStructureInput { docs: docs.clone() }).await?;

    let ExtractStructureOutput { headers, code_blocks: blocks, structure_summary } = &answer.output;
    println!("found {} headers and {} code blocks", headers.len(), blocks.len());
    println!("structure: {structure_summary}");
    report(&answer);
    let expected = docs.split('\n').filter(|line| {
        let text = line.trim_start_matches('#');
        (1..=6).contains(&(line.len() - text.len())) && text.len() > 1 && text.starts_with(' ')
    });
    models.check("the headers are those that a loop finds", expected.eq(headers))?;
    let fences = docs.split('\n').filter_map(|line| line.strip_prefix("```"));
    let expected = fences.filter_map(|rest| rest.split(|char: char| !char.is_ascii_alphabetic()).next());
    let expected = expected.filter(|language| !language.is_empty());
    Ok(models.check("the code blocks are those that a loop finds", expected.eq(blocks))?)
}

/// Stands in for the model that plans. It first tries a pattern that Python knows and Rust's `regex` does
/// not.
fn plan(seen: &str) -> Option<String> {
    if seen.contains("`docs` (str") {
        return cell("One call of the tool for each list.", FIRST_TRY);
    }
    if seen.contains("ValueError") && seen.contains("look-around") {
        return cell("No look-behind in this tool: a group does the same. The headers are there.", REPAIRED);
    }
    printed(seen, "levels: ").and_then(|_| cell("Both lists are there.", SUBMIT))
}

const FIRST_TRY: &str = r#"
headers = regex_extract(docs, r"^#{1,6} .+$", flags=re.MULTILINE)
blocks = regex_extract(docs, r"(?<=^```)[A-Za-z]+", flags=re.MULTILINE)
"#;
const REPAIRED: &str = r#"
blocks = regex_extract(docs, r"^```([A-Za-z]+)", flags=re.MULTILINE)
levels = collections.Counter(len(header.split(" ")[0]) for header in headers)
print("levels:", dict(levels), "languages:", collections.Counter(blocks).most_common(5))
"#;
const SUBMIT: &str = r#"
summary = llm_query(f"Describe the structure of a text with headers of these levels: {dict(levels)}")
SUBMIT(headers=headers, code_blocks=blocks, structure_summary=summary)
"#;

/// Stands in for the model that reads: it turns the numbers of its prompt into a sentence.
fn answer(prompt: &str) -> String {
    let levels = prompt.split(['{', '}']).nth(1).unwrap_or_default();
    let levels = levels.split(", ").filter_map(|pair| pair.split_once(": "));
    let most = levels.max_by_key(|(_, count)| count.parse().unwrap_or(0));
    most.map_or("no headers".into(), |(level, count)| format!("mostly level {level}, with {count} headers"))
}

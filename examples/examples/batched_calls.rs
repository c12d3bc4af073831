//! Parallel processing: the cell cuts a long document into chunks and asks about all of them at once with
//! `llm_query_batched`.

use std::{collections::BTreeSet, error::Error};

use abyme::prelude::*;
use abyme_examples::{Models, cell, document, number, report};
use regex::Regex;

/// List every function that the documentation calls by its path, such as `Vec::new` in `Vec::new()`: ASCII
/// letters, digits and `_`, at least one `::`, and directly after it an opening parenthesis.
#[derive(Signature)]
struct ExtractApiEndpoints {
    /// API documentation: READMEs and changelogs
    #[input]
    docs: Text,
    /// Paths without parentheses, sorted, each once
    #[output]
    #[check(is_sorted, "sorted, each once")]
    api_endpoints: Vec<String>,
}

fn is_sorted(endpoints: &[String]) -> Result<(), String> {
    match endpoints.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("{:?} does not come before {:?}", pair[0], pair[1])),
        None => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let docs = document()?;
    println!("document: {} characters", docs.chars_len());
    let models = Models::choose(plan, answer)?;
    let rlm = Rlm::of::<ExtractApiEndpoints>()
        .model(models.plans.clone())
        .sub_model(models.answers.clone())
        .interpreter(abyme_examples::interpreter()?)
        .limits(|limits| limits.max_iterations(20).max_llm_calls(60))
        .build()?;

    let answer = rlm.run(ExtractApiEndpointsInput { docs: docs.clone() }).await?;

    let endpoints = &answer.output.api_endpoints;
    println!("found {} endpoints", endpoints.len());
    for endpoint in endpoints.iter().take(5) {
        println!("  - {endpoint}");
    }
    report(&answer);
    let search = Regex::new(r"([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z0-9_]+)+)\(")?;
    let expected: BTreeSet<&str> =
        search.captures_iter(&docs).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    Ok(models.compare("endpoints", endpoints, &expected)?)
}

/// Stands in for the model that plans.
fn plan(seen: &str) -> Option<String> {
    if let Some(size) = number(seen, "`docs` (str, ") {
        // As many sub-calls as the limit allows with room for a second try, or fewer.
        let chunk = (size / 25).max(50_000);
        let thought =
            format!("{size} characters are too many for one call: chunks of {chunk}, cut at line ends.");
        let code = r#"
chunks, start = [], 0
while start < len(docs):
    end = docs.find("\n", start + CHUNK) + 1 or len(docs)
    chunks.append(docs[start:end])
    start = end
question = "Which functions does this text call by their path? One path per line, nothing else.\n\n"
replies = llm_query_batched([question + chunk for chunk in chunks])
failed = [reply for reply in replies if reply.startswith("[ERROR]")]
print("failed:", len(failed), "of", len(chunks), failed[:1])
"#;
        return cell(&thought, &code.replace("CHUNK", &chunk.to_string()));
    }
    match number(seen, "failed: ")? {
        0 => cell(
            "Every chunk has its reply. I put them together.",
            r#"
names = sorted({name.strip() for reply in replies for name in reply.splitlines() if name.strip()})
SUBMIT(api_endpoints=names)
"#,
        ),
        _ => None,
    }
}

/// Stands in for the model that reads: it goes through the text of its prompt, parenthesis by parenthesis.
fn answer(prompt: &str) -> String {
    let text = prompt.split_once("\n\n").map_or("", |(_, text)| text);
    let path = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let names: BTreeSet<&str> = text
        .match_indices('(')
        .map(|(end, _)| text[..end].rsplit(|char| !path(char)).next().unwrap_or_default())
        .map(|name| name.trim_start_matches(|char: char| char == ':' || char.is_ascii_digit()))
        .filter(|name| name.contains("::") && !name.contains(":::") && !name.ends_with(':'))
        .collect();
    names.into_iter().collect::<Vec<_>>().join("\n")
}

//! The tools of an MCP server: a program of its own, whose functions the cells call like any Python function.
//! Here it is this very program, started again with the argument `serve`.

use std::{error::Error, io};

use abyme::{
    prelude::*,
    reexports::serde_json::{self, Value as Json, json},
};
use abyme_examples::{Models, cell, report};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let program = std::env::current_exe()?;
    let library = McpServer::command(program.to_string_lossy()).args(["serve"]).connect().await?;
    for tool in library.tools() {
        println!("tool: {}", tool.spec());
    }
    let models = Models::choose(plan, str::to_owned)?;
    let rlm = Rlm::builder("authors -> titles: dict[str, list[str]], unknown: list[str]")
        .instructions("Look each author up in the library.")
        .describe("unknown", "authors that the library does not have")
        .model(models.plans.clone())
        .interpreter(Wasm::new())
        .tools(library.tools())
        .limits(|limits| limits.max_iterations(10))
        .build()?;

    let answer = rlm.run(inputs! { authors: "Herodotus, Nobody, Thucydides" }).await?;

    let unknown: Vec<String> = answer.get("unknown")?;
    println!("titles: {}", answer.get::<Json>("titles")?);
    report(&answer);
    Ok(models.check("the library does not know one of them", unknown == ["Nobody"])?)
}

/// Stands in for the model that plans.
fn plan(seen: &str) -> Option<String> {
    seen.contains("`authors` (str").then(|| cell("One call for each author.", LOOK_UP)).flatten()
}

const LOOK_UP: &str = r#"
titles, unknown = {}, []
for author in authors.split(", "):
    try:
        titles[author] = find_books(author)["books"]
    except RuntimeError as problem:
        print(problem)
        unknown.append(author)
SUBMIT(titles=titles, unknown=unknown)
"#;

/// The server: messages of the protocol, one a line. (Crates such as `rmcp` write this part for you.)
fn serve() -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lines() {
        let message: Json = serde_json::from_str(&line?)?;
        let Some(id) = message.get("id") else { continue };
        let result = match message["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "library", "version": "1"},
            }),
            Some("tools/list") => json!({"tools": [{
                "name": "find-books",
                "description": "The books of an author.",
                "inputSchema": {
                    "type": "object",
                    "properties": {"author": {"type": "string"}},
                    "required": ["author"],
                },
            }]}),
            _ => match message["params"]["arguments"]["author"].as_str() {
                Some("Herodotus") => json!({"content": [], "structuredContent": {"books": ["Histories"]}}),
                Some("Thucydides") => {
                    json!({"content": [], "structuredContent": {"books": ["The Peloponnesian War"]}})
                }
                _ => json!({"isError": true, "content": [{"type": "text", "text": "no such author"}]}),
            },
        };
        println!("{}", json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }
    Ok(())
}

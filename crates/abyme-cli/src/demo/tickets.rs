//! The demo's second part: a cell that fails and is repaired, a batch of sub-calls, outputs of declared
//! types.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use abyme::{InterpreterFactory, Rlm, inputs, testing::ScriptedModel};

use super::script::{after, last_message, reply};
use crate::{
    exit::Failure,
    progress::{Detail, Progress, Target},
    standard::Standard,
};

/// Runs the part, shown on `shown_on` and recorded in the file `trace`. Returns whether the outputs are
/// right.
pub(super) async fn run(
    factory: Arc<dyn InterpreterFactory>,
    shown_on: Option<&Standard>,
    trace: Option<&Path>,
) -> Result<bool, Failure> {
    let mut builder = Rlm::builder("tickets -> bugs: list[int], counts: dict[str, int]")
        .instructions("Sort the tickets into bugs, wishes and questions.")
        .model(planner())
        .sub_model(reader())
        .interpreter(factory);
    if let Some(standard) = shown_on {
        builder = builder.on_event(Progress::new(Target::Stdout(standard.clone()), Detail::Turns));
    }
    let run = builder.build()?.run(inputs! { tickets: TICKETS });
    let prediction = match trace {
        Some(path) => run.trace(path).await?,
        None => run.await?,
    };
    let bugs: Vec<u32> = prediction.get("bugs")?;
    let counts: BTreeMap<String, u32> = prediction.get("counts")?;
    if let Some(standard) = shown_on {
        standard.write(&format!("Outputs: bugs = {bugs:?}, counts = {counts:?}\n"))?;
    }
    let expected = BTreeMap::from([("bug", 3), ("question", 1), ("wish", 2)]);
    let counts: BTreeMap<_, _> = counts.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    Ok(bugs == [101, 104, 106] && counts == expected)
}

fn planner() -> ScriptedModel {
    ScriptedModel::from_fn(|request| Ok(next_cell(&last_message(request)).into()))
        .with_name("scripted-planner")
}

fn reader() -> ScriptedModel {
    ScriptedModel::from_fn(|request| Ok(judge(&last_message(request)).into())).with_name("scripted-reader")
}

fn next_cell(seen: &str) -> String {
    if after(seen, "kinds:").is_some() {
        return reply(
            "All six are sorted. The outputs are a list of int and a dict: that is what I submit.",
            "SUBMIT(\n    bugs=[number for number, kind in kinds.items() if kind == \"bug\"],\n    \
             counts=dict(collections.Counter(kinds.values())),\n)",
        );
    }
    if after(seen, "parsed:").is_some() {
        let code = r#"
question = "Is this ticket a bug, a wish or a question? One word."
prompts = [f"{question}\n\nTicket: {text}" for text in texts.values()]
kinds = dict(zip(texts, llm_query_batched(prompts)))
print("kinds:", kinds)
"#;
        return reply(
            "Which kind a ticket is takes reading, not searching: one sub-call each, all at once.",
            code,
        );
    }
    let refused = after(seen, "ValueError: invalid literal for int() with base 10:");
    let (thought, number) = match refused {
        Some(text) if text.contains('#') => (
            format!(
                "The numbers are written as {text}, so the cell failed at the first one. I take the `#` off."
            ),
            "int(number.lstrip(\"#\"))",
        ),
        Some(text) => (
            format!("{text} is no number; I take the digits out of it."),
            "int(re.sub(r\"\\D\", \"\", number))",
        ),
        None => (
            "A ticket a line, its parts between bars. I read them into a dict by number.".to_owned(),
            "int(number)",
        ),
    };
    let code = format!(
        r#"
texts = {{}}
for line in tickets.strip().splitlines():
    number, name, text = line.split(" | ")
    texts[{number}] = text
print("parsed:", len(texts))
"#
    );
    reply(&thought, &code)
}

/// Which kind a ticket is, from its words.
fn judge(prompt: &str) -> String {
    let ticket = after(prompt, "Ticket:").unwrap_or_default().to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| ticket.contains(word));
    let kind = match () {
        () if has(&["crash", "stops", "wrong", "error"]) => "bug",
        () if has(&["would", "please add", "could you add"]) => "wish",
        () => "question",
    };
    kind.to_owned()
}

const TICKETS: &str = "\
#101 | Ana Ruiz | The export to CSV stops after the first thousand rows.
#102 | Bo Lindqvist | It would help to have a dark theme in the editor.
#103 | Chidi Okafor | Where do I change the address on my invoices?
#104 | Dana Weiss | Sums in the yearly report are wrong when a month is empty.
#105 | Emre Kaya | Please add a shortcut for closing all tabs.
#106 | Fen Li | The app crashes when I open a file with a space in its name.
";

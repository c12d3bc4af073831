//! A run of five turns with a batch, children and a tool, whose calls are written down as they are made.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use abyme::{
    Event, InterpreterFactory, LanguageModel, ParameterSpec, Request, Response, Rlm, Role, Text, Tool,
    Trajectory, Value, inputs,
};
use indexmap::IndexMap;

/// Model calls and tool calls of the whole run.
pub(crate) const CALLS: usize = 5 + 4 + 2 * 3 + 1 + 1;

/// What the run answers.
pub(crate) const ANSWER: &str = "P0|P1|P2|P3|ASKED BY A|ASKED BY B|THREE|LAST OF DOCS";

const CELLS: [&str; 5] = [
    "import random\nluck = random.random()\nparts = llm_query_batched(['p%d' % i for i in range(4)])\n\
     print(parts)",
    "kids = rlm_query_batched(['count: a', 'count: b'])\nprint(kids, luck)",
    "seen = note('three')\nprint(seen, random.random())",
    "one = llm_query('last of ' + docs[:4])\nprint(len(parts), len(kids), one)",
    "SUBMIT('|'.join([*parts, *map(str, kids), seen, one]))",
];

/// Answers by what it is asked, and adds a line to a file for each call before it does.
#[derive(Debug)]
struct NotingModel(PathBuf);

#[async_trait::async_trait]
impl LanguageModel for NotingModel {
    fn name(&self) -> &str {
        "noted"
    }

    async fn complete(&self, request: &Request) -> abyme::Result<Response> {
        let messages = &request.messages;
        let turn = messages.iter().filter(|message| message.role == Role::Assistant).count();
        let first: String = messages.iter().take(2).map(|message| message.content.as_str()).collect();
        let child = ["a", "b"].into_iter().find(|name| first.contains(&format!("count: {name}")));
        let said = &messages[messages.len() - 1].content;
        note(&self.0, &format!("{child:?} {turn} {said:?}"));
        tokio::time::sleep(Duration::from_millis(5)).await;
        let text = match (messages[0].role, child) {
            (Role::System, None) => format!("```python\n{}\n```", CELLS[turn.min(4)]),
            (Role::System, Some(name)) if turn == 0 => {
                format!("```python\nfound = llm_query('asked by {name}')\nprint(found)\n```")
            }
            (Role::System, Some(_)) => "```python\nSUBMIT(found)\n```".to_owned(),
            _ => said.to_uppercase(),
        };
        Ok(Response::new(text))
    }
}

fn note(file: &Path, line: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// How many calls were made.
pub(crate) fn calls(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// How many calls a record knows the answers of.
pub(crate) fn answered(record: &Trajectory) -> usize {
    let is_answer = |event: &&Event| {
        matches!(
            event,
            Event::ModelReplied { .. } | Event::SubCallFinished { .. } | Event::ToolCallFinished { .. }
        )
    };
    record.events().filter(is_answer).count()
}

/// What runs, with the calls in a file.
pub(crate) fn rlm(backend: Arc<dyn InterpreterFactory>, calls: &Path) -> Rlm {
    let tool_calls = calls.to_owned();
    let parameters = vec![ParameterSpec::new("text").annotation("str")];
    let tool =
        Tool::from_parts("note", "Notes a text.", parameters, move |arguments: IndexMap<String, Value>| {
            let text = arguments["text"].as_text().unwrap_or_default().to_owned();
            note(&tool_calls, &format!("note {text}"));
            async move { Ok(Value::from(text.to_uppercase())) }
        });
    let builder =
        Rlm::builder("docs -> text").model(NotingModel(calls.to_owned())).interpreter(backend).tool(tool);
    builder.build().unwrap()
}

/// Its inputs: one of them is long.
pub(crate) fn given() -> abyme::Inputs {
    inputs! { docs: Text::from("docs ".repeat(2_000)) }
}

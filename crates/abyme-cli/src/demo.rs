//! `abyme demo`: a real run with no key and no network. Only the model is scripted.

mod script;
mod tickets;

use std::{sync::Arc, time::Instant};

use abyme::{InterpreterFactory, Prediction, Rlm, Text, Value, inputs};
use abyme_eval::Haystack;

use crate::{
    args::DemoArgs,
    backend,
    exit::{Exit, Failure},
    json,
    progress::{Detail, Progress, Target},
    signals::{clean_up_grace, unless_stopped},
    standard::Standard,
};

pub(crate) async fn run(args: DemoArgs, standard: &Standard) -> Result<Exit, Failure> {
    let memory = backend::memory_for(&args.backend.interpreter, args.size);
    let settings = args.backend.settings(memory);
    let factory = backend::factory(&args.backend.interpreter, &settings)?;
    let grace = clean_up_grace(&args.backend.interpreter);
    unless_stopped(both_parts(&args, factory, standard), grace).await?
}

async fn both_parts(
    args: &DemoArgs,
    factory: Arc<dyn InterpreterFactory>,
    standard: &Standard,
) -> Result<Exit, Failure> {
    let shown = !args.json;
    if shown {
        standard.write(&format!(
            "Part 1: one line is hidden in {} characters of text (seed {}). The run is real: a Python \
             session, cells,\nsub-calls. Only the model is a script. It sees what any model would see, and \
             it does not know the answer.\n\n",
            args.size, args.seed
        ))?;
    }
    let started = Instant::now();
    let search = search(args, &factory, shown.then_some(standard)).await?;
    if args.json {
        let (answer, expected) =
            (search.prediction.outputs().get("answer"), Value::from(i64::from(search.expected)));
        let object = Value::dict([
            ("answer", answer.cloned().unwrap_or_default()),
            ("expected", expected),
            ("status", search.prediction.status().to_string().into()),
            (
                "turns",
                Value::from(i64::try_from(search.prediction.trajectory().turns().len()).unwrap_or(i64::MAX)),
            ),
            ("interpreter", factory.name().into()),
            ("seconds", ((started.elapsed().as_secs_f64() * 1e6).round() / 1e6).into()),
        ]);
        standard.write(&format!("{}\n", json::strict(&object)))?;
    } else {
        let verdict =
            if search.right { "the number that was hidden" } else { "NOT the number that was hidden" };
        let answer = search.prediction.outputs().get("answer").map(json::strict).unwrap_or_default();
        standard.write(&format!(
            "Answer: {answer}, {verdict} ({}), after {:.2} s.\n\n\
             Part 2: a cell fails and is repaired, a batch of sub-calls, outputs of declared types.\n\n",
            search.expected,
            started.elapsed().as_secs_f64()
        ))?;
    }
    let outputs_right = tickets::run(factory, shown.then_some(standard), args.trace.as_deref()).await?;
    match (search.right, outputs_right) {
        (true, true) => Ok(Exit::Ok),
        (false, _) => Err(Failure::new(Exit::WrongAnswer, "the answer is not the number that was hidden")),
        (true, false) => {
            Err(Failure::new(Exit::WrongAnswer, "the second part's outputs are not as expected"))
        }
    }
}

/// How the search ended.
struct Search {
    prediction: Prediction,
    expected: u32,
    right: bool,
}

/// Searches the text. The run is shown on `shown_on`.
async fn search(
    args: &DemoArgs,
    factory: &Arc<dyn InterpreterFactory>,
    shown_on: Option<&Standard>,
) -> Result<Search, Failure> {
    let Haystack { text, question, number: expected, .. } = Haystack::generate(args.seed, args.size);
    let mut builder = Rlm::builder("context, query -> answer: int")
        .instructions("Answer the question from the context. The context is too long to read.")
        .model(script::planner())
        .sub_model(script::reader())
        .interpreter(factory.clone());
    if let Some(standard) = shown_on {
        builder = builder.on_event(Progress::new(Target::Stdout(standard.clone()), Detail::Turns));
    }
    let inputs = inputs! { context: Text::from(text), query: question };
    let prediction = builder.build()?.run(inputs).await?;
    let right = prediction.outputs().get("answer") == Some(&Value::from(i64::from(expected)));
    Ok(Search { prediction, expected, right })
}

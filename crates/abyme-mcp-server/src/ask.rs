//! `ask`: a run of the server's RLM over what a client gives.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use abyme_core::{
    Error, ErrorKind, Field, FieldType, Inputs, Prediction, Result, Rlm, Status, TaskSignature,
};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::Value as Json;

use crate::{
    call::{CallEnd, failed, result},
    files,
    progress::Steps,
    records::name_of,
    shared::{Admission, Shared},
    tools::{Answer, AskArguments},
};

/// The input that is asked.
const QUESTION: &str = "question";
/// The output where a client asks for none by name.
const OUTPUT: &str = "answer";
/// How long a cancelled run may take to end its sessions and its record.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers a question that was admitted, unless `cancelled` comes first.
pub(crate) async fn ask(
    shared: &Shared,
    admission: Admission,
    arguments: AskArguments,
    cancelled: impl Future<Output = ()>,
    steps: &Arc<Steps>,
) -> CallEnd {
    let Some(rlm) = &shared.rlm else {
        return CallEnd::Answered(failed("this server has no model that could be asked"));
    };
    let mut cancelled = pin!(cancelled);
    if admission.waits() {
        steps.say("waiting until another question is answered");
    }
    let slot = tokio::select! {
        slot = admission.slot() => slot,
        () = &mut cancelled => return CallEnd::Cancelled,
    };
    let _slot = match slot {
        Ok(slot) => slot,
        Err(problem) => return CallEnd::Answered(failed(problem)),
    };
    let question = arguments.question.clone();
    let begun = tokio::select! {
        begun = begin(shared, rlm, arguments) => begun,
        () = &mut cancelled => return CallEnd::Cancelled,
    };
    match begun {
        Ok((rlm, inputs)) => run(shared, &rlm, inputs, &question, cancelled, steps).await,
        Err(error) => CallEnd::Answered(failed(error.to_string())),
    }
}

/// The task of a question, and its inputs.
async fn begin(shared: &Shared, rlm: &Rlm, arguments: AskArguments) -> Result<(Rlm, Inputs)> {
    let AskArguments { question, inputs, paths, outputs } = arguments;
    let inputs = files::inputs(inputs, paths, shared.files.as_ref()).await?;
    let signature = signature(&inputs, outputs.as_deref())?;
    let signature = match rlm.signature().instructions() {
        Some(instructions) => signature.with_instructions(instructions),
        None => signature,
    };
    Ok((rlm.with_signature(signature)?, inputs.with(QUESTION, question)))
}

/// The task: the inputs as they are called, and the question.
fn signature(inputs: &Inputs, outputs: Option<&str>) -> Result<TaskSignature> {
    if inputs.get(QUESTION).is_some() {
        let message = format!("an input is called `{QUESTION}`, as the question itself is: rename it");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let outputs = outputs.map(str::trim).filter(|outputs| !outputs.is_empty()).unwrap_or(OUTPUT);
    if outputs.contains("->") {
        let message = "`outputs` are names with types alone, such as `modules: list[str], total: int`";
        return Err(Error::new(ErrorKind::Signature, message));
    }
    let outputs: TaskSignature = format!("-> {outputs}").parse()?;
    let question = Field::new(QUESTION, FieldType::Str);
    let inputs = inputs.names().map(Field::untyped).chain([question]);
    TaskSignature::new(inputs, outputs.outputs().iter().cloned())
}

async fn run(
    shared: &Shared,
    rlm: &Rlm,
    inputs: Inputs,
    question: &str,
    cancelled: Pin<&mut impl Future<Output = ()>>,
    steps: &Arc<Steps>,
) -> CallEnd {
    let run = rlm.run(inputs).label(name_of(question));
    let followed = steps.follow(run.id());
    let mut run = run.on_event(followed);
    if let Some(directory) = &shared.config.trace_dir {
        let file = directory.join(format!("{}.jsonl", run.id()));
        // A client that leaves ends its run, and nobody resumes it.
        run = run.trace(file).snapshots(None);
    }
    let ended = run.until(cancelled, CANCEL_TIMEOUT).await;
    CallEnd::Answered(match ended {
        Ok(prediction) => {
            let status = prediction.status().to_string();
            let record = shared.records.keep(question, &status, prediction.trajectory()).await;
            answered(&prediction, record)
        }
        Err(error) => {
            let is_cancelled = error.kind() == ErrorKind::Cancelled;
            let how = if is_cancelled { "cancelled" } else { "failed" };
            let record = match error.trajectory() {
                Some(trajectory) => shared.records.keep(question, how, trajectory).await,
                None => None,
            };
            if is_cancelled {
                return CallEnd::Cancelled;
            }
            let record = record.map(|uri| format!("\nThe record of the run is {uri}")).unwrap_or_default();
            failed(format!("the run failed: {error}{record}"))
        }
    })
}

/// The answer: as a text for models, in full for programs, and a note where it is an estimate.
fn answered(prediction: &Prediction, record: Option<String>) -> CallToolResult {
    let status = prediction.status();
    let outputs: JsonObject =
        prediction.outputs().iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
    let text = match (outputs.len(), outputs.values().next()) {
        (1, Some(Json::String(text))) => text.clone(),
        (1, Some(value)) => value.to_string(),
        _ => Json::Object(outputs.clone()).to_string(),
    };
    let answer = Answer {
        outputs,
        status: status.to_string(),
        turns: prediction.turns(),
        usage: serde_json::to_value(prediction.usage()).unwrap_or_default(),
        record,
    };
    let mut result = result(text, &answer);
    if !status.is_complete() {
        let note = match status {
            Status::LimitReached(limit) => format!("The run reached its limit `{limit}`"),
            _ => "The run could not go on".to_owned(),
        };
        result.content.push(ContentBlock::text(format!("{note}: the answer is the model's estimate.")));
    }
    result
}

//! Whether a record is of the task that is to go on with it, and what has changed that may.

use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::FunctionSpec,
    tool::Tool,
    trajectory::{Event, Recorder, difference},
};

/// Refuses a record of another task, and notes what else is not as it was.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] with what differs.
pub(super) fn check_task(recorder: &Recorder, recorded: &Event, now: &Event) -> Result<()> {
    let (
        Event::RunStarted {
            abyme: old_abyme, model: old_model, sub_model: old_sub, interpreter: old, ..
        },
        Event::RunStarted { abyme, model, sub_model, interpreter, .. },
    ) = (recorded, now)
    else {
        return Ok(());
    };
    let refused = |what: String| Err(Error::new(ErrorKind::InvalidInput, what).operation("Rlm::resume"));
    if old != interpreter {
        return refused(format!(
            "the record was made with the backend `{old}`, and cannot go on with `{interpreter}`"
        ));
    }
    if let Some(difference) = difference(recorder.run(), recorded, now, false) {
        let message = format!("the record is not of this task: {}", difference.summary());
        let error = Error::new(ErrorKind::InvalidInput, message).operation("Rlm::resume");
        return Err(error.with("recorded", &difference.recorded).with("now", &difference.now));
    }
    for (what, old, new) in [
        ("version of Abyme", old_abyme, abyme),
        ("model", old_model, model),
        ("sub-model", old_sub, sub_model),
    ] {
        if old != new {
            recorder.note(format!("the {what} was `{old}` and is `{new}`"));
        }
    }
    Ok(())
}

/// Says which tools are missing, or are not as they were.
pub(super) fn tool_notes(recorded: &[FunctionSpec], tools: &[Tool]) -> Vec<String> {
    let note = |spec: &FunctionSpec| match tools.iter().find(|tool| tool.name() == spec.name) {
        None => Some(format!("the tool `{}` is missing", spec.name)),
        Some(tool) if tool.spec() != spec => {
            Some(format!("the tool `{}` was `{spec}` and is `{}`", spec.name, tool.spec()))
        }
        Some(_) => None,
    };
    recorded.iter().filter_map(note).collect()
}

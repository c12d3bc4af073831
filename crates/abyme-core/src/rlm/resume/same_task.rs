//! Whether a record is of the task that is to go on with it, and what has changed that may.

use abyme_python_syntax::CodePolicy;

use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::{FunctionSpec, ModuleSource},
    tool::Tool,
    trajectory::{Event, PythonToolSource, Recorder, difference, hash},
};

/// Refuses a record of another task, and notes what else is not as it was.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] with what differs.
pub(in crate::rlm) fn check_task(recorder: &Recorder, recorded: &Event, now: &Event) -> Result<()> {
    let (
        Event::RunStarted {
            abyme: old_abyme,
            model: old_model,
            sub_model: old_sub,
            interpreter: old,
            profile: old_profile,
            policy: old_policy,
            python_tools: old_tools,
            ..
        },
        Event::RunStarted { abyme, model, sub_model, interpreter, profile, policy, python_tools, .. },
    ) = (recorded, now)
    else {
        return Ok(());
    };
    let refused = |what: String| Error::new(ErrorKind::InvalidInput, what).operation("Rlm::resume");
    if old != interpreter {
        return Err(refused(format!(
            "the record was made with the backend `{old}`, and cannot go on with `{interpreter}`"
        )));
    }
    // Records of before these were written down say nothing of them.
    let is_told = old_profile.is_some();
    let tool_notes = if is_told { tool_source_notes(old_tools, python_tools) } else { Vec::new() };
    if is_told && old_profile != profile {
        let name = |profile: &Option<String>| profile.clone().unwrap_or_default();
        let (old, new) = (name(old_profile), name(profile));
        return Err(refused(format!("the record is of the profile `{old}`, and cannot go on with `{new}`")));
    }
    if is_told && old_policy != policy {
        let text = |policy: &Option<String>| match policy {
            Some(name) => format!("the policy `{name}`"),
            None => "no policy".to_owned(),
        };
        let (old, new) = (text(old_policy), text(policy));
        return Err(refused(format!("the record has {old} for its cells, and cannot go on with {new}")));
    }
    if let Some(difference) = difference(recorder.run(), recorded, now, false) {
        let whys: String = tool_notes.iter().map(|note| format!("{note}; ")).collect();
        let message = format!("the record is not of this task: {whys}{}", difference.summary());
        let error = refused(message).with("recorded", &difference.recorded).with("now", &difference.now);
        return Err(error.with_source(difference));
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
    tool_notes.into_iter().for_each(|note| recorder.note(note));
    Ok(())
}

/// What a replay has otherwise than its record, and what may differ by that. Its models are not asked.
pub(in crate::rlm) fn replay_notes(recorded: &Event, now: &Event, tools: &[Tool]) -> Vec<String> {
    let (
        Event::RunStarted {
            interpreter: old,
            profile: old_profile,
            policy: old_policy,
            python_tools: old_sources,
            tools: old_tools,
            ..
        },
        Event::RunStarted { interpreter, profile, policy, python_tools, .. },
    ) = (recorded, now)
    else {
        return Vec::new();
    };
    let mut notes = tool_notes(old_tools, tools);
    let changed = |what: &str, old: Option<&str>, new: Option<&str>| {
        let name = |name: Option<&str>| name.map_or("none".to_owned(), |name| format!("`{name}`"));
        (old != new).then(|| format!("the {what} was {} and is {}", name(old), name(new)))
    };
    notes.extend(changed("backend", Some(old), Some(interpreter)));
    // Records of before these were written down say nothing of them.
    if old_profile.is_some() {
        notes.extend(changed("profile", old_profile.as_deref(), profile.as_deref()));
        notes.extend(changed("policy", old_policy.as_deref(), policy.as_deref()));
        notes.extend(tool_source_notes(old_sources, python_tools));
    }
    notes
}

/// What a record calls a policy.
pub(in crate::rlm) fn policy_name(policy: &CodePolicy) -> String {
    match *policy == CodePolicy::guard_rail() {
        true => "guard_rail".to_owned(),
        // Sets of texts can be written.
        false => hash(serde_json::to_string(policy).unwrap_or_default()),
    }
}

/// The sources of tools in Python, as a record has them.
pub(in crate::rlm) fn tool_sources(modules: &[ModuleSource]) -> Vec<PythonToolSource> {
    modules.iter().map(|module| PythonToolSource::new(&module.name, hash(&module.source))).collect()
}

/// Says which sources of tools are missing, are new, or are not as they were.
fn tool_source_notes(recorded: &[PythonToolSource], now: &[PythonToolSource]) -> Vec<String> {
    let is_in = |list: &[PythonToolSource], name: &str| list.iter().any(|one| one.name == name);
    let changed = recorded.iter().filter(|old| !now.contains(old)).map(|old| match is_in(now, &old.name) {
        true => format!("the tools of `{}` are not as they were", old.name),
        false => format!("the tools of `{}` are missing", old.name),
    });
    let new = now.iter().filter(|new| !is_in(recorded, &new.name));
    changed.chain(new.map(|new| format!("the tools of `{}` are new", new.name))).collect()
}

/// Says which tools are missing, or are not as they were.
pub(in crate::rlm) fn tool_notes(recorded: &[FunctionSpec], tools: &[Tool]) -> Vec<String> {
    let note = |spec: &FunctionSpec| match tools.iter().find(|tool| tool.name() == spec.name) {
        None => Some(format!("the tool `{}` is missing", spec.name)),
        Some(tool) if tool.spec() != spec => {
            Some(format!("the tool `{}` was `{spec}` and is `{}`", spec.name, tool.spec()))
        }
        Some(_) => None,
    };
    recorded.iter().filter_map(note).collect()
}

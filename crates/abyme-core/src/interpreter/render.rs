//! An observation as the model reads it: what is most useful comes first, and all of it shares one budget of
//! characters.

use std::borrow::Cow;

use super::observation::{Captured, ChangedVariable, Interruption, Observation, PythonError, Stage};

/// How much of the budget a part may take, beside the others that are there, before it is cut. What a part
/// does not need, the others have.
const ERROR: usize = 4;
const VALUE: usize = 3;
const STDOUT: usize = 4;
const STDERR: usize = 2;
const CHANGED: usize = 2;

/// An observation as text. Its parts together have at most `max_chars` characters; their labels, and the note
/// where something was left out, come on top.
///
/// The order: how the cell was cut short, the exception, the value, stdout, stderr, the variables that
/// changed. Short parts stay whole, and long ones share what is left, so that no flood of output pushes out
/// an exception. A text that is cut keeps its beginning and its end and says its true length.
pub fn render_observation(observation: &Observation, max_chars: usize) -> String {
    let value = observation.value.clone().unwrap_or_default();
    let error = observation.error.as_ref().map(error_text).unwrap_or_default();
    let texts = [
        ("error", Captured::whole(error), ERROR, KeptEnd::Last),
        ("value", value, VALUE, KeptEnd::Both),
        ("stdout", observation.stdout.clone(), STDOUT, KeptEnd::Both),
        ("stderr", observation.stderr.clone(), STDERR, KeptEnd::Both),
    ];
    let changed: Vec<String> = observation.changed.iter().map(name_and_summary).collect();
    let changed_chars = changed.iter().map(|item| item.chars().count() + 2).sum();
    let sizes = texts.iter().map(|(_, text, weight, _)| (kept(text), *weight));
    let shares = shares(&sizes.chain([(changed_chars, CHANGED)]).collect::<Vec<_>>(), max_chars);

    let mut rendered: Vec<String> = ending(observation).into_iter().collect();
    let is_silent = texts.iter().all(|(_, text, _, _)| text.is_empty());
    for ((label, text, _, end), share) in texts.into_iter().zip(&shares) {
        rendered.extend(section(label, &text, *share, end));
    }
    if let Some(submission) = &observation.submission {
        rendered.push(format!("[submitted by {}]", submission.via));
    } else if is_silent && observation.is_ok() {
        rendered.push("(the cell ran without output; print what you want to see)".to_owned());
    }
    let changed_share = shares.last().copied().unwrap_or_default();
    rendered.extend(changed_line(&changed, observation.changed_total, changed_share));
    rendered.join("\n")
}

/// Which end of a text says more.
#[derive(Clone, Copy)]
enum KeptEnd {
    Both,
    /// A traceback says at its end what happened.
    Last,
}

/// A text under its label, cut to so many characters.
fn section(label: &str, text: &Captured, share: usize, end: KeptEnd) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let text = match end {
        KeptEnd::Both => text.shortened(share),
        KeptEnd::Last => text.shortened_to(share / 4, share - share / 4),
    };
    let length = match text.omitted_chars {
        0 => String::new(),
        _ => format!(" ({} characters)", text.total_chars),
    };
    Some(format!("[{label}{length}]\n{}", told_apart(text.to_string().trim_end_matches('\n'))))
}

/// The labels of a message after a turn, without what may follow in them.
pub(crate) const LABELS: [&str; 13] = [
    "error",
    "value",
    "stdout",
    "stderr",
    "changed",
    "submitted by",
    "session restored",
    "session ended",
    "session lost",
    "time limit",
    "submission refused",
    "cut off",
    "filtered",
];

/// What ends a line for its reader: what does for Python's `splitlines`.
const LINE_ENDS: [char; 10] =
    ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];

/// A text none of whose lines can be taken for one that the session writes: such a line is indented.
///
/// What a cell prints may come from its inputs, and so from the author of these.
pub(crate) fn told_apart(text: &str) -> Cow<'_, str> {
    let is_of_session = |line: &&str| {
        let label = line.strip_prefix('[');
        let label = label.and_then(|line| LABELS.iter().find_map(|label| line.strip_prefix(label)));
        label.is_some_and(|rest| rest.starts_with([']', ' '])) || line.starts_with("(turn ")
    };
    let lines = || text.split_inclusive(LINE_ENDS);
    if !lines().any(|line| is_of_session(&line)) {
        return Cow::Borrowed(text);
    }
    lines().flat_map(|line| [if is_of_session(&line) { " " } else { "" }, line]).collect::<String>().into()
}

fn error_text(error: &PythonError) -> String {
    match error.stage {
        Stage::Policy => error.to_string(),
        _ if error.traceback.is_empty() => error.to_string(),
        _ => error.traceback.trim_end().to_owned(),
    }
}

/// What to say about a cell that its time limit or its session's end cut short.
fn ending(observation: &Observation) -> Option<String> {
    let seconds = observation.duration.as_secs_f64();
    if let Some(reason) = &observation.restored {
        return Some(format!(
            "[session restored]\n{}. Variables and files are as they were before this cell.",
            told_apart(reason)
        ));
    }
    match (observation.interruption, &observation.session_ended) {
        (Some(Interruption::Interrupted), None) => {
            Some(format!("[time limit]\nThe cell was interrupted after {seconds:.1} s. Variables are kept."))
        }
        (_, Some(reason)) => Some(format!("[session ended]\n{}", told_apart(reason))),
        (Some(Interruption::Killed), None) => {
            Some(format!("[time limit]\nThe cell was killed after {seconds:.1} s. Variables are lost."))
        }
        (None, None) => None,
    }
}

/// On one line, whatever a cell made of its names (`globals()[text] = 1`).
fn name_and_summary(variable: &ChangedVariable) -> String {
    format!("{}: {}", variable.name, variable.summary).replace(LINE_ENDS, " ")
}

/// The variables that changed, as many as have room; of `total`.
fn changed_line(changed: &[String], total: usize, max_chars: usize) -> Option<String> {
    let total = total.max(changed.len());
    if total == 0 {
        return None;
    }
    let mut room = max_chars;
    let fits = |item: &&String| match room.checked_sub(item.chars().count() + 2) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let mut shown: Vec<String> = changed.iter().take_while(fits).cloned().collect();
    match (shown.len(), total - shown.len()) {
        (_, 0) => {}
        (0, _) => shown.push(format!("{total} variables")),
        (_, more) => shown.push(format!("and {more} more")),
    }
    Some(format!("[changed] {}", shown.join(", ")))
}

fn kept(text: &Captured) -> usize {
    text.total_chars - text.omitted_chars
}

/// Divides `total` among parts of these sizes and weights, those first that need the least for their weight,
/// so that only what is too large is cut.
fn shares(parts: &[(usize, usize)], total: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&index| parts[index].0 / parts[index].1);
    let mut weights: usize = parts.iter().map(|(_, weight)| weight).sum();
    let (mut left, mut shares) = (total, vec![0; parts.len()]);
    for index in order {
        let (size, weight) = parts[index];
        // Never more than `left`.
        let fair = (left as u128 * weight as u128 / weights as u128) as usize;
        shares[index] = size.min(fair);
        left -= shares[index];
        weights -= weight;
    }
    shares
}

#[cfg(test)]
mod tests;

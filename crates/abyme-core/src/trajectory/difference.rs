//! Compares what a run does with what its record says.

use serde::Serialize;

use super::event::{Difference, Event};
use crate::{
    interpreter::{Observation, render_observation},
    model::Message,
};

/// Lines that are shown before the first one that differs, and in all.
const LINES_BEFORE: usize = 2;
const SHOWN_LINES: usize = 12;
/// Characters that are shown of a line, and how many of them come before the first one that differs.
const SHOWN_LINE_CHARS: usize = 400;
const CHARS_BEFORE: usize = 100;
/// Characters of an observation that are compared as the model reads it.
const SHOWN_CHARS: usize = 100_000;

/// What differs between an event as it was and as it is, but for times and for what was used. What is left
/// for a child depends on what others of its tree do at the same time, so that is no difference.
pub(crate) fn difference(run: &str, recorded: &Event, now: &Event, is_child: bool) -> Option<Difference> {
    let (turn, what, recorded, now) = match (recorded, now) {
        (
            Event::RunStarted { signature: was, messages: before, .. },
            Event::RunStarted { signature, messages, .. },
        ) => {
            let (was, signature) = (was.to_string(), signature.to_string());
            let mut pairs = before.iter().zip(messages).filter(|(before, now)| before != now);
            match pairs.next() {
                _ if was != signature => (0, "the signature", was, signature),
                Some((before, now)) => {
                    (0, "the request to the model", before.content.clone(), now.content.clone())
                }
                None if before.len() != messages.len() => {
                    let count = |messages: usize| format!("{messages} messages");
                    (0, "the request to the model", count(before.len()), count(messages.len()))
                }
                None => return None,
            }
        }
        (Event::MessageAppended { message: before, .. }, Event::MessageAppended { turn, message }) => {
            let text = |content: &str| if is_child { without_left(content) } else { content.to_owned() };
            (*turn, "the request to the model", text(&before.content), text(&message.content))
        }
        (Event::TranscriptCut { messages: before, .. }, Event::TranscriptCut { turn, messages, .. })
        | (
            Event::TranscriptCompacted { messages: before, .. },
            Event::TranscriptCompacted { turn, messages, .. },
        ) => {
            let text = |messages: &[Message]| {
                messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n\n")
            };
            (*turn, "the shortened conversation", text(before), text(messages))
        }
        (Event::CellStarted { code: before, .. }, Event::CellStarted { turn, code, .. }) => {
            (*turn, "the cell", before.clone(), code.clone())
        }
        (Event::RunFinished { outputs: before, .. }, Event::RunFinished { outputs, turns, .. }) => {
            let text = |outputs| serde_json::to_string_pretty(outputs).unwrap_or_default();
            (*turns, "the outputs", text(before), text(outputs))
        }
        (Event::RunFailed { error: before, .. }, Event::RunFailed { error, turns, .. }) => {
            (*turns, "the error", before.clone(), error.clone())
        }
        (before, now) if std::mem::discriminant(before) == std::mem::discriminant(now) => return None,
        (before, now) => (turn_of(now), "what the loop does next", name(before), name(now)),
    };
    of_texts(run, turn, what, &recorded, &now)
}

/// A message without the line that says what is left.
pub(super) fn without_left(content: &str) -> String {
    let says = |line: &&str| line.starts_with("(turn ") && line.contains("sub-calls left");
    content.lines().filter(|line| !says(line)).collect::<Vec<_>>().join("\n")
}

/// What differs between two observations, but for the time they took.
pub(crate) fn difference_of(
    run: &str,
    turn: u32,
    recorded: &Observation,
    now: &Observation,
) -> Option<Difference> {
    let text = |observation: &Observation| {
        let mut text = render_observation(observation, SHOWN_CHARS);
        for end in [&observation.session_ended, &observation.restored].into_iter().flatten() {
            text.push_str(&format!("\n[session] {end}"));
        }
        text
    };
    of_texts(run, turn, "the observation of the cell", &text(recorded), &text(now))
}

fn of_texts(run: &str, turn: u32, what: &str, recorded: &str, now: &str) -> Option<Difference> {
    if recorded == now {
        return None;
    }
    let same = recorded.lines().zip(now.lines()).take_while(|(recorded, now)| recorded == now).count();
    let first = same.saturating_sub(LINES_BEFORE);
    // Where the first line that differs is long, it is shown from near where it does.
    let line = |text: &str| text.lines().nth(same).unwrap_or_default().to_owned();
    let (was, is) = (line(recorded), line(now));
    let common = was.chars().zip(is.chars()).take_while(|(was, is)| was == is).count();
    let from = |text: &str| {
        let lines = text.lines().enumerate().skip(first).take(SHOWN_LINES);
        let shown = lines.map(|(at, line)| match at == same && common > SHOWN_LINE_CHARS / 2 {
            true => shown(line, common - CHARS_BEFORE),
            false => shown(line, 0),
        });
        shown.collect::<Vec<_>>().join("\n")
    };
    Some(Difference {
        run: run.to_owned(),
        turn,
        what: if first == 0 { what.to_owned() } else { format!("{what}, from line {}", first + 1) },
        recorded: from(recorded),
        now: from(now),
    })
}

/// A line from a character on, cut to a length that people read.
fn shown(line: &str, from: usize) -> String {
    let mut rest = line.chars().skip(from);
    let before = if from > 0 { "..." } else { "" };
    let mut shown: String = before.chars().chain(rest.by_ref().take(SHOWN_LINE_CHARS)).collect();
    if rest.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// The name of an event, as a record has it.
pub(super) fn name(event: &Event) -> String {
    serde_json::to_value(event)
        .ok()
        .and_then(|json| Some(json.get("event")?.as_str()?.to_owned()))
        .unwrap_or_default()
}

/// The name of a value that is written as a word.
pub(crate) fn name_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|json| Some(json.as_str()?.to_owned())).unwrap_or_default()
}

fn turn_of(event: &Event) -> u32 {
    match event {
        Event::ModelReplied { turn, .. }
        | Event::ReplyRefused { turn, .. }
        | Event::ModelCallFailed { turn, .. }
        | Event::TranscriptCut { turn, .. }
        | Event::TranscriptCompacted { turn, .. }
        | Event::MessageAppended { turn, .. }
        | Event::CellStarted { turn, .. }
        | Event::CellFinished { turn, .. }
        | Event::SessionLost { turn, .. }
        | Event::SubmissionRefused { turn, .. } => *turn,
        Event::RunFinished { turns, .. } | Event::RunFailed { turns, .. } => *turns,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_shown_where_they_differ() {
        let text = |middle: &str| format!("same\n{}{middle}{}\nend", "a".repeat(5_000), "b".repeat(5_000));
        let difference = of_texts("run", 1, "the cell", &text("old"), &text("new")).unwrap();
        let shown = |middle: &str| format!("same\n...{}{middle}{}...\nend", "a".repeat(100), "b".repeat(297));
        assert_eq!((difference.recorded, difference.now), (shown("old"), shown("new")));
    }
}

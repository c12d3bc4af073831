//! Where a request differs from the recorded one.

use crate::model::message::Request;

/// Characters that are shown of a line.
const SHOWN: usize = 160;
/// Lines before the first one that differs.
const BEFORE: usize = 2;

/// The first difference, in one line and at length. `None`: there is none.
pub(super) fn between(recorded: &Request, asked: &Request) -> Option<(String, String)> {
    for (at, (old, new)) in recorded.messages.iter().zip(&asked.messages).enumerate() {
        if old.role != new.role {
            let text = format!("message {} is the {}'s, not the {}'s", at + 1, new.role, old.role);
            return Some((text, String::new()));
        }
        if old.content != new.content {
            let (short, long) = of_texts(&old.content, &new.content);
            return Some((format!("message {} ({}) differs in {short}", at + 1, old.role), long));
        }
    }
    let (old, new) = (recorded.messages.len(), asked.messages.len());
    if old != new {
        let more = if old > new { &recorded.messages } else { &asked.messages };
        let first = more.get(old.min(new));
        let shown = first.map_or_else(String::new, |message| shown(&message.content));
        return Some((format!("it has {new} messages, not {old}"), format!("the first one more: {shown}")));
    }
    let fields = |request: &Request| {
        let bare = Request { messages: Vec::new(), ..request.question() };
        serde_json::to_value(bare).unwrap_or_default()
    };
    let (old, new) = (fields(recorded), fields(asked));
    let names = ["max_tokens", "temperature", "model", "schema"];
    let name = names.into_iter().find(|name| old.get(name) != new.get(name))?;
    let said = |value: Option<&serde_json::Value>| value.map_or("not set".to_owned(), ToString::to_string);
    let (old, new) = (said(old.get(name)), said(new.get(name)));
    Some((format!("`{name}` is {}, not {}", shown(&new), shown(&old)), format!("- {old}\n+ {new}")))
}

/// The first line that two texts do not share.
fn of_texts(old: &str, new: &str) -> (String, String) {
    let (old, new): (Vec<_>, Vec<_>) = (old.split('\n').collect(), new.split('\n').collect());
    let at = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let line = |lines: &[&str], others: &[&str]| match lines.get(at) {
        Some(line) => format!("`{}`", from_difference(line, others.get(at))),
        None => "nothing".to_owned(),
    };
    let short = format!("line {}: {} in place of {}", at + 1, line(&new, &old), line(&old, &new));
    let before = &old[at.saturating_sub(BEFORE)..at];
    let mut long: Vec<_> = before.iter().map(|line| format!("  {}", shown(line))).collect();
    long.extend(old.get(at).map(|line| format!("- {}", from_difference(line, new.get(at)))));
    long.extend(new.get(at).map(|line| format!("+ {}", from_difference(line, old.get(at)))));
    (short, long.join("\n"))
}

/// A long line from a little before the place where it differs.
fn from_difference(line: &str, other: Option<&&str>) -> String {
    let same =
        line.chars().zip(other.copied().unwrap_or_default().chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 2);
    let rest: String = line.chars().skip(from).collect();
    if from == 0 { shown(&rest) } else { format!("...{}", shown(&rest)) }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

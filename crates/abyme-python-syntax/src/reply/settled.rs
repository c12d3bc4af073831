//! Whether a reply that is still being written may stop: whether nothing that could follow changes what runs.

use super::{
    chosen_block, harmony,
    layout::{Kind, layout},
    lead,
    lines::line_at,
    marks::strip_role,
    markup,
    strings::Strings,
};

/// Whether what follows cannot change which cell a reply holds, nor what a conversation keeps of it. Then the
/// rest of the generation can be saved: [`parse_reply`](super::parse_reply) would drop it.
///
/// That is so after the line that closes the first block of Python, and after a token of a chat template. It
/// is not where more text could still make something else of the block: within a string, in a thought or in
/// the markup of a call that is not closed, in a field of DSPy's format before the one named `code`. Forms
/// whose end is the reply's own (bare fences, JSON, Harmony, other markup) are never settled.
///
/// `may_be_thought`: whether all of the text may turn out to be a thought that began in the prompt, which a
/// closing tag tells only when it comes. Say `false` only of a model that is known not to do so.
///
/// It takes time linear in the length of the text.
///
/// ```
/// use abyme_python_syntax::is_settled;
///
/// assert!(is_settled("Look:\n```python\nprint(1)\n```\n", false));
/// assert!(!is_settled("Look:\n```python\nprint('''\n```\n", false));
/// ```
#[must_use]
pub fn is_settled(text: &str, may_be_thought: bool) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The last line may go on, and be another line then.
    let Some(end) = text.rfind('\n') else { return false };
    if harmony::begins(text) {
        return false;
    }
    let text = strip_role(&text[..=end]);
    let found = layout(text);
    let is_json = |text: &str| text.trim_start().starts_with(['{', '[', '"']);
    if found.is_open || is_json(text) {
        return false;
    }
    if let Some(end) = found.message_end {
        // Within a string or a comment it would be part of a program, and some tokens are Python.
        let line = text[..end].rfind('\n').map_or(0, |newline| newline + 1);
        let is_code = program(&text[..line]).is_some_and(|strings| strings.inside())
            || text[line..end].contains(['"', '\'', '#']);
        return text[end..].starts_with("<|") && !is_code;
    }
    if may_be_thought && !found.is_tagged {
        return false;
    }
    let Some(block) = chosen_block(text, &found).map(|index| &found.blocks[index]) else { return false };
    let after_thoughts = lead(text, &found.thoughts).min(block.outer.start);
    let before = &text[after_thoughts..block.outer.start];
    let is_field = match found.code_field {
        Some(start) => start <= block.outer.start,
        None => !found.has_marker_before(block.outer.start),
    };
    matches!(block.kind, Kind::Python { .. })
        && block.closed
        && block.is_final
        && is_field
        && !is_json(before)
        && !markup::begins(before)
        && program(&text[..block.outer.end]).is_none()
        && program(&text[after_thoughts..block.outer.end]).is_none()
}

/// The strings at the end of a text that could be the beginning of a Python program; `None` if it is none,
/// because backticks stand outside of strings and comments.
fn program(text: &str) -> Option<Strings> {
    let mut strings = Strings::default();
    let mut at = 0;
    while at < text.len() {
        let line = line_at(text, at);
        if strings.feed(line.text, 3).is_some() {
            return None;
        }
        at = line.next;
    }
    Some(strings)
}

/// Follows a reply as it comes, and says when the rest of it would be dropped.
#[derive(Debug, Default)]
pub struct ReplyWatch {
    text: String,
    may_be_thought: bool,
    /// How many bytes were looked at in all looks together. It bounds them to linear time.
    looked_at: usize,
}

impl ReplyWatch {
    /// For a reply of which nothing came yet. `may_be_thought` is that of [`is_settled`].
    #[must_use]
    pub fn new(may_be_thought: bool) -> Self {
        Self { may_be_thought, ..Self::default() }
    }

    /// Says that thoughts come apart from the text, so that none of it is one.
    pub fn thoughts_come_apart(&mut self) {
        self.may_be_thought = false;
    }

    /// Takes the next piece. Says whether the reply is settled, and all that follows may be dropped.
    pub fn push(&mut self, piece: &str) -> bool {
        let before = self.text.len();
        self.text.push_str(piece);
        // Only a line that ends can settle anything, and only one that holds a fence or a token does.
        let most = LOOKS * self.text.len() + (1 << 20);
        if !piece.contains('\n') || self.looked_at + self.text.len() > most {
            return false;
        }
        let line = self.text[..before].rfind('\n').map_or(0, |newline| newline + 1);
        if !["```", "<", "["].iter().any(|mark| self.text[line..].contains(mark)) {
            return false;
        }
        self.looked_at += self.text.len();
        is_settled(&self.text, self.may_be_thought)
    }

    /// The text so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// How often each byte of a long reply is looked at, at most.
const LOOKS: usize = 32;

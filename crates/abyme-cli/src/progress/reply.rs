//! A reply of a model that is shown line by line as it comes.

use abyme::trajectory::ReplyPart;

use super::{
    paint::{Ink, Paint},
    python::Highlighter,
};
use crate::terminal::escape;

/// Bytes of a line that may be seen of it while it is written: more than a terminal is wide.
const MAX_END_BYTES: usize = 4_000;

/// What of a reply in progress was shown as it came.
#[derive(Debug, Default)]
pub(crate) struct LiveReply {
    part: Option<ReplyPart>,
    /// The line that is not complete yet.
    line: String,
    /// Colours the block that the line is in.
    block: Option<Highlighter>,
}

/// How a reply looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReplyLook {
    /// As the model writes it.
    Plain,
    /// Blocks look like cells.
    Painted(Paint),
}

impl LiveReply {
    /// Whether anything was shown.
    pub(crate) fn has_begun(&self) -> bool {
        self.part.is_some()
    }

    /// The end of the line that is not complete yet: more of it is not seen, and it may be very long.
    pub(crate) fn end_of_line(&self) -> &str {
        &self.line[self.line.ceil_char_boundary(self.line.len().saturating_sub(MAX_END_BYTES))..]
    }

    /// Takes a piece. Gives the lines that are complete, ready for a terminal.
    pub(crate) fn push(&mut self, part: ReplyPart, piece: &str, look: ReplyLook) -> Vec<String> {
        let mut lines = Vec::new();
        if self.part.is_some_and(|before| before != part) {
            lines.extend(self.end(look));
        }
        self.part = Some(part);
        let mut rest = piece;
        while let Some((end, next)) = rest.split_once('\n') {
            self.line.push_str(end);
            let line = std::mem::take(&mut self.line);
            lines.extend(self.shown(line.trim_end(), look));
            rest = next;
        }
        self.line.push_str(rest);
        lines
    }

    /// Gives the last line.
    pub(crate) fn end(&mut self, look: ReplyLook) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if line.trim().is_empty() { None } else { self.shown(&line, look) }
    }

    /// Thoughts are marked. A line that opens or closes a block is not shown where blocks are marked.
    fn shown(&mut self, line: &str, look: ReplyLook) -> Option<String> {
        let is_thought = self.part == Some(ReplyPart::Reasoning);
        let paint = match look {
            ReplyLook::Plain if is_thought => return Some(format!("  ~ {}", escape(line))),
            ReplyLook::Plain => return Some(escape(line).into_owned()),
            ReplyLook::Painted(paint) => paint,
        };
        if is_thought {
            return Some(paint.ink(Ink::Faint, &format!("  ~ {line}")));
        }
        if line.trim_start().starts_with("```") {
            self.block = if self.block.is_some() { None } else { Some(Highlighter::new(paint)) };
            return None;
        }
        Some(match &mut self.block {
            Some(block) => format!("  │ {}", block.line(line)),
            None => escape(line).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_shown_in_lines_as_they_come() {
        let (mut live, look) = (LiveReply::default(), ReplyLook::Plain);
        assert!(live.push(ReplyPart::Reasoning, "Look ", look).is_empty());
        assert_eq!(live.push(ReplyPart::Reasoning, "first.\nThen", look), ["  ~ Look first."]);
        assert_eq!(live.push(ReplyPart::Text, "I print\r\nit.", look), ["  ~ Then", "I print"]);
        assert_eq!((live.end(look), live.end(look)), (Some("it.".to_owned()), None));
    }

    #[test]
    fn of_a_line_that_is_long_the_end_is_seen_and_all_of_it_shown() {
        let (mut live, look) = (LiveReply::default(), ReplyLook::Plain);
        for _ in 0..10_000 {
            assert!(live.push(ReplyPart::Text, "ä", look).is_empty());
        }
        assert_eq!(live.end_of_line(), "ä".repeat(MAX_END_BYTES / 2));
        assert_eq!(
            live.push(ReplyPart::Text, "!\n\nx", look),
            [format!("{}!", "ä".repeat(10_000)), String::new()]
        );
        assert_eq!(live.end_of_line(), "x");
    }

    #[test]
    fn a_block_looks_like_a_cell() {
        let (mut live, look) = (LiveReply::default(), ReplyLook::Painted(Paint::default()));
        let text = "I print\n```python\nx = '''\n```\ny\u{7}";
        assert_eq!(live.push(ReplyPart::Text, text, look), ["I print", "  │ x = '''"]);
        assert_eq!(live.end(look), Some("y\\u{7}".to_owned()));
        let mut live = LiveReply::default();
        let painted = live.push(ReplyPart::Text, "```\nif x:\n", ReplyLook::Painted(Paint::on()));
        assert_eq!(painted, ["  │ \x1b[35mif\x1b[0m x:"]);
    }
}

//! Where a fence ends, found by following Python's strings rather than by the first line that looks like an
//! end.

use std::ops::Range;

use super::{
    lines::{FenceOpening, FenceStyle, line_at},
    marks::{marker, message_end, next_tag},
    strings::{Strings, run_length},
};
use crate::parse;

/// Where a fence ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct FenceEnd {
    /// Where its content ends.
    pub(super) body: usize,
    /// Where reading goes on.
    pub(super) next: usize,
    /// Whether a closing line was there.
    pub(super) closed: bool,
    /// Whether it is the end whatever follows the text that was read.
    pub(super) is_final: bool,
}

/// Finds ends. Text that is read and then left to be read again is charged to a budget; once that is spent,
/// the first closing line ends a fence. So hostile replies take linear time too.
#[derive(Debug)]
pub(super) struct Search<'a> {
    text: &'a str,
    /// Whether thinking tags and markers mean anything.
    tags: bool,
    budget: usize,
}

/// What a fence says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Python,
    /// Python or anything else.
    Unknown,
}

/// What one pass over a fence's content met.
#[derive(Debug, Default)]
struct Pass {
    /// The first closing line, though it lies within a string.
    within_string: Option<FenceEnd>,
    /// A Python fence opens within a string, after that line.
    opens_after: bool,
    /// The first closing line outside of strings.
    outside: Option<FenceEnd>,
    /// Another fence opens before any closing line.
    cut_by_opening: Option<usize>,
    /// The first closing thinking tag or field marker on its own, outside of strings.
    soft: Option<usize>,
    /// How far the pass read.
    read_to: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(text: &'a str, tags: bool) -> Self {
        Self { text, tags, budget: (2 * text.len()).max(1 << 16) }
    }

    /// The end of a fence that says it holds Python.
    pub(super) fn python_end(&mut self, style: FenceStyle, from: usize) -> FenceEnd {
        let pass = self.pass(style, from, Content::Python);
        let end = self.choose(style, from, &pass, Content::Python);
        self.charge(&pass, end);
        end
    }

    /// The end of a fence that may hold Python: strings count only if the content then is valid.
    pub(super) fn bare_end(&mut self, style: FenceStyle, from: usize) -> FenceEnd {
        let pass = self.pass(style, from, Content::Unknown);
        let end = self.choose(style, from, &pass, Content::Unknown);
        self.charge(&pass, end);
        end
    }

    /// The end of a fence in another language: the first closing line.
    pub(super) fn plain_end(&self, style: FenceStyle, from: usize) -> FenceEnd {
        let mut at = from;
        while at < self.text.len() {
            let line = line_at(self.text, at);
            match style.set_off(line.text) {
                Some(text) if style.is_closed_by(text) => {
                    return FenceEnd { body: line.start, next: line.next, closed: true, is_final: true };
                }
                Some(_) => at = line.next,
                None => return FenceEnd { body: line.start, next: line.start, closed: true, is_final: true },
            }
        }
        self.unclosed(from)
    }

    /// Whether the first line with anything on it opens a Python fence.
    pub(super) fn wraps_python(&self, from: usize) -> bool {
        let rest = self.text[from..].trim_start_matches(['\r', '\n']);
        let line = line_at(rest, 0);
        FenceOpening::read(line.text).is_some_and(|opening| opening.is_python())
    }

    /// The content of an unfenced `code` field: up to the next marker outside of strings. `None` where it is
    /// fenced.
    pub(super) fn field(&mut self, from: usize) -> Option<Range<usize>> {
        let content = self.text[from..].trim_start();
        let first = line_at(content, 0);
        if content.is_empty() || FenceOpening::read(first.text).is_some() {
            return None;
        }
        let mut strings = Strings::default();
        let mut within_string = None;
        let mut at = from;
        while at < self.text.len() {
            let line = line_at(self.text, at);
            if marker(line.text).is_some() {
                if !strings.inside() {
                    break;
                }
                within_string = within_string.or(Some(line.start));
            }
            strings.feed(line.text, usize::MAX);
            at = line.next;
        }
        let unterminated = strings.inside() && at >= self.text.len();
        let body = from..if unterminated { within_string.unwrap_or(at) } else { at };
        let content = &self.text[body.clone()];
        (!content.contains("```") || parse::is_valid(content.trim())).then_some(body)
    }

    fn pass(&self, style: FenceStyle, from: usize, holds: Content) -> Pass {
        let python = holds == Content::Python;
        let ticks = if python && style.mark == b'`' { style.run } else { usize::MAX };
        let mut pass = Pass::default();
        let mut strings = Strings::default();
        let mut at = from;
        while at < self.text.len() {
            let line = line_at(self.text, at);
            pass.read_to = line.next;
            let Some(content) = style.set_off(line.text) else {
                pass.outside =
                    Some(FenceEnd { body: line.start, next: line.start, closed: true, is_final: true });
                break;
            };
            let end = FenceEnd { body: line.start, next: line.next, closed: true, is_final: true };
            let (inside, closes) = (strings.inside(), style.is_closed_by(content));
            if closes && !inside {
                pass.outside = Some(end);
                break;
            }
            if closes && pass.within_string.is_none() {
                pass.within_string = Some(end);
                if self.budget == 0 {
                    break;
                }
            }
            let opening = FenceOpening::read(content).filter(|it| it.style.interrupts(style) && !it.one_line);
            let opens_python = opening.is_some_and(|it| it.is_python());
            let opens = opens_python || (python && opening.is_some_and(|it| !it.is_bare()));
            if opens && (!inside || self.budget == 0) {
                pass.cut_by_opening = Some(line.start);
                break;
            }
            if self.tags
                && !inside
                && let Some(offset) = end_in_code(&strings, content)
            {
                // The rest is what the model made up after its own message.
                let body = line.start + (line.text.len() - content.len()) + offset;
                pass.outside = Some(FenceEnd { body, next: body, closed: false, is_final: false });
                break;
            }
            pass.opens_after |= opens_python && pass.within_string.is_some();
            if !inside && pass.soft.is_none() && self.is_soft_end(content) {
                pass.soft = Some(line.start);
            }
            if let Some(offset) = strings.feed(content, ticks) {
                let body = line.start + (line.text.len() - content.len()) + offset;
                let next = body + run_length(&self.text.as_bytes()[body..]);
                let next = if self.text[next..line.next].trim().is_empty() { line.next } else { next };
                pass.outside = Some(FenceEnd { body, next, closed: true, is_final: true });
                break;
            }
            at = line.next;
        }
        pass
    }

    fn choose(&self, style: FenceStyle, from: usize, pass: &Pass, holds: Content) -> FenceEnd {
        let valid = |end: FenceEnd| parse::is_valid(&style.code(self.text, from..end.body));
        match (pass.within_string, pass.outside) {
            (None, Some(end)) => end,
            (Some(first), None) => FenceEnd { is_final: false, ..first },
            (Some(first), Some(end)) => {
                if !valid(first) && (valid(end) || (holds == Content::Python && !pass.opens_after)) {
                    end
                } else {
                    first
                }
            }
            (None, None) => match (pass.soft, pass.cut_by_opening) {
                (Some(at), _) | (None, Some(at)) => {
                    FenceEnd { body: at, next: at, closed: false, is_final: false }
                }
                (None, None) => self.unclosed(from),
            },
        }
    }

    fn charge(&mut self, pass: &Pass, end: FenceEnd) {
        // Choosing between two ends parses no more than what was read again or is behind us.
        self.budget = self.budget.saturating_sub(pass.read_to.saturating_sub(end.next));
    }

    /// The rest of the reply, without a last line of too few ticks, which was meant to close it.
    fn unclosed(&self, from: usize) -> FenceEnd {
        let rest = self.text[from..].trim_end();
        let last = rest.rfind('\n').map_or(0, |newline| newline + 1);
        let line = rest[last..].trim();
        let almost = line.len() >= 3 && (line.bytes().all(|b| b == b'`') || line.bytes().all(|b| b == b'~'));
        let body = if almost { from + last } else { self.text.len() };
        FenceEnd { body, next: self.text.len(), closed: almost, is_final: false }
    }

    fn is_soft_end(&self, line: &str) -> bool {
        if !self.tags {
            return false;
        }
        let line = line.trim();
        marker(line).is_some()
            || (line.starts_with("</")
                && next_tag(line, 0, line.len()).is_some_and(|tag| tag.closing && tag.start == 0))
    }
}

/// Where a chat template's token ends a line of code, neither in a string nor in a comment.
fn end_in_code(strings: &Strings, line: &str) -> Option<usize> {
    let start = message_end(line)?;
    let before = &line[..start];
    let mut strings = strings.clone();
    // A string that is not closed on its line still counts here: `feed` would end it.
    strings.feed(&format!("{before}\\"), usize::MAX);
    (!strings.inside() && !before.contains('#')).then_some(start)
}

/// Code on the opening line: all of a one-line block, or what cannot be an attribute, such as `print(1)`
/// after the tag.
pub(super) fn head<'a>(opening: &FenceOpening<'a>) -> &'a str {
    let rest = opening.rest;
    let could_be_code = || rest.contains('(') || rest.contains(" = ") || rest.starts_with("import ");
    if opening.one_line || (could_be_code() && parse::is_program(rest)) { rest } else { "" }
}

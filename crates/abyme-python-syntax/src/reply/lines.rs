//! Lines of a reply, and the ones that open or close a fence.

use std::ops::Range;

use super::strings::run_length;

/// One line: `text` without its newline, at `start`, the next one starting at `next`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
    pub(super) next: usize,
}

/// The line of `text` that starts at `start`.
pub(super) fn line_at(text: &str, start: usize) -> Line<'_> {
    let rest = &text[start..];
    let (line, next) = match rest.find('\n') {
        Some(end) => (&rest[..end], start + end + 1),
        None => (rest, text.len()),
    };
    Line { text: line.strip_suffix('\r').unwrap_or(line), start, next }
}

/// The character and length of a fence's ticks or tildes, and what its lines are set off by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FenceStyle {
    pub(super) mark: u8,
    pub(super) run: usize,
    indent: usize,
    quoted: bool,
}

/// The line that opens a fence.
#[derive(Clone, Copy, Debug)]
pub(super) struct FenceOpening<'a> {
    pub(super) style: FenceStyle,
    /// Where the run of ticks starts within the line.
    pub(super) at: usize,
    /// Lower-case comparisons only: as the model wrote it.
    pub(super) tag: &'a str,
    /// What follows the tag: attributes, or code.
    pub(super) rest: &'a str,
    /// The whole block is this one line; `rest` is its code.
    pub(super) one_line: bool,
}

impl<'a> FenceOpening<'a> {
    /// Reads `line` as the opening of a fence, which may be indented, in a list item or in a quotation.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let (at, indent, quoted) = prefix(line);
        Self::read_at(line, at, indent, quoted)
    }

    /// Reads the end of a line of prose, `Here it is: ```python`, as an opening. Only a Python tag counts
    /// there.
    pub(super) fn read_after_prose(line: &'a str) -> Option<Self> {
        let at = line.find('`')?;
        Self::read_at(line, at, 0, false).filter(|it| it.is_python() && it.rest.is_empty() && !it.one_line)
    }

    fn read_at(line: &'a str, at: usize, indent: usize, quoted: bool) -> Option<Self> {
        let from = &line[at..];
        let mark = *from.as_bytes().first()?;
        let run = run_length(from.as_bytes());
        if !matches!(mark, b'`' | b'~') || run < 3 || from.len() - run > LONGEST_INFO {
            return None;
        }
        let style = FenceStyle { mark, run, indent, quoted };
        let mut info = from[run..].trim();
        let mut one_line = false;
        if mark == b'`' && info.contains('`') {
            let ticks = info.len() - info.trim_end_matches('`').len();
            if ticks < run {
                return None;
            }
            info = &info[..info.len() - ticks];
            one_line = true;
        }
        let (tag, rest) = split_info(info);
        // A word followed by other things on one line is code in a bare fence: "```x = 1```".
        let (tag, rest) = if one_line && !is_python_tag(tag) { ("", info.trim()) } else { (tag, rest) };
        Some(Self { style, at, tag, rest, one_line })
    }

    pub(super) fn is_python(&self) -> bool {
        is_python_tag(self.tag)
    }

    pub(super) fn is_bare(&self) -> bool {
        self.tag.is_empty()
    }

    /// Tags that models wrap a whole reply in, with the real fence inside.
    pub(super) fn is_wrapper(&self) -> bool {
        ["", "markdown", "md", "text", "plaintext"].iter().any(|tag| self.tag.eq_ignore_ascii_case(tag))
    }
}

impl FenceStyle {
    /// Whether `line`, set off already, closes the fence.
    pub(super) fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.run && line.bytes().all(|byte| byte == self.mark)
    }

    /// Whether the opening line of a fence of this style ends an open fence of style `outer`, were it not
    /// closed. With tildes it may be an expression, with fewer ticks it may be content.
    pub(super) fn interrupts(&self, outer: FenceStyle) -> bool {
        self.mark == b'`' && outer.mark == b'`' && self.run >= outer.run
    }

    /// `line` without the fence's indentation or quotation mark; `None` where a quotation has ended.
    pub(super) fn set_off<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut line = line;
        if self.quoted {
            line = line.trim_start().strip_prefix('>')?;
            line = line.strip_prefix(' ').unwrap_or(line);
        }
        let blank = line.bytes().take(self.indent).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        Some(&line[blank..])
    }

    /// The code in `range` of `text`: set off, with LF newlines and without the last one.
    pub(super) fn code(&self, text: &str, range: Range<usize>) -> String {
        let body = &text[range];
        let body = body.strip_suffix('\n').unwrap_or(body);
        let mut code = String::with_capacity(body.len());
        for (index, line) in body.split('\n').enumerate() {
            if index > 0 {
                code.push('\n');
            }
            let line = line.strip_suffix('\r').unwrap_or(line);
            code.push_str(self.set_off(line).unwrap_or(line));
        }
        code
    }
}

/// Whether a tag names Python.
pub(super) fn is_python_tag(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    let versioned = ["python", "py"].iter().any(|name| {
        tag.strip_prefix(name)
            .is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    });
    versioned || matches!(tag.as_str(), "ipython" | "ipython3" | "repl" | "tool_code")
}

/// Splits an info string into its tag and the rest: `python title=a`, `{.python}`, `python:main.py`.
fn split_info(info: &str) -> (&str, &str) {
    let named = info.trim_start_matches(['{', '.']);
    let end = named
        .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '#' | '.')))
        .unwrap_or(named.len());
    (named[..end].trim_end_matches('.'), named[end..].trim())
}

/// Where the content of a line starts, how wide its indentation is, and whether it is quoted.
fn prefix(line: &str) -> (usize, usize, bool) {
    let mut at = blanks(line);
    let mut indent = at;
    let quoted = line[at..].starts_with('>');
    if quoted {
        at += 1;
        at += usize::from(line[at..].starts_with(' '));
        indent = blanks(&line[at..]);
        at += indent;
    }
    let marker = list_marker(&line.as_bytes()[at..]);
    (at + marker, indent + marker, quoted)
}

fn blanks(line: &str) -> usize {
    line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Width of `- `, `* `, `+ `, `1. ` or `1) `.
fn list_marker(bytes: &[u8]) -> usize {
    let digits = bytes.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    let mark = match (digits, bytes.get(digits)) {
        (0, Some(b'-' | b'*' | b'+')) => 1,
        (1.., Some(b'.' | b')')) => digits + 1,
        _ => return 0,
    };
    match bytes[mark..].iter().take_while(|byte| **byte == b' ').count() {
        0 => 0,
        spaces => mark + spaces,
    }
}

/// Longer ones are prose. It bounds how often one long line is looked at.
const LONGEST_INFO: usize = 4096;

//! Whether a position in Python source lies inside a string literal: line by line, in one pass, over broken
//! code too.

/// Follows string literals and comments through Python source that is fed line by line.
///
/// It knows prefixes, triple quotes, escapes, comments, and f-strings with their nested expressions and
/// format specifications (PEP 701). An unterminated single-quoted string ends with its line, so that one
/// stray apostrophe does not swallow the rest of a reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    stack: Vec<Frame>,
}

#[derive(Clone, Copy, Debug)]
enum Frame {
    /// Inside the quotes of a literal.
    Literal { quote: u8, triple: bool, formatted: bool },
    /// Inside the braces of an f-string: code again.
    Expression { brackets: u32 },
    /// After the colon of an f-string expression: text again.
    Specification,
}

impl Strings {
    /// Whether the next character belongs to a string's text.
    pub(super) fn inside(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Literal { .. } | Frame::Specification))
    }

    /// Reads one line without its newline. Answers where the first run of at least `ticks` backticks starts
    /// that is neither in a string nor in a comment: no Python 3 program has one, so a fence ends there.
    /// Nothing after it is read.
    pub(super) fn feed(&mut self, line: &str, ticks: usize) -> Option<usize> {
        let bytes = line.as_bytes();
        let mut at = 0;
        let mut continued = false;
        while let Some(&byte) = bytes.get(at) {
            at += match self.stack.last().copied() {
                Some(Frame::Literal { quote, triple, formatted }) => {
                    continued = byte == b'\\' && at + 1 == bytes.len();
                    self.literal(&bytes[at..], quote, triple, formatted)
                }
                Some(Frame::Specification) => {
                    self.specification(byte);
                    1
                }
                Some(Frame::Expression { .. }) | None => {
                    if byte == b'#' {
                        break;
                    }
                    if byte == b'`' {
                        let run = run_length(&bytes[at..]);
                        if run >= ticks {
                            return Some(at);
                        }
                        run
                    } else {
                        self.code(bytes, at)
                    }
                }
            };
        }
        if !continued {
            self.end_line();
        }
        None
    }

    fn literal(&mut self, rest: &[u8], quote: u8, triple: bool, formatted: bool) -> usize {
        match rest[0] {
            b'\\' => match rest.get(1) {
                Some(b'{' | b'}') if formatted => 1,
                // Only ASCII is stepped over as a pair: the tail of a wider character is no delimiter anyway.
                _ => 2,
            },
            byte if byte == quote => {
                if !triple {
                    self.stack.pop();
                    1
                } else if rest.len() >= 3 && rest[1] == quote && rest[2] == quote {
                    self.stack.pop();
                    3
                } else {
                    1
                }
            }
            b'{' if formatted => {
                if rest.get(1) == Some(&b'{') {
                    return 2;
                }
                self.stack.push(Frame::Expression { brackets: 0 });
                1
            }
            _ => 1,
        }
    }

    fn specification(&mut self, byte: u8) {
        match byte {
            b'{' => self.stack.push(Frame::Expression { brackets: 0 }),
            b'}' => {
                self.stack.pop();
                self.stack.pop();
            }
            b'"' | b'\'' => {
                // The quote that opened the f-string ends it even though a brace is missing.
                let below = self.stack.len().saturating_sub(3);
                if let Some(Frame::Literal { quote, triple: false, .. }) = self.stack.get(below)
                    && *quote == byte
                {
                    self.stack.truncate(below);
                }
            }
            _ => {}
        }
    }

    fn code(&mut self, bytes: &[u8], at: usize) -> usize {
        let byte = bytes[at];
        match byte {
            b'"' | b'\'' => {
                let triple = bytes.len() >= at + 3 && bytes[at + 1] == byte && bytes[at + 2] == byte;
                let formatted = has_format_prefix(&bytes[..at]);
                self.stack.push(Frame::Literal { quote: byte, triple, formatted });
                return if triple { 3 } else { 1 };
            }
            _ => {}
        }
        if let Some(Frame::Expression { brackets }) = self.stack.last_mut() {
            match byte {
                b'(' | b'[' | b'{' => *brackets += 1,
                b')' | b']' => *brackets = brackets.saturating_sub(1),
                b'}' if *brackets > 0 => *brackets -= 1,
                b'}' => {
                    self.stack.pop();
                }
                b':' if *brackets == 0 => self.stack.push(Frame::Specification),
                _ => {}
            }
        }
        1
    }

    /// A newline ends what may not span lines: single-quoted text, and the specification of a single-quoted
    /// f-string.
    fn end_line(&mut self) {
        while let Some(frame) = self.stack.last() {
            let spans = match frame {
                Frame::Literal { triple, .. } => *triple,
                Frame::Expression { .. } => true,
                Frame::Specification => {
                    let below = self.stack.len().saturating_sub(3);
                    matches!(self.stack.get(below), Some(Frame::Literal { triple: true, .. }))
                }
            };
            if spans {
                return;
            }
            let keep = self.stack.len()
                - if matches!(frame, Frame::Specification) { 3.min(self.stack.len()) } else { 1 };
            self.stack.truncate(keep);
        }
    }
}

/// Length of the run of equal bytes that `bytes` starts with.
pub(super) fn run_length(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(first) => bytes.iter().take_while(|byte| *byte == first).count(),
        None => 0,
    }
}

fn has_format_prefix(before: &[u8]) -> bool {
    let letters = before.iter().rev().take(3).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (head, prefix) = before.split_at(before.len() - letters);
    let joined =
        head.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii());
    letters <= 2
        && !joined
        && prefix.iter().all(|byte| matches!(byte, b'f' | b'F' | b't' | b'T' | b'r' | b'R'))
        && prefix.iter().any(|byte| matches!(byte, b'f' | b'F' | b't' | b'T'))
}

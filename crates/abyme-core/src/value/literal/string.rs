//! Text in quotes, with the escapes of JSON or of Python.

use super::{Dialect, Problem, Reader, Result};

impl Reader<'_> {
    /// The text in the quotes that come next.
    pub(crate) fn string(&mut self) -> Result<String> {
        let start = self.at;
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => return self.fail("expected a text in quotes"),
        };
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().position(|byte| byte == quote || byte == b'\\' || byte < b' ');
            let Some(plain) = plain else {
                return Err(Problem { at: start, message: "a text that does not end".into() });
            };
            text.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'\\') => text.push(self.escape()?),
                Some(byte) if byte == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(byte) if self.dialect == Dialect::Python && byte != b'\n' && byte != b'\r' => {
                    self.at += 1;
                    text.push(byte.into());
                }
                _ => return self.fail("a line break or control character inside a text; escape it"),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let start = self.at;
        self.at += 1;
        let letter = self.peek().unwrap_or_default();
        self.at += usize::from(letter.is_ascii() && letter != 0);
        let python = self.dialect == Dialect::Python;
        let char = match letter {
            b'"' | b'\\' => letter.into(),
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'/' if !python => '/',
            b'\'' if python => '\'',
            b'a' if python => '\u{7}',
            b'v' if python => '\u{b}',
            b'x' if python => self.code(start, 2)?,
            b'U' if python => self.code(start, 8)?,
            b'u' => self.code(start, 4)?,
            _ => return Err(Problem { at: start, message: "unknown escape in a text".into() }),
        };
        Ok(char)
    }

    /// The character with the code in the next hex digits. JSON writes one beyond 16 bits as a pair of
    /// surrogates; half of a pair, which Python's `json` writes too, becomes `?`, as everywhere in Abyme.
    fn code(&mut self, start: usize, digits: usize) -> Result<char> {
        let problem = |message: &str| Problem { at: start, message: message.to_owned() };
        let code = self.hex(digits).ok_or_else(|| problem("an escape needs more hex digits"))?;
        let is_json = self.dialect == Dialect::Json;
        if is_json && (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with("\\u") {
            let after_first = self.at;
            self.at += 2;
            let low = self.hex(4).ok_or_else(|| problem("an escape needs more hex digits"))?;
            let whole =
                (0xdc00..0xe000).contains(&low).then(|| 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00));
            if let Some(char) = whole.and_then(char::from_u32) {
                return Ok(char);
            }
            // The second escape is a character of its own.
            self.at = after_first;
        }
        match char::from_u32(code) {
            Some(char) => Ok(char),
            None if is_json => Ok('?'),
            None => Err(problem("an escape that is no character (half of a surrogate pair?)")),
        }
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text = self.text.get(self.at..self.at + digits)?;
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += digits;
        u32::from_str_radix(text, 16).ok()
    }
}

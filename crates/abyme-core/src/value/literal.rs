//! Reads values from text: JSON as Python's `json` takes it, and the literals that Python's `repr` prints.
//!
//! `serde_json` is not used for this because it rounds integers beyond 64 bits and refuses `NaN`. (Its
//! `arbitrary_precision` would change every `serde_json::Number` of the whole program.)

use indexmap::IndexMap;

use super::Value;

mod string;
#[cfg(test)]
mod tests;

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// JSON, with `NaN`, `Infinity` and `-Infinity`, as Python's `json.loads` takes it.
    Json,
    /// What Python's `repr` prints for lists, tuples, dicts, numbers, texts, `None`, `True` and `False`.
    Python,
}

impl Value {
    /// Reads a literal of Python, as `repr` prints it.
    pub(crate) fn parse_literal(text: &str) -> Option<Value> {
        Reader::new(text, 0, Dialect::Python).only_value().ok()
    }
}

/// What is wrong, and the byte offset of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) at: usize,
    pub(crate) message: String,
}

type Result<T> = std::result::Result<T, Problem>;

/// A recursive reader with a limit on depth.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    dialect: Dialect,
}

impl<'a> Reader<'a> {
    /// Starts reading `text` at byte `at`, which is a character boundary.
    pub(crate) fn new(text: &'a str, at: usize, dialect: Dialect) -> Self {
        Self { text, at, depth: 0, dialect }
    }

    /// The byte offset of what comes next.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The one value that the text consists of.
    pub(crate) fn only_value(mut self) -> Result<Value> {
        let value = self.value()?;
        self.skip_space();
        match self.peek() {
            None => Ok(value),
            Some(_) => self.fail("unexpected text after the value"),
        }
    }

    /// The next value, whatever follows it.
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.skip_space();
        let python = self.dialect == Dialect::Python;
        match self.peek() {
            Some(b'{') => self.nested(Self::dict),
            Some(b'[') => self.nested(|reader| reader.items(b']').map(|(items, _)| Value::List(items))),
            Some(b'(') if python => self.nested(Self::parenthesis),
            Some(b'"') => self.string().map(Value::from),
            Some(b'\'') if python => self.string().map(Value::from),
            Some(b'0'..=b'9' | b'-') => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() => self.word(),
            Some(b'\'') => self.fail("expected a value; JSON texts have double quotes"),
            Some(_) => self.fail("expected a value"),
            None => self.fail("expected a value, found the end"),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value>) -> Result<Value> {
        if self.depth == Value::MAX_LEVELS {
            return self.fail("nested too deeply");
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        // Some dicts take more than one level.
        if self.depth == 0 && value.has_more_levels_than(Value::MAX_LEVELS) {
            return self.fail("nested too deeply");
        }
        Ok(value)
    }

    /// Items up to `end`, and whether a comma came after the last one.
    fn items(&mut self, end: u8) -> Result<(Vec<Value>, bool)> {
        let mut items = Vec::new();
        let mut comma = false;
        while !self.ends(end, items.is_empty(), comma)? {
            items.push(self.value()?);
            comma = self.comma_or(end)?;
        }
        Ok((items, comma))
    }

    /// `()`, `(1,)` and `(1, 2)` are tuples; `(1)` is a number in parentheses.
    fn parenthesis(&mut self) -> Result<Value> {
        let (mut items, comma) = self.items(b')')?;
        if items.len() == 1 && !comma { Ok(items.swap_remove(0)) } else { Ok(Value::List(items)) }
    }

    fn dict(&mut self) -> Result<Value> {
        let mut entries = IndexMap::new();
        let mut comma = false;
        while !self.ends(b'}', entries.is_empty(), comma)? {
            let key = self.key()?;
            self.skip_space();
            if !self.take(b':') {
                return self.fail("expected `:` after the key");
            }
            let value = self.value()?;
            entries.insert(key, value);
            comma = self.comma_or(b'}')?;
        }
        Ok(Value::Dict(entries))
    }

    /// Keys are text. Other simple keys of Python become what `str` makes of them, as they do in a session.
    fn key(&mut self) -> Result<String> {
        let start = self.at;
        match (self.peek(), self.dialect) {
            (Some(b'"'), _) | (Some(b'\''), Dialect::Python) => self.string(),
            (_, Dialect::Json) => self.fail("expected a key in double quotes"),
            (_, Dialect::Python) => match self.value()? {
                Value::Text(text) => Ok(text.into()),
                Value::List(_) | Value::Dict(_) => {
                    Err(Problem { at: start, message: "unusable as a key".into() })
                }
                simple => Ok(simple.repr(usize::MAX)),
            },
        }
    }

    /// Takes `end` where it may stand: at once, or after an item; after a comma in Python only.
    fn ends(&mut self, end: u8, empty: bool, comma: bool) -> Result<bool> {
        self.skip_space();
        if !empty && !comma {
            return Ok(true); // `comma_or` has taken it
        }
        if self.peek() != Some(end) {
            return Ok(false);
        }
        if comma && self.dialect == Dialect::Json {
            return self.fail("JSON has no comma after the last item");
        }
        self.at += 1;
        Ok(true)
    }

    fn comma_or(&mut self, end: u8) -> Result<bool> {
        self.skip_space();
        if self.take(b',') {
            Ok(true)
        } else if self.take(end) {
            Ok(false)
        } else {
            self.fail(&format!("expected `,` or `{}`", char::from(end)))
        }
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        self.take(b'-');
        if self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return match self.word()? {
                Value::Float(value) => Ok(Value::Float(-value)),
                _ => Err(Problem { at: start, message: "expected a number".into() }),
            };
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        let mut float = false;
        if self.take(b'.') {
            float = true;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            float = true;
            let _ = self.take(b'-') || self.take(b'+');
            self.digits()?;
        }
        if self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            return self.fail("not a number");
        }
        let text = &self.text[start..self.at];
        let number = if float { text.parse().ok().map(Value::Float) } else { Value::int_from_decimal(text) };
        number.ok_or_else(|| Problem { at: start, message: "not a number".into() })
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fail("expected a digit") } else { Ok(()) }
    }

    fn word(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let value = match (&rest[..end], self.dialect) {
            ("null", Dialect::Json) | ("None", Dialect::Python) => Value::None,
            ("true", Dialect::Json) | ("True", Dialect::Python) => Value::Bool(true),
            ("false", Dialect::Json) | ("False", Dialect::Python) => Value::Bool(false),
            ("NaN", Dialect::Json) | ("nan", Dialect::Python) => Value::Float(f64::NAN),
            ("Infinity", Dialect::Json) | ("inf", Dialect::Python) => Value::Float(f64::INFINITY),
            ("None" | "True" | "False", Dialect::Json) => {
                return self.fail("expected a value; JSON writes null, true, false");
            }
            _ => return self.fail("expected a value"),
        };
        self.at += end;
        Ok(value)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn fail<T>(&self, message: &str) -> Result<T> {
        Err(Problem { at: self.at, message: message.to_owned() })
    }
}

//! Python's `repr`, cut to a length, for messages that a person or a model reads.

use std::fmt::{self, Write};

use super::Value;

#[cfg(test)]
mod tests;

impl Value {
    /// What Python's `repr` would print, in at most `max_chars` characters; what is cut ends in `...`.
    ///
    /// Only as much of the value as fits is looked at, however large it is.
    pub fn repr(&self, max_chars: usize) -> String {
        bounded(max_chars, |out| write_value(out, self))
    }
}

/// What Python's `repr` would print for a `str`, in at most `max_chars` characters.
pub(crate) fn text_repr(text: &str, max_chars: usize) -> String {
    bounded(max_chars, |out| write_text(out, text))
}

/// What Python's `repr` prints for a `float`: the shortest digits that read back as the same number, with an
/// exponent below 1e-4 and from 1e16.
pub(crate) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => {
            let plain = value.to_string();
            if plain.contains('.') { plain } else { plain + ".0" }
        }
    }
}

/// A `String` that takes a limited number of characters and then refuses, which ends the walk over the value.
struct Bounded {
    text: String,
    room: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(char);
        }
        Ok(())
    }
}

fn bounded(max_chars: usize, write: impl FnOnce(&mut Bounded) -> fmt::Result) -> String {
    let mut out = Bounded { text: String::new(), room: max_chars };
    if write(&mut out).is_err() {
        let dots = max_chars.min(3);
        let keep = out.text.char_indices().nth(max_chars - dots).map_or(out.text.len(), |(at, _)| at);
        out.text.truncate(keep);
        out.text.extend(std::iter::repeat_n('.', dots));
    }
    out.text
}

fn write_value(out: &mut Bounded, value: &Value) -> fmt::Result {
    match value {
        Value::None => out.write_str("None"),
        Value::Bool(true) => out.write_str("True"),
        Value::Bool(false) => out.write_str("False"),
        Value::Int(value) => write!(out, "{value}"),
        Value::BigInt(digits) => out.write_str(digits),
        Value::Float(value) => out.write_str(&float_repr(*value)),
        Value::Text(text) => write_text(out, text),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::List(items) => {
            out.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                out.write_str(if index == 0 { "" } else { ", " })?;
                write_value(out, item)?;
            }
            out.write_char(']')
        }
        Value::Dict(entries) => {
            out.write_char('{')?;
            for (index, (key, value)) in entries.iter().enumerate() {
                out.write_str(if index == 0 { "" } else { ", " })?;
                write_text(out, key)?;
                out.write_str(": ")?;
                write_value(out, value)?;
            }
            out.write_char('}')
        }
    }
}

/// Single quotes, unless that would need escapes and double quotes would not.
fn quote_for(seen: impl Iterator<Item = char>) -> char {
    let (mut single, mut double) = (false, false);
    for char in seen {
        single |= char == '\'';
        double |= char == '"';
    }
    if single && !double { '"' } else { '\'' }
}

fn write_text(out: &mut Bounded, text: &str) -> fmt::Result {
    // What does not fit will not be seen, so it need not decide the quotes either.
    let quote = quote_for(text.chars().take(out.room));
    out.write_char(quote)?;
    for char in text.chars() {
        match char {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            _ if char == quote => write!(out, "\\{char}")?,
            _ if is_printable(char) => out.write_char(char)?,
            _ => match u32::from(char) {
                code @ ..=0xff => write!(out, "\\x{code:02x}")?,
                code @ ..=0xffff => write!(out, "\\u{code:04x}")?,
                code => write!(out, "\\U{code:08x}")?,
            },
        }
    }
    out.write_char(quote)
}

/// Python's `str.isprintable` but for unassigned and rare format characters, which would need Unicode's
/// tables.
fn is_printable(char: char) -> bool {
    match char {
        ' ' => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => false,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => false,
        '\u{f0000}'.. => false,
        _ => !char.is_control() && !char.is_whitespace(),
    }
}

fn write_bytes(out: &mut Bounded, bytes: &[u8]) -> fmt::Result {
    let quote = quote_for(bytes.iter().take(out.room).copied().map(char::from));
    write!(out, "b{quote}")?;
    for &byte in bytes {
        match byte {
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            b'\\' => out.write_str("\\\\")?,
            _ if char::from(byte) == quote => write!(out, "\\{quote}")?,
            b' '..=b'~' => out.write_char(byte.into())?,
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    out.write_char(quote)
}

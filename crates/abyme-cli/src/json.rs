//! Values as plain JSON, on one line. Nothing of the tagged form that `serde` writes for a [`Value`] shows
//! here.

use std::fmt::Write;

use abyme::Value;

use crate::terminal::steers;

/// How numbers are written that JSON lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NonFinite {
    /// `NaN`, `Infinity`, `-Infinity`, as Python's `json` writes and reads them.
    Python,
    /// The same words as texts, so that any JSON reader takes them.
    Text,
}

/// Writes a value. An `int` of any size is written as its digits, bytes as base64 text.
pub(crate) fn write(out: &mut String, value: &Value, non_finite: NonFinite) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => push(out, format_args!("{number}")),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(number) if number.is_finite() => push(out, format_args!("{number:?}")),
        Value::Float(number) => {
            let name = match number {
                _ if number.is_nan() => "NaN",
                _ if *number > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            match non_finite {
                NonFinite::Python => out.push_str(name),
                NonFinite::Text => write_text(out, name),
            }
        }
        Value::Text(text) => write_text(out, text),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(out, item, non_finite);
            }
            out.push(']');
        }
        Value::Dict(entries) => {
            out.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_text(out, key);
                out.push_str(": ");
                write(out, item, non_finite);
            }
            out.push('}');
        }
        // Bytes, and whatever a later version adds.
        other => push(out, format_args!("{}", other.to_json())),
    }
}

/// A value as JSON that Python's `json` reads.
pub(crate) fn python(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, NonFinite::Python);
    out
}

/// A value as JSON that any reader takes.
pub(crate) fn strict(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, NonFinite::Text);
    out
}

/// Writes a text. What ends a line for some readers, or steers a terminal, is escaped.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let (mut done, mut at) = (0, 0);
    // Most of a long text is passed over byte by byte.
    while let Some(plain) = text.as_bytes()[at..].iter().position(|byte| !is_plain(*byte)) {
        at += plain;
        let Some(char) = text[at..].chars().next() else { break };
        let begin = at;
        at += char.len_utf8();
        if !(matches!(char, '"' | '\\') || steers(char)) {
            continue;
        }
        out.push_str(&text[done..begin]);
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Outside of the basic plane it takes two.
            _ => char
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| push(out, format_args!("\\u{unit:04x}"))),
        }
        done = at;
    }
    out.push_str(&text[done..]);
    out.push('"');
}

/// Whether a byte is a character that is written as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_lacks_is_written_as_python_reads_it() {
        let value =
            Value::list([Value::from(u64::MAX), f64::NAN.into(), f64::NEG_INFINITY.into(), 1.0.into()]);
        assert_eq!(python(&value), "[18446744073709551615, NaN, -Infinity, 1.0]");
        assert_eq!(strict(&value), r#"[18446744073709551615, "NaN", "-Infinity", 1.0]"#);
        assert_eq!(python(&Value::Bytes(b"ab"[..].into())), r#""YWI=""#);
        assert_eq!(python(&Value::dict([("$int", 1)])), r#"{"$int": 1}"#);
    }

    #[test]
    fn text_is_escaped_and_read_back() {
        let text = "a\"b\\\n\u{1b}\u{2028}\u{85}é👩\u{e0041}";
        let written = python(&text.into());
        assert_eq!(written, r#""a\"b\\\n\u001b\u2028\u0085é👩\udb40\udc41""#);
        assert_eq!(Value::parse_json(&written).unwrap(), text.into());
    }
}

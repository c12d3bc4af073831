//! Plain JSON, in and out.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Dialect, Reader, Value, literal::Problem};
use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

impl Value {
    /// Plain JSON for people and for programs that know nothing of [`Value`].
    ///
    /// Lossy where JSON lacks something: NaN and the infinities become the texts `"NaN"`, `"Infinity"` and
    /// `"-Infinity"`, an `int` outside 64 bits becomes a text of its digits, and bytes become base64 text.
    /// What `serde` writes for a `Value` loses nothing.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::None => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::BigInt(digits) => {
                digits.parse::<u64>().map_or_else(|_| digits.as_str().into(), Into::into)
            }
            Value::Float(value) if value.is_nan() => "NaN".into(),
            Value::Float(f64::INFINITY) => "Infinity".into(),
            Value::Float(f64::NEG_INFINITY) => "-Infinity".into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Dict(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
            ),
        }
    }

    /// Reads JSON the way Python's `json.loads` does: integers of any size stay exact, `1.0` stays a float,
    /// `NaN`, `Infinity` and `-Infinity` are accepted, a number too large for a float is an infinity, and of
    /// equal keys the last wins. A byte order mark at the start is skipped. Half of a surrogate pair in an
    /// escape, which Rust cannot hold, becomes `?`.
    ///
    /// ```
    /// use abyme_core::Value;
    ///
    /// let value = Value::parse_json("[12345678901234567890123, 1.0, NaN]")?;
    /// assert_eq!(value.repr(80), "[12345678901234567890123, 1.0, nan]");
    /// let error = Value::parse_json("{\n  'a': 1}").unwrap_err();
    /// assert_eq!(error.to_string(), "not JSON: expected a key in double quotes at line 2, column 3");
    /// # Ok::<(), abyme_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with line and column; also for more than
    /// [`MAX_LEVELS`](Self::MAX_LEVELS) levels.
    pub fn parse_json(text: &str) -> Result<Value> {
        let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Reader::new(text, start, Dialect::Json).only_value().map_err(|Problem { at, message }| {
            let before = text.get(start..at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Error::new(
                ErrorKind::InvalidInput,
                format!("not JSON: {message} at line {line}, column {column}"),
            )
        })
    }
}

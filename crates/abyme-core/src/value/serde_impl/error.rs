//! What goes wrong between values and Rust types, and where inside the value.

use std::fmt;

use serde::{
    de::{self, Expected, Unexpected},
    ser,
};

use crate::value::{float_repr, text_repr};

/// How much of an offending text a message shows.
const SHOWN_CHARS: usize = 60;

/// A value and a Rust type do not fit: what was expected, what came, and where, such as `at [2]["name"]`.
#[derive(Debug)]
pub struct ConvertError {
    path: String,
    message: String,
}

impl ConvertError {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self { path: String::new(), message: message.to_string() }
    }

    /// Says that the error happened at item `index` of a list.
    pub(super) fn at_index(mut self, index: usize) -> Self {
        self.path.insert_str(0, &format!("[{index}]"));
        self
    }

    /// Says that the error happened at the entry `key` of a dict.
    pub(super) fn at_key(mut self, key: &str) -> Self {
        let key: String = key.chars().take(SHOWN_CHARS).collect();
        self.path.insert_str(0, &format!("[{key:?}]"));
        self
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "at {}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConvertError {}

impl ser::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl de::Error for ConvertError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!("expected {expected}, got {}", GotValue(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format_args!("expected {expected}, got {length} items"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format_args!("missing key `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format_args!("key `{field}` comes twice"))
    }
}

/// What came, in Python's words.
struct GotValue<'a>(Unexpected<'a>);

impl fmt::Display for GotValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Unit | Unexpected::Option => f.write_str("None"),
            Unexpected::Bool(value) => write!(f, "bool {}", if value { "True" } else { "False" }),
            Unexpected::Signed(value) => write!(f, "int {value}"),
            Unexpected::Unsigned(value) => write!(f, "int {value}"),
            Unexpected::Float(value) => write!(f, "float {}", float_repr(value)),
            Unexpected::Str(text) => write!(f, "str {}", text_repr(text, SHOWN_CHARS)),
            Unexpected::Bytes(_) => f.write_str("bytes"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a dict"),
            other => write!(f, "{other}"),
        }
    }
}

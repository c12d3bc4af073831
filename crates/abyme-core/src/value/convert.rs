//! From Rust's types to values, without ceremony.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use bytes::Bytes;
use indexmap::IndexMap;

use super::{
    Value,
    text::{Text, read_file},
};
use crate::error::Result;

#[cfg(test)]
mod tests;

impl Value {
    /// Reads a file as `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), naming the file and what was wrong with it.
    pub fn bytes_from_file(path: impl AsRef<Path>) -> Result<Value> {
        read_file(path.as_ref(), "Value::bytes_from_file").map(|bytes| Value::Bytes(Bytes::from(bytes)))
    }

    /// Reads a file of JSON, as [`parse_json`](Self::parse_json) does.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read as text;
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is not JSON, with line and column.
    pub fn json_from_file(path: impl AsRef<Path>) -> Result<Value> {
        let path = path.as_ref();
        let text = Text::from_file(path)?;
        Value::parse_json(&text).map_err(|error| error.context(format_args!("`{}`", path.display())))
    }
}

/// The form of an `int` in 64 bits, or in digits.
macro_rules! from_int {
    ($($int:ty)*) => {$(
        impl From<$int> for Value {
            fn from(value: $int) -> Self {
                i64::try_from(value).map_or_else(|_| Value::BigInt(value.to_string()), Value::Int)
            }
        }
    )*};
}

from_int!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

/// Everything that [`Text`] is made from.
macro_rules! from_text {
    ($($text:ty)*) => {$(
        impl From<$text> for Value {
            fn from(value: $text) -> Self {
                Value::Text(Text::from(value))
            }
        }
    )*};
}

from_text!(&str String &String &Text Box<str> Cow<'_, str> char);

impl From<Text> for Value {
    fn from(value: Text) -> Self {
        Value::Text(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::Float(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Value::None
    }
}

/// The one Rust type that becomes Python `bytes`. A `Vec<u8>` is a list of numbers, as every other `Vec` is.
impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Value::Bytes(value)
    }
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Self {
        value.clone()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::None, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::list(items)
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(items: [T; N]) -> Self {
        Value::list(items)
    }
}

impl<T: Clone + Into<Value>> From<&[T]> for Value {
    fn from(items: &[T]) -> Self {
        Value::list(items.iter().cloned())
    }
}

/// Tuples become lists, as JSON has them.
macro_rules! from_tuple {
    ($($name:ident)*) => {
        impl<$($name: Into<Value>),*> From<($($name,)*)> for Value {
            fn from(items: ($($name,)*)) -> Self {
                #[allow(non_snake_case)] // the type parameters serve as names of the items
                let ($($name,)*) = items;
                Value::List(vec![$($name.into()),*])
            }
        }
    };
}

from_tuple!(A);
from_tuple!(A B);
from_tuple!(A B C);
from_tuple!(A B C D);

impl<K: Into<String>, T: Into<Value>, S> From<IndexMap<K, T, S>> for Value {
    fn from(entries: IndexMap<K, T, S>) -> Self {
        Value::dict(entries)
    }
}

impl<K: Into<String>, T: Into<Value>> From<BTreeMap<K, T>> for Value {
    fn from(entries: BTreeMap<K, T>) -> Self {
        Value::dict(entries)
    }
}

/// Sorted by key: a hash map has no order of its own, and prompts should not change from run to run.
impl<K: Into<String>, T: Into<Value>, S> From<HashMap<K, T, S>> for Value {
    fn from(entries: HashMap<K, T, S>) -> Self {
        let mut entries: IndexMap<String, Value> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        entries.sort_unstable_keys();
        Value::Dict(entries)
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for Value {
    fn from(entries: serde_json::Map<String, serde_json::Value>) -> Self {
        Value::dict(entries)
    }
}

/// Plain JSON as it stands: `{"$int": "1"}` is a dict here, not a number.
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Value::None,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => from_number(&number),
            serde_json::Value::String(text) => text.into(),
            serde_json::Value::Array(items) => items.into(),
            serde_json::Value::Object(entries) => entries.into(),
        }
    }
}

fn from_number(number: &serde_json::Number) -> Value {
    if let Some(value) = number.as_i64() {
        return Value::Int(value);
    }
    // Digits alone are an `int`: `u64`, or any size where a program turns on `arbitrary_precision`.
    let text = number.to_string();
    Value::int_from_decimal(&text).unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)))
}

/// A list. Only of values, so that collecting pairs can mean a dict; see also [`Value::list`].
impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Value::List(items.into_iter().collect())
    }
}

/// A dict.
impl<K: Into<String>, T: Into<Value>> FromIterator<(K, T)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(entries: I) -> Self {
        Value::dict(entries)
    }
}

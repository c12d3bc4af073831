//! Values as Python has them: what goes into a session and what comes out.
//!
//! JSON alone is not enough: Python has integers of any size, NaN, infinities and bytes, and one text input
//! may be a gigabyte. [`Value`] holds all of them; [`Text`] is shared, so an input is never copied when it
//! is passed on.

mod budget;
mod convert;
mod json;
mod literal;
mod repr;
mod schema;
mod serde_impl;
mod surrogates;
mod text;

pub use self::{
    budget::{DecodeBudget, DecodeProblem, OverBudget},
    serde_impl::ConvertError,
    surrogates::{WithoutLoneSurrogates, without_lone_surrogates},
    text::Text,
};
pub(crate) use self::{
    literal::{Dialect, Reader},
    repr::{float_repr, text_repr},
};

use bytes::Bytes;
use indexmap::IndexMap;

/// A Python value on the host's side.
///
/// The variants are a closed set: every backend passes each of them in both directions, in the same way. A
/// new one would be a breaking change, so that the compiler shows every place that has to handle it.
///
/// `serde` writes it as plain JSON, except for what JSON lacks: `{"$int": "123…"}`, `{"$float": "nan"}` (or
/// `inf`, `-inf`), `{"$bytes": "base64"}`, and `{"$dict": [[k, v], …]}` for a dict with a key that starts
/// with `$`. Nothing is lost on the way there and back. For plain JSON see [`to_json`](Self::to_json) and
/// [`parse_json`](Self::parse_json).
///
/// Each value takes 72 bytes of the host's memory, and a text about 100 more besides its bytes: a list of
/// millions of short texts takes several times their length. One long text, which cells split, takes its
/// length.
///
/// ```
/// use abyme_core::Value;
///
/// let value = Value::dict([("id", Value::from(u64::MAX)), ("scores", Value::from(vec![0.5, f64::NAN]))]);
/// assert_eq!(
///     serde_json::to_string(&value)?,
///     r#"{"id":{"$int":"18446744073709551615"},"scores":[0.5,{"$float":"nan"}]}"#
/// );
/// assert_eq!(value.repr(80), "{'id': 18446744073709551615, 'scores': [0.5, nan]}");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `None`.
    #[default]
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int` that fits 64 bits.
    Int(i64),
    /// Any other `int`, in decimal digits with an optional `-`. Make one with
    /// [`int_from_decimal`](Self::int_from_decimal), so that each number has one form only.
    BigInt(String),
    /// A `float`, NaN and infinities included.
    Float(f64),
    /// A `str`.
    Text(Text),
    /// A `bytes`.
    Bytes(Bytes),
    /// A `list`.
    List(Vec<Value>),
    /// A `dict` with text keys, in order.
    Dict(IndexMap<String, Value>),
}

impl Value {
    /// A list of anything that is a value.
    pub fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }

    /// A dict of anything that is a value. Where a key comes twice, the last value wins, as in Python.
    pub fn dict<K: Into<String>, T: Into<Value>>(entries: impl IntoIterator<Item = (K, T)>) -> Value {
        Value::Dict(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// An `int` of any size from decimal digits with an optional sign; `None` for any other text.
    pub fn int_from_decimal(text: &str) -> Option<Value> {
        let (minus, digits) = match text.as_bytes().first()? {
            b'-' => ("-", &text[1..]),
            b'+' => ("", &text[1..]),
            _ => ("", text),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = digits.trim_start_matches('0');
        let canonical = format!("{minus}{}", if digits.is_empty() { "0" } else { digits });
        Some(canonical.parse().map_or(Value::BigInt(canonical), Value::Int))
    }

    /// The Python name of this value's type: `"str"`, `"list"`, `"NoneType"` and so on.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::BigInt(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Dict(_) => "dict",
        }
    }

    /// Whether two values are the same: NaN is itself, unlike for `==`, and `0.0` is not `-0.0`.
    pub(crate) fn is_same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            (Value::Dict(a), Value::Dict(b)) => same_entries(a, b),
            (a, b) => a == b,
        }
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }

    /// The truth value, if this is a `bool`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if this is an `int` that fits 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if this is a `float`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if this is a `str`.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The bytes, if this is a `bytes`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items, if this is a `list`.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a `dict`.
    pub fn as_dict(&self) -> Option<&IndexMap<String, Value>> {
        match self {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }
}

/// Whether two dicts have the same keys, in any order, with the same values (see [`Value::is_same`]).
pub(crate) fn same_entries(a: &IndexMap<String, Value>, b: &IndexMap<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| a.is_same(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_the_same_as_itself_wherever_it_is() {
        let nested = |number: f64| {
            Value::dict([("a", Value::list([Value::from(number), Value::None])), ("b", 1.into())])
        };
        let other_order =
            Value::dict([("b", Value::from(1)), ("a", Value::list([Value::from(-f64::NAN), Value::None]))]);
        assert!(nested(f64::NAN).is_same(&other_order) && nested(f64::NAN) != nested(f64::NAN));
        assert!(nested(0.0).is_same(&nested(0.0)) && !nested(0.0).is_same(&nested(-0.0)));
        assert!(!Value::Int(1).is_same(&Value::Float(1.0)) && !nested(1.0).is_same(&Value::dict([("a", 1)])));
        let entries = |given: &[(&str, f64)]| -> IndexMap<String, Value> {
            given.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
        };
        let two = entries(&[("a", f64::NAN), ("b", 1.0)]);
        assert!(same_entries(&two, &entries(&[("b", 1.0), ("a", f64::NAN)])));
        assert!(!same_entries(&two, &entries(&[("a", f64::NAN)])));
        assert!(!same_entries(&two, &entries(&[("a", f64::NAN), ("c", 1.0)])));
    }
}

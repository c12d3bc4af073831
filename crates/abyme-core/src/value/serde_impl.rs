//! The lossless encoding of [`Value`] for `serde`: plain JSON, with a tag for what JSON lacks.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};

use super::{Text, Value};

mod de_value;
mod error;
mod ser_value;
#[cfg(test)]
mod tests;

pub use self::error::ConvertError;

/// The struct and newtype name by which our own serializer and deserializer recognise a [`Value`] inside a
/// caller's type, so that it passes through them unchanged. Other formats ignore it.
const VALUE: &str = "$abyme::Value";

const INT: &str = "$int";
const FLOAT: &str = "$float";
const BYTES: &str = "$bytes";
const DICT: &str = "$dict";

/// How `serde_json` hands over every number where some crate of the program turns on its
/// `arbitrary_precision`.
const JSON_NUMBER: &str = "$serde_json::private::Number";

/// Whether a dict with this key is written as `$dict`.
fn is_reserved_key(key: &str) -> bool {
    key.starts_with('$')
}

impl Value {
    /// How many levels of lists and dicts a value may have that goes into a run, into a session, or comes out
    /// of one: 100. A dict with a key that starts with `$` counts as three, for so many has the JSON that
    /// holds it (see [above](Value)). A record that holds more could not be read: `serde_json` stops at 128
    /// levels, and there are some around the value.
    pub const MAX_LEVELS: usize = 100;

    /// Whether it has more than so many levels of lists and dicts, as [`MAX_LEVELS`](Self::MAX_LEVELS) counts
    /// them.
    ///
    /// ```
    /// use abyme_core::Value;
    ///
    /// let nested = Value::list([Value::dict([("$key", 1)])]);
    /// assert!(nested.has_more_levels_than(3) && !nested.has_more_levels_than(4));
    /// ```
    pub fn has_more_levels_than(&self, levels: usize) -> bool {
        let is_reserved = |entries: &IndexMap<String, Value>| entries.keys().any(|key| is_reserved_key(key));
        let own = match self {
            Value::List(_) => 1,
            Value::Dict(entries) if is_reserved(entries) => 3,
            Value::Dict(_) => 1,
            _ => return false,
        };
        // The recursion ends at the limit, however deep the value is.
        let Some(left) = levels.checked_sub(own) else { return true };
        match self {
            Value::List(items) => items.iter().any(|item| item.has_more_levels_than(left)),
            Value::Dict(entries) => entries.values().any(|item| item.has_more_levels_than(left)),
            _ => false,
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::None => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::BigInt(digits) => tagged(serializer, INT, digits),
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Float(value) => tagged(serializer, FLOAT, &super::float_repr(*value)),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => tagged(serializer, BYTES, &STANDARD.encode(bytes)),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Dict(entries) if entries.keys().any(|key| is_reserved_key(key)) => {
                tagged(serializer, DICT, &entries.iter().collect::<Vec<_>>())
            }
            Value::Dict(entries) => {
                let mut dict = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| dict.serialize_entry(key, value))?;
                dict.end()
            }
        }
    }
}

fn tagged<S: Serializer, T: Serialize>(
    serializer: S,
    tag: &'static str,
    inside: &T,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct(VALUE, 1)?;
    object.serialize_field(tag, inside)?;
    object.end()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(VALUE, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(Bytes::from(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut dict: A) -> Result<Value, A::Error> {
        let mut entries = IndexMap::new();
        while let Some(key) = dict.next_key::<String>()? {
            if !is_reserved_key(&key) {
                entries.insert(key, dict.next_value()?);
                continue;
            }
            if !entries.is_empty() {
                return Err(de::Error::custom(misplaced(&key)));
            }
            let value = untag(&key, dict.next_value()?).map_err(de::Error::custom)?;
            return match dict.next_key::<String>()? {
                None => Ok(value),
                Some(_) => Err(de::Error::custom(misplaced(&key))),
            };
        }
        Ok(Value::Dict(entries))
    }
}

fn misplaced(key: &str) -> String {
    format!(
        "a value has the key `{key}` next to others; such a dict is written as {{\"$dict\": [[key, value], \
         ...]}}"
    )
}

/// The value that `{tag: inside}` stands for.
fn untag(tag: &str, inside: Value) -> Result<Value, String> {
    let value = match (tag, &inside) {
        (INT, Value::Text(digits)) => Value::int_from_decimal(digits),
        (FLOAT, Value::Text(text)) => match text.as_str() {
            "nan" => Some(Value::Float(f64::NAN)),
            "inf" => Some(Value::Float(f64::INFINITY)),
            "-inf" => Some(Value::Float(f64::NEG_INFINITY)),
            _ => None,
        },
        (BYTES, Value::Text(text)) => {
            STANDARD.decode(text.as_str()).ok().map(|bytes| Value::Bytes(bytes.into()))
        }
        (DICT, Value::List(_)) => return undict(inside),
        (JSON_NUMBER, Value::Text(text)) => {
            Value::int_from_decimal(text).or_else(|| text.parse().ok().map(Value::Float))
        }
        (INT | FLOAT | BYTES | DICT, _) => None,
        _ => {
            return Err(format!(
                "unknown tag `{tag}` in a value; a dict with this key is written as `$dict`"
            ));
        }
    };
    value
        .ok_or_else(|| format!("a value tagged `{tag}` cannot be {} {}", inside.type_name(), inside.repr(60)))
}

fn undict(pairs: Value) -> Result<Value, String> {
    let wrong = "a value tagged `$dict` must be a list of [key, value] pairs with text keys";
    let Value::List(pairs) = pairs else { return Err(wrong.to_owned()) };
    let entry = |pair: Value| -> Option<(String, Value)> {
        let Value::List(pair) = pair else { return None };
        let [key, value] = <[Value; 2]>::try_from(pair).ok()?;
        let Value::Text(key) = key else { return None };
        Some((Text::into_string(key), value))
    };
    pairs.into_iter().map(entry).collect::<Option<_>>().map(Value::Dict).ok_or_else(|| wrong.to_owned())
}

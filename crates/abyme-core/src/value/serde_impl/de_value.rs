//! From a [`Value`] to anything `serde` can read.

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer, SeqAccessDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{DICT, INT, VALUE, error::ConvertError, is_reserved_key};
use crate::{
    error::{Error, ErrorKind},
    value::Value,
};

type Result<T, E = ConvertError> = std::result::Result<T, E>;

impl Value {
    /// Reads a Rust type out of the value.
    ///
    /// An `int` is accepted for a float, never the other way round. An enum is a text or a dict with one
    /// entry.
    ///
    /// # Errors
    /// [`ErrorKind::OutputType`], saying where in the value, what was expected and what came.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(self).map_err(|error| Error::new(ErrorKind::OutputType, error.to_string()))
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Value::None => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::BigInt(digits) => visit_big_int(digits, visitor),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::List(items) => visit_list(items, visitor),
            Value::Dict(entries) => visitor.visit_map(Entries::new(entries)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Value::None => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Value::BigInt(digits) => match digits.parse() {
                Ok(value) => visitor.visit_f64(value),
                Err(_) => Err(ConvertError::invalid_type(Unexpected::Str(digits), &visitor)),
            },
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    /// `bytes` are a list of numbers to a type that asks for a list.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Value::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        match self {
            // A `Value` inside the caller's type. What its visitor cannot be told directly goes in tagged.
            Value::BigInt(digits) if name == VALUE => {
                let value = BorrowedStrDeserializer::new(digits);
                visitor.visit_map(Tagged { tag: Some(INT), value: Some(value) })
            }
            Value::Dict(entries) if name == VALUE && entries.keys().any(|key| is_reserved_key(key)) => {
                let pairs = SeqDeserializer::new(
                    entries.iter().map(|(key, value)| Pair { key: Some(key), value: Some(value) }),
                );
                visitor.visit_map(Tagged { tag: Some(DICT), value: Some(pairs) })
            }
            other => visitor.visit_newtype_struct(other),
        }
    }

    /// An externally tagged enum: a text, or a dict with one entry.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Value::Text(text) => BorrowedStrDeserializer::new(text).deserialize_enum(name, variants, visitor),
            Value::Dict(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(entries)))
            }
            other => Err(ConvertError::new(format_args!(
                "expected one of {variants:?} as str or as the only key of a dict, got {} {}",
                other.type_name(),
                other.repr(60)
            ))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 char str string bytes byte_buf unit unit_struct tuple_struct map
        struct identifier ignored_any
    }
}

fn visit_big_int<'de, V: Visitor<'de>>(digits: &str, visitor: V) -> Result<V::Value> {
    if let Ok(value) = digits.parse() {
        visitor.visit_u64(value)
    } else if let Ok(value) = digits.parse() {
        visitor.visit_i128(value)
    } else if let Ok(value) = digits.parse() {
        visitor.visit_u128(value)
    } else {
        let found = format!("int {}", Value::BigInt(digits.to_owned()).repr(60));
        Err(ConvertError::invalid_type(Unexpected::Other(&found), &visitor))
    }
}

fn visit_list<'de, V: Visitor<'de>>(items: &'de [Value], visitor: V) -> Result<V::Value> {
    let mut list = Items { items: items.iter(), index: 0 };
    let value = visitor.visit_seq(&mut list)?;
    match list.items.len() {
        0 => Ok(value),
        _ => Err(ConvertError::new(format_args!("expected {} items, got {}", list.index, items.len()))),
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.at_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'de> {
    entries: indexmap::map::Iter<'de, String, Value>,
    value: Option<(&'de str, &'de Value)>,
}

impl<'de> Entries<'de> {
    fn new(entries: &'de indexmap::IndexMap<String, Value>) -> Self {
        Self { entries: entries.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, value));
        seed.deserialize(Key(key)).map(Some).map_err(|error| error.at_key(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        match self.value.take() {
            Some((key, value)) => seed.deserialize(value).map_err(|error| error.at_key(key)),
            None => Err(ConvertError::new("a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A dict's key: text that also serves where a number or a truth value is wanted.
struct Key<'de>(&'de str);

/// Methods for key types that are written as text.
macro_rules! parsed_keys {
    ($($method:ident => $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ConvertError;

    parsed_keys! {
        deserialize_i8 => visit_i8 deserialize_i16 => visit_i16 deserialize_i32 => visit_i32
        deserialize_i64 => visit_i64 deserialize_i128 => visit_i128 deserialize_u8 => visit_u8
        deserialize_u16 => visit_u16 deserialize_u32 => visit_u32 deserialize_u64 => visit_u64
        deserialize_u128 => visit_u128 deserialize_f32 => visit_f32 deserialize_f64 => visit_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            "True" | "true" => visitor.visit_bool(true),
            "False" | "false" => visitor.visit_bool(false),
            other => visitor.visit_borrowed_str(other),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// `{tag: value}`, for the visitor of [`Value`] itself.
struct Tagged<D> {
    tag: Option<&'static str>,
    value: Option<D>,
}

impl<'de, D: Deserializer<'de, Error = ConvertError>> MapAccess<'de> for Tagged<D> {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.tag.take().map(|tag| seed.deserialize(BorrowedStrDeserializer::new(tag))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(ConvertError::new("a value was asked for before its key")),
        }
    }
}

/// One entry of a dict as a list of two.
struct Pair<'de> {
    key: Option<&'de str>,
    value: Option<&'de Value>,
}

impl<'de> SeqAccess<'de> for Pair<'de> {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if let Some(key) = self.key.take() {
            return seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some);
        }
        self.value.take().map(|value| seed.deserialize(value)).transpose()
    }
}

impl<'de> IntoDeserializer<'de, ConvertError> for Pair<'de> {
    type Deserializer = SeqAccessDeserializer<Self>;

    fn into_deserializer(self) -> Self::Deserializer {
        SeqAccessDeserializer::new(self)
    }
}

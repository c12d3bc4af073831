//! From anything `serde` can write to a [`Value`].

use bytes::Bytes;
use indexmap::IndexMap;
use serde::ser::{self, Serialize, Serializer};

use super::{VALUE, error::ConvertError, untag};
use crate::{
    error::{Error, ErrorKind},
    value::Value,
};

type Result<T, E = ConvertError> = std::result::Result<T, E>;

impl Value {
    /// Makes a value of anything `serde` can write.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if `T`'s `Serialize` fails, or has map keys that are not text, numbers or
    /// bools (the latter become text, as Python's `str` writes them).
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
        value
            .serialize(ValueSerializer)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, error.to_string()))
    }
}

/// Enums are externally tagged, as `serde_json` writes them.
struct ValueSerializer;

/// Methods that take one number and make a value of it.
macro_rules! plain {
    ($($method:ident($ty:ty))*) => {$(
        fn $method(self, value: $ty) -> Result<Value> {
            Ok(Value::from(value))
        }
    )*};
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = ConvertError;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Dict;
    type SerializeStruct = Dict;
    type SerializeStructVariant = Dict;

    plain! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_i128(i128) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_u128(u128) serialize_f32(f32) serialize_f64(f64) serialize_char(char) serialize_str(&str)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn serialize_none(self) -> Result<Value> {
        Ok(Value::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value> {
        Ok(Value::None)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value> {
        let inside = value.serialize(ValueSerializer).map_err(|error| error.at_key(variant))?;
        Ok(Value::dict([(variant, inside)]))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<List> {
        Ok(List { items: Vec::new(), variant: None })
    }

    fn serialize_tuple(self, len: usize) -> Result<List> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<List> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<List> {
        Ok(List { items: Vec::new(), variant: Some(variant) })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Dict> {
        Ok(Dict::new(Shape::Plain))
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Dict> {
        Ok(Dict::new(if name == VALUE { Shape::Tagged } else { Shape::Plain }))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Dict> {
        Ok(Dict::new(Shape::Variant(variant)))
    }
}

/// A list being filled, perhaps the inside of an enum's variant.
struct List {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.items.push(value.serialize(ValueSerializer).map_err(|error| error.at_index(self.items.len()))?);
        Ok(())
    }

    fn finish(self) -> Value {
        let list = Value::List(self.items);
        match self.variant {
            Some(variant) => Value::dict([(variant, list)]),
            None => list,
        }
    }
}

/// `serde`'s traits for lists differ in names only.
macro_rules! list_traits {
    ($($name:ident::$method:ident)*) => {$(
        impl ser::$name for List {
            type Ok = Value;
            type Error = ConvertError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.push(value)
            }

            fn end(self) -> Result<Value> {
                Ok(self.finish())
            }
        }
    )*};
}

list_traits! {
    SerializeSeq::serialize_element SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field SerializeTupleVariant::serialize_field
}

/// A dict being filled.
struct Dict {
    entries: IndexMap<String, Value>,
    key: String,
    shape: Shape,
}

/// What a finished dict stands for.
enum Shape {
    Plain,
    /// The inside of an enum's variant.
    Variant(&'static str),
    /// A tagged [`Value`], which passes through as the value it is.
    Tagged,
}

impl Dict {
    fn new(shape: Shape) -> Self {
        Self { entries: IndexMap::new(), key: String::new(), shape }
    }

    fn insert<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<()> {
        let value = value.serialize(ValueSerializer).map_err(|error| error.at_key(&key))?;
        self.entries.insert(key, value);
        Ok(())
    }

    fn finish(mut self) -> Result<Value> {
        match self.shape {
            Shape::Plain => Ok(Value::Dict(self.entries)),
            Shape::Variant(variant) => Ok(Value::dict([(variant, Value::Dict(self.entries))])),
            Shape::Tagged => match self.entries.pop() {
                Some((tag, inside)) => untag(&tag, inside).map_err(ConvertError::new),
                None => Err(ConvertError::new("a tagged value without its tag")),
            },
        }
    }
}

impl ser::SerializeMap for Dict {
    type Ok = Value;
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = match key.serialize(ValueSerializer)? {
            Value::Text(text) => text.into(),
            simple @ (Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_)) => {
                simple.repr(usize::MAX)
            }
            other => {
                return Err(ConvertError::new(format_args!("{} cannot be a dict's key", other.type_name())));
            }
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = std::mem::take(&mut self.key);
        self.insert(key, value)
    }

    fn end(self) -> Result<Value> {
        self.finish()
    }
}

/// Structs and struct variants differ in names only.
macro_rules! dict_traits {
    ($($name:ident)*) => {$(
        impl ser::$name for Dict {
            type Ok = Value;
            type Error = ConvertError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
                self.insert(key.to_owned(), value)
            }

            fn end(self) -> Result<Value> {
                self.finish()
            }
        }
    )*};
}

dict_traits!(SerializeStruct SerializeStructVariant);

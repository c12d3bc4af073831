//! Values in frames: JSON in the header. Long texts and all bytes are blobs.

use std::cell::RefCell;

use abyme_core::{Text, Value};
use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap, SerializeSeq},
};
use serde_json::Value as Json;

/// Texts of this many bytes and more travel as blobs.
const BLOB_BYTES: usize = 8192;
/// How deep values may nest in both directions. Readers on both sides recurse, and `serde_json` stops at 128
/// levels.
const MAX_DEPTH: usize = 100;

/// The blobs of a frame that is being made.
pub(crate) type Blobs = RefCell<Vec<Bytes>>;

/// A value that writes its large parts to `blobs` when it is serialised.
pub(crate) struct Encoded<'a> {
    value: &'a Value,
    blobs: &'a Blobs,
    depth: usize,
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(value: &'a Value, blobs: &'a Blobs) -> Self {
        Self { value, blobs, depth: 0 }
    }

    fn inner(&self, value: &'a Value, levels: usize) -> Encoded<'a> {
        Encoded { value, blobs: self.blobs, depth: self.depth + levels }
    }

    fn blob<S: Serializer>(&self, tag: &str, bytes: Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let mut blobs = self.blobs.borrow_mut();
        blobs.push(bytes);
        tagged(tag, &(blobs.len() - 1), serializer)
    }
}

fn tagged<S: Serializer>(tag: &str, value: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, value)?;
    map.end()
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.depth > MAX_DEPTH {
            return Err(S::Error::custom(format!("a value is nested deeper than {MAX_DEPTH} levels")));
        }
        match self.value {
            Value::None => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::BigInt(digits) => tagged("$int", digits, serializer),
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Float(value) => tagged("$float", &non_finite(*value), serializer),
            Value::Text(text) if text.len() >= BLOB_BYTES => {
                self.blob("$text", Bytes::from_owner(SharedText(text.clone())), serializer)
            }
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => self.blob("$bytes", bytes.clone(), serializer),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&self.inner(item, 1))?;
                }
                list.end()
            }
            Value::Dict(entries) if entries.keys().any(|key| key.starts_with('$')) => {
                // The tag, the list and the pair are a level each.
                let pairs: Vec<_> = entries.iter().map(|(key, value)| (key, self.inner(value, 3))).collect();
                tagged("$dict", &pairs, serializer)
            }
            Value::Dict(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &self.inner(value, 1))?;
                }
                map.end()
            }
        }
    }
}

fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "nan"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

/// A shared text as bytes, without a copy.
struct SharedText(Text);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Reads a value out of a header. What the driver sent is not trusted.
pub(crate) fn decode(json: Json, blobs: &mut [Bytes]) -> Result<Value, String> {
    decode_at(json, blobs, MAX_DEPTH + 1)
}

/// Reads the answer of `Repl.run` out of a header. It and its `variables` are a level each above the values
/// in it.
pub(crate) fn decode_answer(
    answer: serde_json::Map<String, Json>,
    blobs: &mut [Bytes],
) -> Result<Value, String> {
    decode_at(Json::Object(answer), blobs, MAX_DEPTH + 3)
}

/// Reads a value of at most so many `levels`.
fn decode_at(json: Json, blobs: &mut [Bytes], levels: usize) -> Result<Value, String> {
    let Some(levels) = levels.checked_sub(1) else {
        return Err("a value is nested too deep".to_owned());
    };
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(_)) if number.is_u64() => Value::BigInt(number.to_string()),
            (None, Some(float)) => Value::Float(float),
            (None, None) => return Err(format!("{number} is not a number")),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::List(
            items.into_iter().map(|item| decode_at(item, blobs, levels)).collect::<Result<_, _>>()?,
        ),
        Json::Object(entries) => match entries.iter().next() {
            Some((tag, _)) if tag.starts_with('$') && entries.len() == 1 => {
                let (tag, value) = entries.into_iter().next().unwrap_or_default();
                decode_tagged(&tag, value, blobs, levels)?
            }
            _ => Value::Dict(
                entries
                    .into_iter()
                    .map(|(key, value)| Ok((key, decode_at(value, blobs, levels)?)))
                    .collect::<Result<_, String>>()?,
            ),
        },
    })
}

fn decode_tagged(tag: &str, value: Json, blobs: &mut [Bytes], levels: usize) -> Result<Value, String> {
    match (tag, value) {
        ("$int", Json::String(digits)) => match digits.parse::<i64>() {
            Ok(integer) => Ok(Value::Int(integer)),
            Err(_) if is_integer(&digits) => Ok(Value::BigInt(digits)),
            Err(_) => Err("an $int is not an integer".to_owned()),
        },
        ("$float", Json::String(name)) => match name.as_str() {
            "nan" => Ok(Value::Float(f64::NAN)),
            "inf" => Ok(Value::Float(f64::INFINITY)),
            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err("a $float is not one of nan, inf, -inf".to_owned()),
        },
        ("$text", index) => take_text(&index, blobs).map(Value::from),
        ("$bytes", index) => take_blob(&index, blobs).map(Value::Bytes),
        ("$dict", Json::Array(pairs)) => {
            let mut entries = indexmap::IndexMap::with_capacity(pairs.len());
            for pair in pairs {
                let Json::Array(pair) = pair else {
                    return Err("a $dict holds something that is no pair".into());
                };
                let [key, value] = <[Json; 2]>::try_from(pair).map_err(|_| "a $dict pair is no pair")?;
                let key = decode_text(key, blobs)?;
                entries.insert(key, decode_at(value, blobs, levels)?);
            }
            Ok(Value::Dict(entries))
        }
        _ => Err(format!("`{}` is not a tag", tag.escape_debug())),
    }
}

fn is_integer(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn take_blob(index: &Json, blobs: &mut [Bytes]) -> Result<Bytes, String> {
    let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
    let blob = index.and_then(|index| blobs.get_mut(index));
    blob.map(std::mem::take).ok_or_else(|| "a blob is missing".to_owned())
}

/// A text of a message, in the header or as a blob.
pub(crate) fn decode_text(json: Json, blobs: &mut [Bytes]) -> Result<String, String> {
    match json {
        Json::String(text) => Ok(text),
        Json::Object(mut entries) => match entries.remove("$text") {
            Some(index) => take_text(&index, blobs),
            None => Err("a text is missing".to_owned()),
        },
        _ => Err("a text is missing".to_owned()),
    }
}

fn take_text(index: &Json, blobs: &mut [Bytes]) -> Result<String, String> {
    String::from_utf8(take_blob(index, blobs)?.into()).map_err(|_| "a text is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_value;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn values_cross_unchanged(value in any_value()) {
            let blobs = Blobs::default();
            let header = serde_json::to_vec(&Encoded::new(&value, &blobs)).unwrap();
            let json = serde_json::from_slice(&header).unwrap();
            prop_assert_eq!(decode(json, &mut blobs.into_inner()), Ok(value));
        }

        #[test]
        fn any_json_is_a_value_or_an_error(text in r#"[\[\]{}$a-z":,0-9. ]{0,60}"#) {
            if let Ok(json) = serde_json::from_str(&text) {
                let _ = decode(json, &mut [Bytes::from_static(b"\xff")]);
            }
        }
    }

    #[test]
    fn not_a_number_crosses() {
        let blobs = Blobs::default();
        let header = serde_json::to_vec(&Encoded::new(&Value::Float(f64::NAN), &blobs)).unwrap();
        assert_eq!(header, br#"{"$float":"nan"}"#);
        let back = decode(serde_json::from_slice(&header).unwrap(), &mut []);
        assert!(matches!(back, Ok(Value::Float(float)) if float.is_nan()));
    }
}

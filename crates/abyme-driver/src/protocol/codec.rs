//! Values in frames: JSON in the header. Long texts and all bytes are blobs.

use std::{borrow::Cow, cell::RefCell, fmt};

use abyme_core::{DecodeBudget, DecodeProblem, OverBudget, Text, Value, without_lone_surrogates};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{
    Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::{Error as _, SerializeMap, SerializeSeq},
};

/// Texts of this many bytes and more travel as blobs.
const BLOB_BYTES: usize = 8192;

/// The blobs of a frame that is being made.
pub(crate) type Blobs = RefCell<Vec<Bytes>>;

/// A value that writes its large parts to `blobs` when it is serialised.
pub(crate) struct Encoded<'a> {
    value: &'a Value,
    blobs: &'a Blobs,
    /// Whether it is a part of a value whose levels were counted.
    is_inner: bool,
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(value: &'a Value, blobs: &'a Blobs) -> Self {
        Self { value, blobs, is_inner: false }
    }

    fn inner(&self, value: &'a Value) -> Encoded<'a> {
        Encoded { value, blobs: self.blobs, is_inner: true }
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
        if !self.is_inner && self.value.has_more_levels_than(Value::MAX_LEVELS) {
            let levels = Value::MAX_LEVELS;
            return Err(S::Error::custom(format!("a value is nested more than {levels} levels deep")));
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
                    list.serialize_element(&self.inner(item))?;
                }
                list.end()
            }
            Value::Dict(entries) if entries.keys().any(|key| key.starts_with('$')) => {
                let pairs: Vec<_> = entries.iter().map(|(key, value)| (key, self.inner(value))).collect();
                tagged("$dict", &pairs, serializer)
            }
            Value::Dict(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &self.inner(value))?;
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

/// Reads a header. What the driver sent is not trusted: all that is made is charged to the budget.
pub(crate) fn decode(
    header: &[u8],
    blobs: &mut [Bytes],
    budget: &mut DecodeBudget,
) -> Result<Value, DecodeProblem> {
    let header = without_lone_surrogates(header);
    let mut source = Source { blobs, budget, over: None };
    let mut json = serde_json::Deserializer::from_slice(&header);
    let value = ValueSeed { source: &mut source, levels: DecodeBudget::MAX_LEVELS }.deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value));
    value.map_err(|error| match source.over {
        Some(problem) => DecodeProblem::TooLarge(problem),
        None => DecodeProblem::Invalid(error.to_string()),
    })
}

/// What values are made of.
struct Source<'a> {
    blobs: &'a mut [Bytes],
    budget: &'a mut DecodeBudget,
    /// Whether the budget was used up, which the error of `serde_json` cannot say.
    over: Option<OverBudget>,
}

impl Source<'_> {
    fn charge<T, E: serde::de::Error>(
        &mut self,
        charge: impl FnOnce(&mut DecodeBudget) -> Result<T, OverBudget>,
    ) -> Result<T, E> {
        charge(self.budget).map_err(|problem| {
            self.over = Some(problem);
            E::custom(problem)
        })
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<Value, E> {
        self.charge(|budget| budget.text(text.len()))?;
        Ok(Value::from(text))
    }

    fn digits<E: serde::de::Error>(&mut self, digits: &str) -> Result<Value, E> {
        self.charge(|budget| budget.bytes(digits.len()))?;
        match digits.parse() {
            Ok(integer) => Ok(Value::Int(integer)),
            Err(_) if is_integer(digits) => Ok(Value::BigInt(digits.to_owned())),
            Err(_) => Err(E::custom("an $int is not an integer")),
        }
    }

    /// The blob of an index, whose bytes were charged when the frame was read.
    fn blob<E: serde::de::Error>(&mut self, index: u64) -> Result<Bytes, E> {
        let blob = usize::try_from(index).ok().and_then(|index| self.blobs.get_mut(index));
        blob.map(std::mem::take).ok_or_else(|| E::custom("a blob is missing"))
    }

    fn long_text<E: serde::de::Error>(&mut self, index: u64) -> Result<Value, E> {
        let bytes = self.blob::<E>(index)?;
        self.charge(|budget| budget.text(0))?;
        let text = String::from_utf8(bytes.into()).map_err(|_| E::custom("a text is not UTF-8"))?;
        Ok(Value::from(text))
    }
}

/// Reads a value in which so many levels of lists and dicts are allowed.
struct ValueSeed<'a, 'b> {
    source: &'a mut Source<'b>,
    levels: usize,
}

/// How many levels are left inside of a list or dict.
fn inside<E: serde::de::Error>(levels: usize) -> Result<usize, E> {
    levels.checked_sub(1).ok_or_else(|| E::custom("a value is nested too deep"))
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
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

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Value::Int(value)),
            Err(_) => self.source.digits(&value.to_string()),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.source.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let levels = inside(self.levels)?;
        let source = self.source;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(ValueSeed { source, levels })? {
            source.charge(|budget| budget.push(&mut items, item))?;
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let levels = inside(self.levels)?;
        let source = self.source;
        let mut entries = IndexMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if entries.is_empty() && key.starts_with('$') {
                let value = read_tagged(&key, &mut map, source, levels)?;
                return match map.next_key::<IgnoredAny>()? {
                    None => Ok(value),
                    Some(_) => Err(A::Error::custom("a tag is not alone in its object")),
                };
            }
            let value = map.next_value_seed(ValueSeed { source, levels })?;
            source.charge(|budget| budget.insert(&mut entries, key, value))?;
        }
        Ok(Value::Dict(entries))
    }
}

fn read_tagged<'de, A: MapAccess<'de>>(
    tag: &str,
    map: &mut A,
    source: &mut Source<'_>,
    levels: usize,
) -> Result<Value, A::Error> {
    match tag {
        "$int" => source.digits(&map.next_value::<Cow<'_, str>>()?),
        "$float" => match &*map.next_value::<Cow<'_, str>>()? {
            "nan" => Ok(Value::Float(f64::NAN)),
            "inf" => Ok(Value::Float(f64::INFINITY)),
            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(A::Error::custom("a $float is not one of nan, inf, -inf")),
        },
        "$text" => source.long_text(map.next_value()?),
        "$bytes" => source.blob(map.next_value()?).map(Value::Bytes),
        "$dict" => map.next_value_seed(PairsSeed { source, levels }),
        _ => Err(A::Error::custom(format!("`{}` is not a tag", tag.escape_debug()))),
    }
}

/// Reads the entries of a dict as a list of pairs.
struct PairsSeed<'a, 'b> {
    source: &'a mut Source<'b>,
    levels: usize,
}

impl<'de> DeserializeSeed<'de> for PairsSeed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pairs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        // The tag was a level; this list is one, and each pair.
        let levels = inside(self.levels)?;
        let source = self.source;
        let mut entries = IndexMap::new();
        while let Some(pair) = pairs.next_element_seed(ValueSeed { source, levels })? {
            let Value::List(pair) = pair else {
                return Err(A::Error::custom("a $dict holds something that is no pair"));
            };
            let Ok([Value::Text(key), value]) = <[Value; 2]>::try_from(pair) else {
                return Err(A::Error::custom("a $dict pair is no pair"));
            };
            source.charge(|budget| budget.insert(&mut entries, key.into_string(), value))?;
        }
        Ok(Value::Dict(entries))
    }
}

/// What the beginning of a header says about its message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: String,
    pub(crate) run: Option<u64>,
    pub(crate) id: Option<u64>,
}

impl Envelope {
    /// Reads the fields that stand in front of what is too large, in a header or the beginning of one.
    pub(crate) fn of(head: &[u8]) -> Self {
        let mut envelope = Self::default();
        // The rest is cut off or too large: the error that ends the reading says nothing new.
        let _ = serde_json::Deserializer::from_slice(head).deserialize_map(EnvelopeVisitor(&mut envelope));
        envelope
    }
}

struct EnvelopeVisitor<'a>(&'a mut Envelope);

impl<'de> Visitor<'de> for EnvelopeVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match &*key {
                "type" => self.0.kind = map.next_value()?,
                "run" => self.0.run = Some(map.next_value()?),
                "id" => self.0.id = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn is_integer(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_value;

    fn read(header: &str) -> Result<Value, DecodeProblem> {
        decode(header.as_bytes(), &mut [], &mut DecodeBudget::default())
    }

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn values_cross_unchanged(value in any_value()) {
            let blobs = Blobs::default();
            let header = serde_json::to_vec(&Encoded::new(&value, &blobs)).unwrap();
            let mut budget = DecodeBudget::default();
            prop_assert_eq!(decode(&header, &mut blobs.into_inner(), &mut budget), Ok(value));
        }

        #[test]
        fn any_json_is_a_value_or_an_error(text in r#"[\[\]{}$a-z":,0-9. \\]{0,60}"#) {
            let _ = decode(text.as_bytes(), &mut [Bytes::from_static(b"\xff")], &mut DecodeBudget::new(200));
        }
    }

    #[test]
    fn not_a_number_crosses() {
        let blobs = Blobs::default();
        let header = serde_json::to_vec(&Encoded::new(&Value::Float(f64::NAN), &blobs)).unwrap();
        assert_eq!(header, br#"{"$float":"nan"}"#);
        let back = decode(&header, &mut [], &mut DecodeBudget::default());
        assert!(matches!(back, Ok(Value::Float(float)) if float.is_nan()));
    }

    #[test]
    fn all_that_is_made_is_charged() {
        let many = |item: &str| format!("[{item}{}]", format!(",{item}").repeat(20_000));
        for item in ["0", "[]", "\"\"", "{}", r#"{"a":{}}"#, r#"{"$int":"99999999999999999999"}"#] {
            let header = many(item);
            let mut budget = DecodeBudget::new(1 << 20);
            let problem = decode(header.as_bytes(), &mut [], &mut budget).unwrap_err();
            assert_eq!(problem, DecodeProblem::TooLarge(OverBudget::Bytes(1 << 20)), "{item}");
            assert!(read(&header).is_ok(), "{item}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read(&nested(DecodeBudget::MAX_LEVELS)).is_ok());
        let problem = read(&nested(DecodeBudget::MAX_LEVELS + 1)).unwrap_err();
        assert!(matches!(problem, DecodeProblem::Invalid(what) if what.contains("too deep")));
        assert!(read(&nested(100_000)).is_err());
        // What Python refuses to send, it would refuse to read.
        let convert = include_str!("../../python/convert.py");
        assert!(convert.contains(&format!("\nMAX_DEPTH = {}\n", Value::MAX_LEVELS)));
    }

    #[test]
    fn a_dict_that_is_written_as_pairs_takes_three_levels() {
        let tagged = |dicts: usize| r#"{"$dict":[["$",["#.repeat(dicts) + &"]]]}".repeat(dicts);
        let levels = DecodeBudget::MAX_LEVELS;
        // With the list in each.
        assert!(read(&tagged(levels / 4)).is_ok());
        let problem = read(&tagged(levels / 4 + 1)).unwrap_err();
        assert!(matches!(problem, DecodeProblem::Invalid(what) if what.contains("too deep")));
        let dict = |dicts: usize| (0..dicts).fold(Value::None, |inner, _| Value::dict([("$", inner)]));
        let encoded = |value: &Value| serde_json::to_vec(&Encoded::new(value, &Blobs::default()));
        assert!(encoded(&dict(Value::MAX_LEVELS / 3)).is_ok());
        assert!(encoded(&dict(Value::MAX_LEVELS / 3 + 1)).is_err());
    }

    #[test]
    fn halves_of_surrogate_pairs_become_question_marks() {
        for (json, text) in [
            (r#""ab\ud83d""#, "ab?"),
            (r#""\ude00\ud83dx""#, "??x"),
            (r#""\uD83D\uDE00""#, "😀"),
            (r#""\\ud83d \"\u00e9""#, "\\ud83d \"é"),
        ] {
            assert_eq!(read(json), Ok(Value::from(text)), "{json}");
        }
        assert!(read(r#""\ud8""#).is_err());
        assert!(read("\"\\").is_err());
    }

    #[test]
    fn the_envelope_is_read_out_of_a_part_of_a_header() {
        let whole = br#"{"type":"call","run":7,"id":3,"name":"f","args":[[1,2],["#;
        let envelope = Envelope { kind: "call".to_owned(), run: Some(7), id: Some(3) };
        assert_eq!(Envelope::of(whole), envelope);
        assert_eq!(Envelope::of(b"[1]"), Envelope::default());
    }
}

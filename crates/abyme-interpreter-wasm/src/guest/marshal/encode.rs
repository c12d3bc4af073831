//! Writes values for the guest.

use std::str::FromStr;

use abyme_core::{DecodeBudget, Text, Value};
use bytes::Bytes;
use num_bigint::{BigInt, Sign};

use super::format::{DIGIT_BITS, MAX_INT_BITS, MIN_LONG_BYTES, tag};
use crate::guest::pystr::StrLayout;

/// Marshal data, and the long texts and bytes that are not in it.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    data: Vec<u8>,
    longs: Vec<LongObject>,
    /// Bounds the time that reading large integers in decimal takes, as for those that come from the guest.
    integers: DecodeBudget,
}

/// A long object that the host writes into the guest's memory itself, in the order of the marks in the data.
#[derive(Clone, Debug)]
pub(crate) enum LongObject {
    Text(Text, StrLayout),
    Bytes(Bytes),
}

impl LongObject {
    /// How many bytes it has on the host.
    pub(crate) fn host_bytes(&self) -> usize {
        match self {
            Self::Text(text, _) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// The most one object can take: sizes are signed, and its header takes some too.
const MAX_OBJECT_BYTES: usize = (1 << 31) - (1 << 10);

impl Encoder {
    /// The data, and the long objects in the order of their marks.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<LongObject>) {
        (self.data, self.longs)
    }

    /// A dict's beginning; entries follow, then [`end_dict`](Self::end_dict).
    pub(crate) fn begin_dict(&mut self) {
        self.data.push(tag::DICT);
    }

    /// A dict's end.
    pub(crate) fn end_dict(&mut self) {
        self.data.push(tag::NULL);
    }

    /// The beginning of a tuple of `len` items.
    pub(crate) fn begin_tuple(&mut self, len: usize) -> Result<(), String> {
        self.data.push(tag::TUPLE);
        self.len(len)
    }

    /// The beginning of a list of `len` items.
    pub(crate) fn begin_list(&mut self, len: usize) -> Result<(), String> {
        self.data.push(tag::LIST);
        self.len(len)
    }

    /// A short text, such as a key.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), String> {
        self.data.push(tag::TEXT);
        self.len(text.len())?;
        self.data.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A bool.
    pub(crate) fn bool(&mut self, value: bool) {
        self.data.push(if value { tag::TRUE } else { tag::FALSE });
    }

    /// An integer.
    pub(crate) fn int(&mut self, value: i64) -> Result<(), String> {
        if let Ok(small) = i32::try_from(value) {
            self.data.push(tag::INT);
            self.data.extend_from_slice(&small.to_le_bytes());
            return Ok(());
        }
        self.big(&BigInt::from(value))
    }

    /// Any value.
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), String> {
        if value.has_more_levels_than(Value::MAX_LEVELS) {
            return Err(format!("a value is nested more than {} levels deep", Value::MAX_LEVELS));
        }
        self.nested(value)
    }

    fn nested(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::None => self.data.push(tag::NONE),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value)?,
            Value::BigInt(digits) if digits.len() > MAX_INT_BITS / 3 => {
                return Err(format!("an integer of {} digits is too large to pass on", digits.len()));
            }
            Value::BigInt(digits) => {
                // A digit has a little more than three bits.
                self.integers.integer(digits.len() * 10 / 3).map_err(|problem| problem.to_string())?;
                let number = BigInt::from_str(digits).map_err(|_| "a big integer is no number".to_owned())?;
                self.big(&number)?;
            }
            Value::Float(value) => {
                self.data.push(tag::FLOAT);
                self.data.extend_from_slice(&value.to_le_bytes());
            }
            Value::Text(text) if text.len() >= MIN_LONG_BYTES => {
                let layout = StrLayout::of(text);
                fits(layout.size())?;
                self.long(LongObject::Text(text.clone(), layout));
            }
            Value::Text(text) => self.text(text)?,
            Value::Bytes(bytes) if bytes.len() >= MIN_LONG_BYTES => {
                fits(bytes.len())?;
                self.long(LongObject::Bytes(bytes.clone()));
            }
            Value::Bytes(bytes) => {
                self.data.push(tag::BYTES);
                self.len(bytes.len())?;
                self.data.extend_from_slice(bytes);
            }
            Value::List(items) => {
                self.begin_list(items.len())?;
                for item in items {
                    self.nested(item)?;
                }
            }
            Value::Dict(entries) => {
                self.begin_dict();
                for (key, item) in entries {
                    self.text(key)?;
                    self.nested(item)?;
                }
                self.end_dict();
            }
        }
        Ok(())
    }

    fn long(&mut self, long: LongObject) {
        self.data.push(tag::ELLIPSIS);
        self.longs.push(long);
    }

    fn big(&mut self, number: &BigInt) -> Result<(), String> {
        let (sign, words) = number.to_u32_digits();
        let mut digits = Vec::with_capacity(words.len() * 32 / DIGIT_BITS as usize + 1);
        let (mut rest, mut bits) = (0_u64, 0);
        for word in words {
            rest |= u64::from(word) << bits;
            bits += 32;
            while bits >= DIGIT_BITS {
                digits.push((rest & 0x7fff) as u16);
                rest >>= DIGIT_BITS;
                bits -= DIGIT_BITS;
            }
        }
        digits.push(rest as u16);
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let count = i32::try_from(digits.len()).map_err(|_| "an integer is too large".to_owned())?;
        self.data.push(tag::LONG);
        let signed = if sign == Sign::Minus { -count } else { count };
        self.data.extend_from_slice(&signed.to_le_bytes());
        for digit in digits {
            self.data.extend_from_slice(&digit.to_le_bytes());
        }
        Ok(())
    }

    fn len(&mut self, len: usize) -> Result<(), String> {
        fits(len)?;
        // What fits is below 2^31.
        self.data.extend_from_slice(&(len as u32).to_le_bytes());
        Ok(())
    }
}

/// Whether this 32-bit Python can hold an object of this size at all.
pub(super) fn fits(size: usize) -> Result<(), String> {
    if size <= MAX_OBJECT_BYTES {
        return Ok(());
    }
    Err(format!(
        "an object of {} MiB is more than a 32-bit Python can hold (2048 MiB); pass it in parts, or use \
         another backend",
        size >> 20
    ))
}

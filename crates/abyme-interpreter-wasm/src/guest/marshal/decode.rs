//! Reads values from the guest, which is not trusted.

use abyme_core::Value;
use bytes::Bytes;
use indexmap::IndexMap;
use num_bigint::{BigInt, BigUint, Sign};

use super::format::{DIGIT_BITS, MAX_DEPTH, MAX_INT_BITS, MAX_PARTS, tag};

/// Containers around the values of a message: the message, its fields, lists of those.
const MARGIN: usize = 8;

/// Reads one value. Tuples are lists.
pub(crate) fn decode(data: &[u8]) -> Result<Value, String> {
    let mut reader = MarshalReader { rest: data, parts: 0 };
    let value = reader.value(0)?;
    match reader.rest {
        [] => Ok(value),
        rest => Err(format!("{} bytes too many after a value", rest.len())),
    }
}

struct MarshalReader<'a> {
    rest: &'a [u8],
    parts: usize,
}

impl<'a> MarshalReader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let tag = self.take(1)?[0];
        self.tagged(tag, depth)
    }

    fn tagged(&mut self, tag: u8, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH + MARGIN {
            return Err(format!("a value is nested deeper than {MAX_DEPTH} levels"));
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(format!("a value has more than {MAX_PARTS} parts"));
        }
        Ok(match tag {
            tag::NONE => Value::None,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(self.int()?.into()),
            tag::LONG => self.big()?,
            tag::FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            tag::BYTES => Value::Bytes(Bytes::copy_from_slice(self.sized()?)),
            tag::TEXT | tag::INTERNED => Value::from(self.text()?),
            tag::LIST | tag::TUPLE => {
                let len = self.len()?;
                let mut items = Vec::with_capacity(len.min(self.rest.len()).min(MAX_PARTS));
                for _ in 0..len {
                    items.push(self.value(depth + 1)?);
                }
                Value::List(items)
            }
            tag::DICT => self.dict(depth)?,
            other => return Err(format!("unknown tag {:?}", char::from(other))),
        })
    }

    fn dict(&mut self, depth: usize) -> Result<Value, String> {
        let mut entries = IndexMap::new();
        loop {
            let key = match self.take(1)?[0] {
                tag::NULL => return Ok(Value::Dict(entries)),
                tag::TEXT | tag::INTERNED => self.text()?,
                _ => return Err("a dict has a key that is no text".to_owned()),
            };
            let item = self.value(depth + 1)?;
            entries.insert(key, item);
        }
    }

    /// UTF-8, but for lone surrogates, which become `?` as everywhere in Abyme.
    fn text(&mut self) -> Result<String, String> {
        let bytes = self.sized()?;
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Ok(text.to_owned());
        }
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    break;
                }
                Err(error) => {
                    let (valid, bad) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    text.push('?');
                    // A surrogate is three bytes; anything else is not from CPython, and skipped byte by
                    // byte.
                    let surrogate = matches!(bad, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
                    rest = &bad[if surrogate { 3 } else { 1 }..];
                }
            }
        }
        Ok(text)
    }

    fn big(&mut self) -> Result<Value, String> {
        let count = self.int()?;
        let len = count.unsigned_abs() as usize;
        if len * DIGIT_BITS as usize > MAX_INT_BITS + DIGIT_BITS as usize {
            return Err(format!("an integer of more than {MAX_INT_BITS} bits"));
        }
        let digits = self.take(2 * len)?;
        let mut words = Vec::with_capacity(digits.len() / 4 + 1);
        let (mut rest, mut bits) = (0_u64, 0);
        for digit in digits.chunks_exact(2) {
            rest |= u64::from(u16::from_le_bytes([digit[0], digit[1]]) & 0x7fff) << bits;
            bits += DIGIT_BITS;
            if bits >= 32 {
                words.push(rest as u32);
                rest >>= 32;
                bits -= 32;
            }
        }
        words.push(rest as u32);
        let sign = if count < 0 { Sign::Minus } else { Sign::Plus };
        let number = BigInt::from_biguint(sign, BigUint::new(words));
        if let Ok(small) = i64::try_from(&number) {
            return Ok(Value::Int(small));
        }
        Value::int_from_decimal(&number.to_string()).ok_or_else(|| "a number is none".to_owned())
    }

    fn sized(&mut self) -> Result<&'a [u8], String> {
        let len = self.len()?;
        self.take(len)
    }

    fn len(&mut self) -> Result<usize, String> {
        usize::try_from(self.int()?).map_err(|_| "a negative length".to_owned())
    }

    fn int(&mut self) -> Result<i32, String> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "the data end early".to_owned())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("the data end early")?;
        self.rest = rest;
        Ok(taken)
    }
}

//! Reads values from the guest, which is not trusted.

use abyme_core::{DecodeBudget, DecodeProblem, Value};
use bytes::Bytes;
use indexmap::IndexMap;
use num_bigint::{BigInt, BigUint, Sign};

use super::format::{DIGIT_BITS, MAX_INT_BITS, tag};

type Result<T> = std::result::Result<T, DecodeProblem>;

/// Reads one value. Tuples are lists. All that is made is charged to the budget.
pub(crate) fn decode(data: &[u8], budget: &mut DecodeBudget) -> Result<Value> {
    let mut reader = MarshalReader { rest: data, budget };
    let value = reader.value()?;
    match reader.rest {
        // A dict may take more than one of the levels that were counted while reading.
        [] if value.has_more_levels_than(DecodeBudget::MAX_LEVELS) => Err(too_deep()),
        [] => Ok(value),
        rest => Err(format!("{} bytes too many after a value", rest.len()).into()),
    }
}

fn too_deep() -> DecodeProblem {
    format!("a value is nested more than {} levels deep", Value::MAX_LEVELS).into()
}

/// A list or dict of which something is missing.
enum OpenContainer {
    List { items: Vec<Value>, missing: usize },
    Dict { entries: IndexMap<String, Value>, key: String },
}

struct MarshalReader<'a> {
    rest: &'a [u8],
    budget: &'a mut DecodeBudget,
}

impl<'a> MarshalReader<'a> {
    /// Reads a value without recursion: this runs on the small stack of a fiber.
    fn value(&mut self) -> Result<Value> {
        let mut open: Vec<OpenContainer> = Vec::new();
        loop {
            if open.len() > DecodeBudget::MAX_LEVELS {
                return Err(too_deep());
            }
            let mut value = match self.take(1)?[0] {
                tag::LIST | tag::TUPLE => {
                    let (items, missing) = self.begin_list()?;
                    if missing > 0 {
                        open.push(OpenContainer::List { items, missing });
                        continue;
                    }
                    Value::List(items)
                }
                tag::DICT => match self.key()? {
                    Some(key) => {
                        open.push(OpenContainer::Dict { entries: IndexMap::new(), key });
                        continue;
                    }
                    None => Value::Dict(IndexMap::new()),
                },
                other => self.leaf(other)?,
            };
            // The value may be the last of what is around it, which then is a value itself.
            loop {
                let is_open = match open.last_mut() {
                    None => return Ok(value),
                    Some(OpenContainer::List { items, missing }) => {
                        self.budget.push(items, value)?;
                        *missing -= 1;
                        *missing > 0
                    }
                    Some(OpenContainer::Dict { entries, key }) => {
                        self.budget.insert(entries, std::mem::take(key), value)?;
                        let next = self.key()?;
                        let is_open = next.is_some();
                        *key = next.unwrap_or_default();
                        is_open
                    }
                };
                if is_open {
                    break;
                }
                value = match open.pop() {
                    Some(OpenContainer::List { items, .. }) => Value::List(items),
                    Some(OpenContainer::Dict { entries, .. }) => Value::Dict(entries),
                    None => Value::None,
                };
            }
        }
    }

    fn leaf(&mut self, tag: u8) -> Result<Value> {
        Ok(match tag {
            tag::NONE => Value::None,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(self.int()?.into()),
            tag::LONG => self.big()?,
            tag::FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            tag::BYTES => {
                let bytes = self.sized()?;
                self.budget.bytes(bytes.len())?;
                Value::Bytes(Bytes::copy_from_slice(bytes))
            }
            tag::TEXT | tag::INTERNED => {
                let bytes = self.sized()?;
                self.budget.text(bytes.len())?;
                Value::from(text(bytes))
            }
            other => return Err(format!("unknown tag {:?}", char::from(other)).into()),
        })
    }

    /// The list that follows, empty but with room, and how many items it has.
    fn begin_list(&mut self) -> Result<(Vec<Value>, usize)> {
        let len = self.len()?;
        let mut items = Vec::new();
        // Each item takes a byte at least: a length beyond the end of the data takes no memory.
        self.budget.reserve(&mut items, len.min(self.rest.len()))?;
        Ok((items, len))
    }

    /// The next key of a dict, or its end.
    fn key(&mut self) -> Result<Option<String>> {
        match self.take(1)?[0] {
            tag::NULL => Ok(None),
            tag::TEXT | tag::INTERNED => Ok(Some(text(self.sized()?))),
            _ => Err("a dict has a key that is no text".into()),
        }
    }

    fn big(&mut self) -> Result<Value> {
        let count = self.int()?;
        let len = count.unsigned_abs() as usize;
        if len * DIGIT_BITS as usize > MAX_INT_BITS + DIGIT_BITS as usize {
            return Err(format!("an integer of more than {MAX_INT_BITS} bits").into());
        }
        if len > 4 {
            // Larger than 64 bits, or nearly: it is written in decimal.
            self.budget.integer(len * DIGIT_BITS as usize)?;
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
        Value::int_from_decimal(&number.to_string()).ok_or("a number is none".into())
    }

    fn sized(&mut self) -> Result<&'a [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    fn len(&mut self) -> Result<usize> {
        usize::try_from(self.int()?).map_err(|_| "a negative length".into())
    }

    fn int(&mut self) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "the data end early".into())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("the data end early")?;
        self.rest = rest;
        Ok(taken)
    }
}

/// UTF-8, but for lone surrogates, which become `?` as everywhere in Abyme.
fn text(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
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
                // A surrogate is three bytes; anything else is not from CPython, and skipped byte by byte.
                let surrogate = matches!(bad, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
                rest = &bad[if surrogate { 3 } else { 1 }..];
            }
        }
    }
    text
}

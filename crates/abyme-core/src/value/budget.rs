//! How much of the host's memory the values of one message may take.
//!
//! What a session sends is small on the wire and large on the host: two bytes of JSON become a [`Value`] of
//! some seventy. So every decoder charges what it is about to allocate, before it does.

use std::fmt;

use indexmap::IndexMap;

use super::Value;

/// What a text takes besides its bytes: the shared allocation, and what the allocator adds.
const TEXT: usize = 96;
/// What other memory of its own takes besides its bytes.
const ALLOCATION: usize = 24;
/// What an entry of a dict takes besides the bytes of its key: key, value, hash, and its share of the table.
const ENTRY: usize = size_of::<Value>() + size_of::<String>() + 32;
/// How many steps of 64 bits the writing of large integers in decimal may take, for a message. An integer
/// takes the square of its words, and this many take CPython most of a second, in which no interrupt arrives.
const MAX_DIGIT_STEPS: u64 = 1 << 28;

/// What the values of one message may still take of the host's memory.
///
/// Every backend decodes with one: see `max_message_bytes` of its configuration. A decoder grows its lists
/// and dicts through it, so that nothing is allocated that was not charged before.
///
/// ```
/// use abyme_core::value::{DecodeBudget, Value};
///
/// let mut budget = DecodeBudget::new(1 << 20);
/// let mut items = Vec::new();
/// let problem = loop {
///     if let Err(problem) = budget.push(&mut items, Value::None) {
///         break problem;
///     }
/// };
/// assert_eq!(
///     problem.to_string(),
///     "it would take more than 1 MiB of the host's memory; pass on less of it, or in parts"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct DecodeBudget {
    max_bytes: u64,
    used: u64,
    digit_steps: u64,
}

/// A message would take more than its [`DecodeBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverBudget {
    /// It would take more than so many bytes.
    Bytes(u64),
    /// Its large integers would take too long to write in decimal.
    Digits,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverBudget::Bytes(max) if *max >= 1 << 20 => {
                write!(f, "it would take more than {} MiB of the host's memory", max >> 20)
            }
            OverBudget::Bytes(max) => write!(f, "it would take more than {max} bytes of the host's memory"),
            OverBudget::Digits => f.write_str("its large integers have too many digits together"),
        }?;
        f.write_str("; pass on less of it, or in parts")
    }
}

impl std::error::Error for OverBudget {}

/// Why a message of a session is no value: what every decoder fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "each backend says for itself what follows from either")]
pub enum DecodeProblem {
    /// It would take more than its [`DecodeBudget`].
    TooLarge(OverBudget),
    /// It does not have the form of a value.
    Invalid(String),
}

impl fmt::Display for DecodeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeProblem::TooLarge(problem) => write!(f, "the value is too large to pass on: {problem}"),
            DecodeProblem::Invalid(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for DecodeProblem {}

impl From<OverBudget> for DecodeProblem {
    fn from(problem: OverBudget) -> Self {
        DecodeProblem::TooLarge(problem)
    }
}

impl From<String> for DecodeProblem {
    fn from(problem: String) -> Self {
        DecodeProblem::Invalid(problem)
    }
}

impl From<&str> for DecodeProblem {
    fn from(problem: &str) -> Self {
        DecodeProblem::Invalid(problem.to_owned())
    }
}

impl Default for DecodeBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT_MAX_BYTES)
    }
}

impl DecodeBudget {
    /// The `max_message_bytes` of every backend that was not told otherwise: 256 MiB.
    pub const DEFAULT_MAX_BYTES: u64 = 256 << 20;

    /// How many levels a message may have, as [`Value::MAX_LEVELS`] counts them: those of a value, and eight
    /// around it, for the message and its fields. A decoder refuses more.
    pub const MAX_LEVELS: usize = Value::MAX_LEVELS + 8;

    /// A budget of so many bytes of the host's memory.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, used: 0, digit_steps: 0 }
    }

    /// How many bytes were charged.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Charges memory that is about to be allocated.
    ///
    /// # Errors
    /// [`OverBudget`]; nothing is charged then.
    pub fn charge(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match self.used.checked_add(bytes as u64) {
            Some(used) if used <= self.max_bytes => {
                self.used = used;
                Ok(())
            }
            _ => Err(OverBudget::Bytes(self.max_bytes)),
        }
    }

    /// Charges a [`Text`](super::Text) of so many bytes.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn text(&mut self, len: usize) -> Result<(), OverBudget> {
        self.charge(len.saturating_add(TEXT))
    }

    /// Charges bytes, the key of a dict, or the digits of an integer, which have an allocation of their own.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn bytes(&mut self, len: usize) -> Result<(), OverBudget> {
        self.charge(len.saturating_add(ALLOCATION))
    }

    /// Charges an integer of so many bits that is about to be written in decimal, or read from it: memory and
    /// time, for both take the square of its size.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn integer(&mut self, bits: usize) -> Result<(), OverBudget> {
        let words = (bits / 64) as u64;
        let steps = self.digit_steps.saturating_add(words.saturating_mul(words));
        if steps > MAX_DIGIT_STEPS {
            return Err(OverBudget::Digits);
        }
        self.bytes(bits / 3)?;
        self.digit_steps = steps;
        Ok(())
    }

    /// Makes room for exactly so many further items.
    ///
    /// # Errors
    /// [`OverBudget`]; the list is as it was then.
    pub fn reserve(&mut self, items: &mut Vec<Value>, more: usize) -> Result<(), OverBudget> {
        let missing = more.saturating_sub(items.capacity() - items.len());
        let first = if items.capacity() == 0 && missing > 0 { ALLOCATION } else { 0 };
        self.charge(missing.saturating_mul(size_of::<Value>()).saturating_add(first))?;
        items.reserve_exact(more);
        Ok(())
    }

    /// Appends to a list whose length is not known.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn push(&mut self, items: &mut Vec<Value>, item: Value) -> Result<(), OverBudget> {
        if items.len() == items.capacity() {
            // Less than double, so that a list fits whose items do.
            self.reserve(items, (items.len() / 4).max(4))?;
        }
        items.push(item);
        Ok(())
    }

    /// Inserts an entry into a dict. The bytes of the key are charged too.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn insert(
        &mut self,
        entries: &mut IndexMap<String, Value>,
        key: String,
        value: Value,
    ) -> Result<(), OverBudget> {
        self.bytes(key.len())?;
        if entries.len() == entries.capacity() {
            let more = entries.len().max(3);
            self.charge(more.saturating_mul(ENTRY))?;
            entries.reserve_exact(more);
        }
        entries.insert(key, value);
        Ok(())
    }

    /// Charges what a value that is there already holds, without what is around it. Of what is nested deeper
    /// than any backend passes on, nothing is charged.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn value(&mut self, value: &Value) -> Result<(), OverBudget> {
        self.nested(value, 0)
    }

    fn nested(&mut self, value: &Value, depth: usize) -> Result<(), OverBudget> {
        match value {
            _ if depth > Self::MAX_LEVELS => Ok(()),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
            Value::BigInt(digits) => self.bytes(digits.len()),
            Value::Text(text) => self.text(text.len()),
            Value::Bytes(bytes) => self.bytes(bytes.len()),
            Value::List(items) => {
                let first = if items.capacity() > 0 { ALLOCATION } else { 0 };
                self.charge(items.capacity().saturating_mul(size_of::<Value>()).saturating_add(first))?;
                items.iter().try_for_each(|item| self.nested(item, depth + 1))
            }
            Value::Dict(entries) => {
                self.charge(entries.capacity().saturating_mul(ENTRY))?;
                entries.iter().try_for_each(|(key, item)| {
                    self.bytes(key.len())?;
                    self.nested(item, depth + 1)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_charged_for_what_it_allocates() {
        let (mut budget, mut items) = (DecodeBudget::new(100_000), Vec::new());
        while budget.push(&mut items, Value::Int(1)).is_ok() {}
        assert!(items.len() > 1000, "{}", items.len());
        assert_eq!(budget.used(), (items.capacity() * size_of::<Value>() + ALLOCATION) as u64);
        assert_eq!(budget.reserve(&mut items, usize::MAX), Err(OverBudget::Bytes(100_000)));
    }

    #[test]
    fn a_dict_is_charged_before_it_grows() {
        let (mut budget, mut entries) = (DecodeBudget::new(100_000), IndexMap::new());
        let mut number = 0;
        while budget.insert(&mut entries, number.to_string(), Value::None).is_ok() {
            number += 1;
        }
        assert!(entries.len() > 300, "{}", entries.len());
        let bucket = size_of::<Value>() + size_of::<String>() + size_of::<usize>();
        assert!(budget.used() >= (entries.capacity() * bucket) as u64);
        assert!(budget.used() <= 100_000);
    }

    #[test]
    fn a_value_costs_what_it_was_charged_for() {
        let mut decoding = DecodeBudget::default();
        let mut items = Vec::new();
        for text in ["a", "longer"] {
            decoding.text(text.len()).unwrap();
            decoding.push(&mut items, text.into()).unwrap();
        }
        let mut entries = IndexMap::new();
        decoding.insert(&mut entries, "key".to_owned(), Value::List(items)).unwrap();
        let mut counting = DecodeBudget::default();
        counting.value(&Value::Dict(entries)).unwrap();
        assert_eq!(counting.used(), decoding.used());
    }

    #[test]
    fn few_large_integers_fit_and_many_small_ones_do() {
        let mut budget = DecodeBudget::default();
        (0..5).for_each(|_| budget.integer(400_000).unwrap());
        let problem = (0..5).find_map(|_| budget.integer(400_000).err()).unwrap();
        assert!(problem.to_string().starts_with("its large integers have too many digits"), "{problem}");
        let mut budget = DecodeBudget::default();
        (0..100_000).for_each(|_| budget.integer(512).unwrap());
    }

    #[test]
    fn the_default_is_pinned() {
        assert_eq!(DecodeBudget::DEFAULT_MAX_BYTES, 256 << 20);
        let problem = OverBudget::Bytes(1000).to_string();
        assert!(problem.starts_with("it would take more than 1000 bytes of the host's memory;"), "{problem}");
    }
}

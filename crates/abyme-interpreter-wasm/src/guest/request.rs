//! Encodes cells for the guest.

use std::sync::Arc;

use abyme_core::{Cell, Error, ErrorKind, Result, Scope, Value};
use abyme_driver::repl::{is_large, scope_value};
use bytes::Bytes;

use crate::guest::{
    marshal::{Encoder, LongObject},
    pystr::StrLayout,
};

/// A message that the host prepared for the guest. A copy shares the data and the long objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestMessage {
    pub(crate) data: Bytes,
    pub(crate) longs: Vec<LongObject>,
    /// Whether it is a cell, whose texts are the host's for as long as the session has them.
    pub(crate) is_cell: bool,
}

impl From<Encoder> for GuestMessage {
    fn from(encoder: Encoder) -> Self {
        let (data, longs) = encoder.finish();
        Self { data: data.into(), longs, is_cell: false }
    }
}

impl GuestMessage {
    pub(crate) fn size(&self) -> i32 {
        i32::try_from(self.data.len()).unwrap_or(-1)
    }

    /// How many bytes its long objects have on the host.
    pub(crate) fn long_bytes(&self) -> u64 {
        self.longs.iter().map(|long| long.host_bytes() as u64).sum()
    }

    /// How many bytes of the host's memory it takes, long objects left out.
    pub(crate) fn own_bytes(&self) -> u64 {
        (size_of::<Self>() + self.data.len() + self.longs.len() * size_of::<LongObject>()) as u64
    }
}

/// Encodes a cell. Returns the cell too.
pub(crate) async fn request(
    cell: Cell,
    scope: Option<Arc<Scope>>,
    given: Vec<(String, u64)>,
    copied: Option<bool>,
) -> Result<(Cell, GuestMessage)> {
    let is_large = is_large(&cell);
    let encode = move || {
        let message = message(&cell, scope.as_deref(), &given, copied)?;
        Ok((cell, message))
    };
    if !is_large {
        return encode();
    }
    tokio::task::spawn_blocking(encode)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "encoding a cell was cut off").with_source(error))?
}

/// Encodes a cell for `Repl.run`.
pub(crate) fn message(
    cell: &Cell,
    scope: Option<&Scope>,
    given: &[(String, u64)],
    copied: Option<bool>,
) -> Result<GuestMessage> {
    let mut encoder = Encoder::default();
    encode(&mut encoder, cell, scope, given, copied).map_err(|problem| {
        Error::new(ErrorKind::InvalidInput, format!("the cell cannot be sent: {problem}"))
    })?;
    Ok(GuestMessage { is_cell: true, ..encoder.into() })
}

fn encode(
    encoder: &mut Encoder,
    cell: &Cell,
    scope: Option<&Scope>,
    given: &[(String, u64)],
    copied: Option<bool>,
) -> Result<(), String> {
    encoder.begin_dict();
    encoder.text("code")?;
    encoder.value(&Value::from(cell.code.as_str()))?;
    if !cell.variables.is_empty() {
        encoder.text("variables")?;
        encoder.begin_dict();
        for (name, value) in &cell.variables {
            encoder.text(name)?;
            encoder.value(value).map_err(|problem| format!("variable `{name}`: {problem}"))?;
        }
        encoder.end_dict();
    }
    if !given.is_empty() {
        encoder.text("given")?;
        encoder.begin_dict();
        for (name, number) in given {
            encoder.text(name)?;
            encoder.int(i64::try_from(*number).unwrap_or(i64::MAX))?;
        }
        encoder.end_dict();
    }
    if let Some(scope) = scope {
        encoder.text("scope")?;
        encoder.value(&scope_value(scope))?;
    }
    if !cell.reads.is_empty() {
        encoder.text("reads")?;
        encoder.begin_list(cell.reads.len())?;
        cell.reads.iter().try_for_each(|name| encoder.text(name))?;
    }
    encoder.text("max_output_chars")?;
    encoder.int(i64::try_from(cell.max_output_chars).unwrap_or(i64::MAX))?;
    if let Some(is_to_differ) = copied {
        encoder.text("copied")?;
        encoder.bool(is_to_differ);
    }
    encoder.end_dict();
    Ok(())
}

/// Whether a value cannot fit a guest with so much memory, found without encoding it.
pub(crate) fn is_too_large(value: &Value, memory_limit_bytes: u64) -> bool {
    // What a text takes is known only after reading all of it, which most need not.
    let at_most = sum(value, 0, &|text| 4 * text.len() as u64);
    at_most > memory_limit_bytes && size_in_guest(value) > memory_limit_bytes
}

/// What a value takes in the guest, a 32-bit Python, at least: with the header of each object, the places in
/// lists and dicts, and what its allocator adds.
pub(crate) fn size_in_guest(value: &Value) -> u64 {
    sum(value, 0, &|text| {
        let layout = StrLayout::of(text);
        (layout.size() + layout.width) as u64 + if layout.max_char < 0x80 { 0 } else { 8 }
    })
}

/// The sizes of all objects of a value. `text` is what a text takes besides the smallest header. What is
/// nested deeper than can be encoded is not counted.
fn sum(value: &Value, depth: usize, text: &impl Fn(&str) -> u64) -> u64 {
    let object = |bytes: usize| (bytes as u64).next_multiple_of(8);
    let inner = |item| sum(item, depth + 1, text);
    match value {
        _ if depth > Value::MAX_LEVELS => 0,
        Value::None | Value::Bool(_) => 0,
        // Small ones are shared by all of Python.
        Value::Int(-5..=256) => 0,
        Value::Int(_) | Value::Float(_) => 16,
        Value::BigInt(digits) => object(12 + digits.len() / 2),
        Value::Text(short) if short.len() < 2 => 0,
        Value::Text(long) => (20 + text(long)).next_multiple_of(8),
        Value::Bytes(bytes) => object(17 + bytes.len()),
        // A list is marked by the collector of garbage, which takes 8 bytes more.
        Value::List(items) => 32 + 4 * items.len() as u64 + items.iter().map(inner).sum::<u64>(),
        Value::Dict(entries) => {
            let values = entries.iter().map(|(key, item)| object(21 + key.len()) + inner(item));
            48 + 16 * entries.len() as u64 + values.sum::<u64>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_needs_is_counted() {
        let texts = Value::list((0..1000).map(|number| format!("text {number}")));
        assert!((36_000..40_000).contains(&size_in_guest(&texts)), "{}", size_in_guest(&texts));
        assert_eq!(size_in_guest(&Value::list(vec![0; 1000])), 4032);
        assert_eq!(size_in_guest(&Value::from("é".repeat(1000))), 1032);
        let dict = Value::dict((0..100).map(|number| (format!("key {number}"), 1.5)));
        assert!((6_000..8_500).contains(&size_in_guest(&dict)), "{}", size_in_guest(&dict));
    }
}

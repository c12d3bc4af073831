//! Encodes cells for the guest.

use std::sync::Arc;

use abyme_core::{Cell, Error, ErrorKind, Result, Scope, Value};
use abyme_driver::repl::scope_value;

use crate::guest::{
    marshal::{Encoder, LongObject},
    pystr::StrLayout,
};

/// A message that the host prepared for the guest.
#[derive(Debug, Default)]
pub(crate) struct GuestMessage {
    pub(crate) data: Vec<u8>,
    pub(crate) longs: Vec<LongObject>,
}

impl From<Encoder> for GuestMessage {
    fn from(encoder: Encoder) -> Self {
        let (data, longs) = encoder.finish();
        Self { data, longs }
    }
}

impl GuestMessage {
    pub(crate) fn size(&self) -> i32 {
        i32::try_from(self.data.len()).unwrap_or(-1)
    }
}

/// Cells whose values have up to this many bytes are encoded at once, larger ones on a thread that may block.
const INLINE: usize = 8 << 20;

/// Encodes a cell. Returns the cell too.
pub(crate) async fn request(
    cell: Cell,
    scope: Option<Arc<Scope>>,
    reseed: bool,
) -> Result<(Cell, GuestMessage)> {
    let large = cell.variables.iter().map(|(_, value)| sum(value, &str::len)).sum::<usize>() > INLINE;
    let encode = move || {
        let message = message(&cell, scope.as_deref(), reseed)?;
        Ok((cell, message))
    };
    if !large {
        return encode();
    }
    tokio::task::spawn_blocking(encode)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "encoding a cell was cut off").with_source(error))?
}

/// Encodes a cell for `Repl.run`.
pub(crate) fn message(cell: &Cell, scope: Option<&Scope>, reseed: bool) -> Result<GuestMessage> {
    let mut encoder = Encoder::default();
    encode(&mut encoder, cell, scope, reseed).map_err(|problem| {
        Error::new(ErrorKind::InvalidInput, format!("the cell cannot be sent: {problem}"))
    })?;
    Ok(encoder.into())
}

fn encode(encoder: &mut Encoder, cell: &Cell, scope: Option<&Scope>, reseed: bool) -> Result<(), String> {
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
    if reseed {
        encoder.text("reseed")?;
        encoder.bool(true);
    }
    encoder.end_dict();
    Ok(())
}

/// About how many bytes a value takes in the guest.
pub(crate) fn size(value: &Value) -> usize {
    sum(value, &|text| StrLayout::of(text).size())
}

/// The bytes of all text and bytes in a value, each text counted by `text_size`.
fn sum(value: &Value, text_size: &impl Fn(&str) -> usize) -> usize {
    match value {
        Value::Text(text) => text_size(text),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(|item| sum(item, text_size)).sum(),
        Value::Dict(entries) => entries.values().map(|item| sum(item, text_size)).sum(),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => 0,
    }
}

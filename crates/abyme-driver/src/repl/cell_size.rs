//! How much work it is to encode a cell for a session.

use abyme_core::{Cell, Value};

/// Cells whose values have up to this many bytes are encoded at once, larger ones on a thread that may block.
const ENCODED_AT_ONCE: usize = 8 << 20;

/// Whether encoding the variables of a cell takes so long that it belongs on a thread that may block.
pub fn is_large(cell: &Cell) -> bool {
    cell.variables.iter().map(|(_, value)| work(value, 0)).sum::<usize>() > ENCODED_AT_ONCE
}

/// How much work it is to encode a value, in bytes of text: large integers take the square of their size.
/// What is nested deeper than can be encoded is no work.
fn work(value: &Value, depth: usize) -> usize {
    let inner = |item| work(item, depth + 1);
    match value {
        _ if depth > Value::MAX_LEVELS => 0,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::BigInt(digits) => digits.len() * digits.len() / 4096,
        Value::List(items) => items.len() * 8 + items.iter().map(inner).sum::<usize>(),
        Value::Dict(entries) => entries.len() * 16 + entries.values().map(inner).sum::<usize>(),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
    }
}

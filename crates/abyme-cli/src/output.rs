//! What `abyme run` and `abyme chat` print of an answer.

use std::path::Path;

use abyme::{Difference, Event, Ledger, Prediction, Value};
use indexmap::IndexMap;

use crate::{
    json::{self, NonFinite},
    terminal::escape,
};

/// One output as its text; several as `name: value` lines.
pub(crate) fn plain(outputs: &IndexMap<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in outputs {
        if outputs.len() > 1 {
            text.push_str(name);
            text.push_str(": ");
        }
        match value {
            Value::Text(value) => text.push_str(&escape(value)),
            value => json::write(&mut text, value, NonFinite::Text),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// Everything as one JSON object, on one line.
pub(crate) fn object(
    prediction: &Prediction,
    seconds: f64,
    interpreter: &str,
    trace: Option<&Path>,
) -> String {
    line(fields(prediction, seconds, interpreter, trace))
}

/// The fields of the object.
pub(crate) fn fields(
    prediction: &Prediction,
    seconds: f64,
    interpreter: &str,
    trace: Option<&Path>,
) -> IndexMap<String, Value> {
    // Children end before the run does, and their events are among its own.
    let trajectory = prediction.trajectory();
    let own = trajectory.records().filter(|record| record.run == trajectory.run());
    let turns = own.filter_map(|record| match &record.event {
        Event::RunFinished { turns, .. } => Some(*turns),
        _ => None,
    });
    // A usage that cannot be written would be a bug; the answer counts more than that.
    let usage = Value::from_serialize(prediction.usage()).unwrap_or_default();
    let Ledger { by_model, by_depth, by_turn, .. } = trajectory.ledger();
    let ledger = [
        ("by_model".to_owned(), Value::from_serialize(&by_model).unwrap_or_default()),
        ("by_depth".to_owned(), Value::from_serialize(&by_depth).unwrap_or_default()),
        ("by_turn".to_owned(), Value::from_serialize(&by_turn).unwrap_or_default()),
    ];
    let mut fields = IndexMap::from([
        ("outputs".to_owned(), Value::Dict(prediction.outputs().clone())),
        ("status".to_owned(), prediction.status().to_string().into()),
        ("turns".to_owned(), i64::from(turns.last().unwrap_or_default()).into()),
        ("usage".to_owned(), usage),
        ("ledger".to_owned(), Value::Dict(IndexMap::from(ledger))),
        ("seconds".to_owned(), ((seconds * 1e6).round() / 1e6).into()),
        ("interpreter".to_owned(), interpreter.into()),
    ]);
    if let Some(left) = prediction.difference() {
        fields.insert("difference".to_owned(), difference(left));
    }
    if let Some(path) = trace {
        fields.insert("trace".to_owned(), path.to_string_lossy().into_owned().into());
    }
    fields
}

/// What differs from a record, with both sides.
pub(crate) fn difference(difference: &Difference) -> Value {
    Value::from_serialize(difference).unwrap_or_default()
}

/// An object on one line.
pub(crate) fn line(fields: IndexMap<String, Value>) -> String {
    json::strict(&Value::Dict(fields)) + "\n"
}

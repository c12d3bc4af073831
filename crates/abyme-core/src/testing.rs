//! A model and an interpreter that follow a script, for tests without a key or a Python.

mod interpreter;
mod model;

pub use self::{
    interpreter::{ScriptedFactory, ScriptedInterpreter},
    model::ScriptedModel,
};

/// Reserves and settles so many sub-calls of `model` in a budget with every limit, two levels below its root:
/// what the bookkeeping of a sub-call costs, for benchmarks.
#[cfg(feature = "testing")]
pub fn book_sub_calls(model: &dyn crate::model::LanguageModel, count: u32) {
    crate::rlm::round_trips(model, count);
}

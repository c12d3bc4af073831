//! Signatures: the typed inputs and outputs of a task, with its instructions.
//!
//! The string form is DSPy's: `"docs, query -> modules: list[str], total: int"`. Types are Python
//! annotations, since Python is what the model writes.

mod coerce;
mod constraint;
mod described;
mod field;
mod inputs;
mod outputs;
mod parse;
mod scalar;
mod schema;
mod suggest;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use self::described::{merged, requires};
pub use self::{
    coerce::CoerceError,
    constraint::{Constraint, Measure, Pattern},
    described::DescribedType,
    field::{Field, FieldType, RecordField},
    outputs::{OutputErrors, OutputProblem},
    task::{IntoSignature, Signature, TaskSignature, Untyped},
};

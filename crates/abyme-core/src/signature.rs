//! Signatures: the typed inputs and outputs of a task, with its instructions.
//!
//! | written as | for | inputs and outputs |
//! |---|---|---|
//! | a struct with [`#[derive(Signature)]`](macro@crate::Signature) | programs | Rust types |
//! | a text: `"docs, query -> modules: list[str], total: int"` | a few lines | by name |
//! | a [`TaskSignature`] | what is put together at run time | by name |
//!
//! The text is DSPy's. Types are Python annotations, since Python is what the model writes; that is how Rust
//! types are shown too. [`signature!`](macro@crate::signature) checks a text while compiling.
//!
//! # What a model may submit
//! A submission is converted to the declared types ([`FieldType::coerce`]), held to their constraints
//! ([`Constraint`]), read by `serde`, and shown to the checks. The first problem of each output goes back to
//! the model, with the place inside of the value:
//! `output "modules": at [3]["name"]: expected str (not empty), got str ''`. Constraints and checks are told
//! to the model before it starts.
//!
//! # Types at run time
//! [`DescribedType::parse`] reads a type from an annotation, a dict of types, or a JSON Schema.

mod coerce;
mod constraint;
mod date_time;
#[doc(hidden)]
pub mod derived;
mod described;
mod field;
mod inputs;
mod objects;
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

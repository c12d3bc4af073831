//! What a run ends in.

use indexmap::IndexMap;
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};

use crate::{
    error::{Error, ErrorKind, Result},
    model::Usage,
    status::Status,
    trajectory::{Difference, Trajectory},
    value::Value,
};

/// What a run ends in: its outputs, how they came about, and the record of it all.
///
/// From a typed signature ([`Rlm::of`](crate::Rlm::of)), `output` is a struct with a field for each output.
/// Otherwise it holds the values by name, and [`get`](Self::get) reads one as a Rust type.
///
/// `serde` writes an object with `status`, `outputs`, `turns` and `usage`. The outputs are plain JSON
/// ([`Value::to_json`]); the record is written by [`Trajectory::to_jsonl`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prediction<O = IndexMap<String, Value>> {
    /// The outputs.
    pub output: O,
    outputs: IndexMap<String, Value>,
    status: Status,
    usage: Usage,
    trajectory: Trajectory,
    difference: Option<Difference>,
}

impl Prediction<()> {
    pub(super) fn new(
        outputs: IndexMap<String, Value>,
        status: Status,
        usage: Usage,
        trajectory: Trajectory,
    ) -> Self {
        Self { output: (), outputs, status, usage, trajectory, difference: None }
    }

    pub(super) fn with_difference(self, difference: Option<Difference>) -> Self {
        Self { difference, ..self }
    }

    /// The same with the outputs as an `O`.
    ///
    /// # Errors
    /// [`ErrorKind::OutputType`] if they are none. They are, where [`outputs_as`] checked every submission.
    ///
    /// [`outputs_as`]: crate::TaskSignature::outputs_as
    pub(super) fn typed<O: DeserializeOwned>(self) -> Result<Prediction<O>> {
        let Self { output: (), outputs, status, usage, trajectory, difference } = self;
        let whole = Value::Dict(outputs);
        let output = whole.to()?;
        let outputs = match whole {
            Value::Dict(outputs) => outputs,
            _ => IndexMap::new(),
        };
        Ok(Prediction { output, outputs, status, usage, trajectory, difference })
    }
}

impl<O> Prediction<O> {
    /// Reads one output.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the signature has no output of that name, [`ErrorKind::OutputType`] if
    /// it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self.outputs.get(name).ok_or_else(|| {
            let names: Vec<_> = self.outputs.keys().map(|name| format!("`{name}`")).collect();
            Error::new(ErrorKind::InvalidInput, format!("no output `{name}`; there is {}", names.join(", ")))
        })?;
        value.to().map_err(|error| error.context(format!("output `{name}`")))
    }

    /// Reads all outputs into a struct with a field for each.
    ///
    /// # Errors
    /// [`ErrorKind::OutputType`] if they do not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        Value::Dict(self.outputs.clone()).to()
    }

    /// The outputs by name, in the signature's order.
    pub fn outputs(&self) -> &IndexMap<String, Value> {
        &self.outputs
    }

    /// How the run ended.
    pub fn status(&self) -> Status {
        self.status
    }

    /// How many turns the run took.
    pub fn turns(&self) -> usize {
        self.trajectory.turns().len()
    }

    /// What the run used, sub-calls included.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// For a replay that [went on live](crate::Run::live): where it left its record.
    pub fn difference(&self) -> Option<&Difference> {
        self.difference.as_ref()
    }

    /// The complete record of the run.
    pub fn trajectory(&self) -> &Trajectory {
        &self.trajectory
    }
}

impl<O> Serialize for Prediction<O> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outputs: serde_json::Map<_, _> =
            self.outputs.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        let mut object = serializer.serialize_struct("Prediction", 4)?;
        object.serialize_field("status", &self.status)?;
        object.serialize_field("outputs", &outputs)?;
        object.serialize_field("turns", &self.turns())?;
        object.serialize_field("usage", &self.usage)?;
        object.end()
    }
}

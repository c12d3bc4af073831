//! What a run ends in.

use indexmap::IndexMap;
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};

use crate::{
    error::{Error, ErrorKind, Result},
    model::Usage,
    status::Status,
    trajectory::Trajectory,
    value::Value,
};

/// What a run ends in: typed outputs, how they came about, and the record of it all.
///
/// `serde` writes an object with `status`, `outputs`, `turns` and `usage`. The outputs are plain JSON
/// ([`Value::to_json`]); the record is written by [`Trajectory::to_jsonl`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prediction {
    outputs: IndexMap<String, Value>,
    status: Status,
    usage: Usage,
    trajectory: Trajectory,
}

impl Prediction {
    pub(crate) fn new(
        outputs: IndexMap<String, Value>,
        status: Status,
        usage: Usage,
        trajectory: Trajectory,
    ) -> Self {
        Self { outputs, status, usage, trajectory }
    }

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
    pub fn output<T: DeserializeOwned>(&self) -> Result<T> {
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

    /// What the run used, sub-calls included.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The complete record of the run.
    pub fn trajectory(&self) -> &Trajectory {
        &self.trajectory
    }
}

impl Serialize for Prediction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outputs: serde_json::Map<_, _> =
            self.outputs.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        let mut object = serializer.serialize_struct("Prediction", 4)?;
        object.serialize_field("status", &self.status)?;
        object.serialize_field("outputs", &outputs)?;
        object.serialize_field("turns", &self.trajectory.turns().len())?;
        object.serialize_field("usage", &self.usage)?;
        object.end()
    }
}

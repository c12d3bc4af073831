//! One input or output.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FieldType;

/// One input or output of a signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    name: String,
    /// `None` where the signature gives no type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    ty: Option<FieldType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl Field {
    /// A field of a type.
    pub fn new(name: impl Into<String>, ty: FieldType) -> Self {
        Self { name: name.into(), ty: Some(ty), description: None }
    }

    /// A field whose type was not said: an output is a `str`, an input takes any value.
    pub fn untyped(name: impl Into<String>) -> Self {
        Self { name: name.into(), ty: None, description: None }
    }

    /// Says in words what the field is.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.set_description(description.into());
        self
    }

    pub(super) fn set_description(&mut self, description: String) {
        self.description = Some(description);
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type; `str` where none was said, as in DSPy.
    pub fn ty(&self) -> &FieldType {
        self.ty.as_ref().unwrap_or(&FieldType::Str)
    }

    /// Whether the signature said the type.
    pub fn has_explicit_type(&self) -> bool {
        self.ty.is_some()
    }

    /// What the field is, in words.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The same field with its type in the form that the parser gives.
    pub(super) fn normalized(self) -> Result<Self, String> {
        Ok(Self { ty: self.ty.map(FieldType::normalized).transpose()?, ..self })
    }
}

/// As in the string form of a signature: `name` or `name: type`.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.ty {
            Some(ty) => write!(f, ": {ty}"),
            None => Ok(()),
        }
    }
}

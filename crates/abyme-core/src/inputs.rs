//! The inputs of a run, by name.

use indexmap::IndexMap;

use crate::value::Value;

/// The inputs of a run, by name, in the order in which the model is told of them.
///
/// The signature decides which type an input has in the session: where it says `q: str`, the number `3` goes
/// in as the text `"3"`, and where it says `n: int`, the text `"3"` as a number. What cannot be converted
/// without loss ends the run before it starts; see [`FieldType::coerce`](crate::FieldType::coerce). An input
/// without a type goes in as it is.
///
/// ```
/// use abyme_core::{Text, inputs};
///
/// let inputs = inputs! { docs: Text::from("a very long text"), query: "which modules?" };
/// assert_eq!(inputs.names().collect::<Vec<_>>(), ["docs", "query"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    values: IndexMap<String, Value>,
}

impl Inputs {
    /// No inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input, replacing one of that name.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Names and values, as a dict.
    pub(crate) fn entries(&self) -> &IndexMap<String, Value> {
        &self.values
    }

    /// The value of an input.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Inputs {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        Self { values: entries.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// Builds [`Inputs`](crate::Inputs) from `name: value` pairs. A value is anything that converts into a
/// [`Value`](crate::Value); the signature of the run decides which type it has in the session, so that an
/// `int` for an input declared `str` becomes its text.
#[macro_export]
macro_rules! inputs {
    ($($name:ident : $value:expr),* $(,)?) => {
        $crate::Inputs::new()$(.with(stringify!($name), $value))*
    };
}

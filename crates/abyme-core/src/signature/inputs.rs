//! Checks inputs before a run starts.

use super::{coerce::CoerceError, field::Field, suggest::did_you_mean, task::TaskSignature};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    names::ticked,
    value::Value,
};

#[cfg(test)]
mod tests;

impl TaskSignature {
    /// Whether these are the names of all inputs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with all missing and all unknown names at once, and the signature.
    pub fn check_inputs<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<()> {
        let given: Vec<N> = names.into_iter().collect();
        let is_given = |name: &str| given.iter().any(|other| other.as_ref() == name);
        let missing: Vec<&str> =
            self.inputs().iter().map(Field::name).filter(|name| !is_given(name)).collect();
        let unknown: Vec<&str> =
            given.iter().map(AsRef::as_ref).filter(|name| self.input(name).is_none()).collect();
        let mut problems = Vec::new();
        if !missing.is_empty() {
            problems.push(format!(
                "missing {}: {}",
                plural(missing.len()),
                list(missing.iter().map(|name| ticked(name)))
            ));
        }
        if !unknown.is_empty() {
            let candidates =
                if missing.is_empty() { self.inputs().iter().map(Field::name).collect() } else { missing };
            let named = unknown
                .iter()
                .map(|name| format!("{}{}", ticked(name), did_you_mean(name, candidates.iter().copied())));
            problems.push(format!("unknown {}: {}", plural(unknown.len()), list(named)));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let message = format!("{}; the signature is `{self}`", problems.join("; "));
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// All inputs as their declared types, in the signature's order.
    pub(crate) fn checked_inputs(&self, inputs: &Inputs) -> Result<Inputs> {
        self.check_inputs(inputs.names())?;
        let coerced = self.inputs().iter().filter_map(|field| {
            let value = inputs.get(field.name())?.clone();
            Some(self.coerce_input(field.name(), value).map(|value| (field.name().to_owned(), value)))
        });
        let coerced: Inputs = coerced.collect::<Result<_>>()?;
        if let Some((name, _)) =
            coerced.iter().find(|(_, value)| value.has_more_levels_than(Value::MAX_LEVELS))
        {
            let message = format!("input `{name}` is nested more than {} levels deep", Value::MAX_LEVELS);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(coerced)
    }

    /// The input as its declared type, so that the session holds what the signature says: `"3"` becomes `3`
    /// for an `int`. See [`FieldType::coerce`](super::FieldType::coerce) for what is converted. An input
    /// without a declared type takes any value, and one that a Rust type made stays as it is, but for how its
    /// dates and times are written.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], saying what was expected and what came; also if there is no such input.
    pub fn coerce_input(&self, name: &str, value: Value) -> Result<Value> {
        match self.declared(name)? {
            field if !field.has_explicit_type() => Ok(value),
            // Crates for dates write what Python reads, but not always as Python 3.9 reads it.
            field if field.is_typed_input() && field.ty().objects().is_some() => {
                Ok(field.ty().coerce(value.clone()).unwrap_or(value))
            }
            field if field.is_typed_input() => Ok(value),
            field => field.ty().coerce(value).map_err(|error| misfit(name, error)),
        }
    }

    fn declared(&self, name: &str) -> Result<&Field> {
        self.input(name).ok_or_else(|| {
            let near = did_you_mean(name, self.inputs().iter().map(Field::name));
            let message = format!("unknown input {}{near}; the signature is `{self}`", ticked(name));
            Error::new(ErrorKind::InvalidInput, message)
        })
    }
}

fn misfit(name: &str, error: CoerceError) -> Error {
    // The advice is about submissions, so it is left to the model's side.
    let place = if error.path().is_empty() { String::new() } else { format!("at {}: ", error.path()) };
    let message = format!("input `{name}`: {place}expected {}, got {}", error.expected(), error.got());
    Error::new(ErrorKind::InvalidInput, message)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "input" } else { "inputs" }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

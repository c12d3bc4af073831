//! Reads the arguments of the built-in host functions.

use crate::{
    interpreter::{HostCall, HostError},
    value::{Text, Value},
};

/// An argument, where one was given.
pub(in crate::rlm) fn given<'c>(call: &'c HostCall, parameter: &str) -> Option<&'c Value> {
    call.kwargs.get(parameter).filter(|value| !value.is_none())
}

/// A required list of texts.
pub(in crate::rlm) fn texts<'c>(call: &'c HostCall, parameter: &str) -> Result<Vec<&'c Text>, HostError> {
    // A text is a sequence too: taken for a list it would become one call for each of its characters.
    let items = match call.kwargs.get(parameter) {
        Some(Value::List(items)) => items,
        other => return Err(wrong_argument(&call.name, parameter, "a list of str", other)),
    };
    let texts = items.iter().enumerate().map(|(index, item)| match item {
        Value::Text(text) => Ok(text),
        other => {
            let (function, given) = (&call.name, other.type_name());
            let message =
                format!("{function}() needs a list of str, but {parameter}[{index}] is of type {given}");
            Err(HostError::type_error(message))
        }
    });
    texts.collect()
}

/// The name of a model, where one was given.
pub(in crate::rlm) fn model(call: &HostCall) -> Result<Option<&str>, HostError> {
    match call.kwargs.get("model") {
        None | Some(Value::None) => Ok(None),
        Some(Value::Text(name)) => Ok(Some(name.as_str())),
        other => Err(wrong_argument(&call.name, "model", "a model's name", other)),
    }
}

pub(in crate::rlm) fn check_prompt(prompt: &str) -> Result<(), HostError> {
    match prompt.trim() {
        "" => Err(HostError::value_error("the prompt is empty")),
        _ => Ok(()),
    }
}

pub(in crate::rlm) fn wrong_argument(
    function: &str,
    parameter: &str,
    needed: &str,
    given: Option<&Value>,
) -> HostError {
    let given = given.map_or("nothing", Value::type_name);
    HostError::type_error(format!("{function}() needs {needed} as `{parameter}`, not {given}"))
}

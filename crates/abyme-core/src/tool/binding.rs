//! The arguments of a call, checked on the host.
//!
//! Python's own signature of a tool checks them first. A cell owns its side of the channel, so a call can
//! come with any arguments.

use indexmap::IndexMap;

use crate::{
    interpreter::{HostCall, HostError, ParameterKind, ParameterSpec},
    names,
    signature::FieldType,
    value::Value,
};

/// The arguments of a call by name, with the defaults of those that it leaves out. What `*args` took comes
/// under its name.
///
/// # Errors
/// `TypeError` for an argument that no parameter takes, and for a parameter that has none.
pub(super) fn bound(
    name: &str,
    parameters: &[ParameterSpec],
    call: HostCall,
) -> Result<IndexMap<String, Value>, HostError> {
    let HostCall { args, mut kwargs, .. } = call;
    let wrong = |what: String| HostError::type_error(format!("{name}() {what}"));
    let of_kind = |kind| parameters.iter().find(move |one| one.kind == kind);
    let takes_any = of_kind(ParameterKind::VarKeyword).is_some();
    let by_name = || {
        let is_named = |kind| matches!(kind, ParameterKind::PositionalOrKeyword | ParameterKind::KeywordOnly);
        parameters.iter().filter(move |one| is_named(one.kind))
    };
    let is_taken = |given: &str| by_name().any(|one| one.name == given);
    if let Some(unknown) = kwargs.keys().find(|given| !takes_any && !is_taken(given)) {
        return Err(wrong(format!("got an unexpected keyword argument {}", names::ticked(unknown))));
    }
    match of_kind(ParameterKind::VarPositional) {
        Some(parameter) => {
            kwargs.insert(parameter.name.clone(), Value::List(args));
        }
        None if !args.is_empty() => {
            return Err(wrong(format!("takes its arguments by name, and got {} without one", args.len())));
        }
        None => {}
    }
    for parameter in by_name() {
        if kwargs.contains_key(&parameter.name) {
            continue;
        }
        let missing = || wrong(format!("misses the argument `{}`", parameter.name));
        let default = parameter.default.clone().ok_or_else(missing)?;
        kwargs.insert(parameter.name.clone(), default);
    }
    Ok(kwargs)
}

/// Brings arguments to the types that the schema of their tool gives them.
///
/// # Errors
/// `TypeError` with the place of the first that does not fit.
pub(super) fn typed(
    types: &[(String, FieldType)],
    mut arguments: IndexMap<String, Value>,
) -> Result<IndexMap<String, Value>, HostError> {
    for (name, ty) in types {
        let Some(value) = arguments.get_mut(name) else { continue };
        *value = ty.coerce(std::mem::take(value)).map_err(|error| {
            let (path, expected, got) = (error.path(), error.expected(), error.got());
            HostError::type_error(format!("at {name}{path}: expected {expected}, got {got}"))
        })?;
    }
    Ok(arguments)
}

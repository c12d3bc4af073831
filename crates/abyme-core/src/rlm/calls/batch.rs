//! What a batch of calls returns: results in the order of the calls, and words about those that failed.

use super::arguments::given;
use crate::{
    interpreter::{HostCall, HostError},
    value::Value,
};

/// What a batch does about the prompts that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rlm) enum OnError {
    /// Each has a place in what it returns.
    Return,
    /// It raises once all have ended.
    Raise,
}

/// What a batch does about the prompts that fail.
pub(in crate::rlm) fn on_error(call: &HostCall) -> Result<OnError, HostError> {
    match given(call, "on_error") {
        None => Ok(OnError::Return),
        Some(Value::Text(word)) if word.as_str() == "return" => Ok(OnError::Return),
        Some(Value::Text(word)) if word.as_str() == "raise" => Ok(OnError::Raise),
        Some(other) => {
            let message = format!(
                "{}() needs \"return\" or \"raise\" as `on_error`, not {}",
                call.name,
                other.repr(60)
            );
            Err(HostError::value_error(message))
        }
    }
}

/// What a batch returns whose calls gave these results, and a note for the model beside it.
///
/// A call that failed leaves a text in its place that begins with `[ERROR]`, or `None` where the results have
/// a type: a text would be taken for one of them, and a loop over it goes over characters.
pub(in crate::rlm) fn returned(
    function: &str,
    parameter: &str,
    results: Vec<Result<Value, HostError>>,
    is_typed: bool,
    on_error: OnError,
) -> Result<(Value, Option<String>), HostError> {
    let failures: Vec<_> =
        results.iter().enumerate().filter_map(|(at, result)| Some((at, result.as_ref().err()?))).collect();
    let mut note = None;
    if let [(_, first), ..] = failures[..] {
        let (told, failed, total) = (told(parameter, &failures), failures.len(), results.len());
        if on_error == OnError::Raise {
            let same = failures.iter().all(|(_, error)| error.type_name == first.type_name);
            let type_name = if same { first.type_name.as_str() } else { "RuntimeError" };
            let worked = total - failed;
            let message = format!(
                "{failed} of {total} prompts failed, {worked} worked: {told}. With on_error=\"return\" the \
                 replies of those that worked are returned."
            );
            return Err(HostError::new(type_name, message));
        }
        if is_typed {
            note = Some(format!("({function}: {failed} of {total} prompts failed and gave None: {told})"));
        }
    }
    let results = results.into_iter().map(|result| match result {
        Ok(value) => value,
        Err(_) if is_typed => Value::None,
        Err(error) => format!("[ERROR] {}", error.message).into(),
    });
    Ok((Value::list(results), note))
}

/// Which places of a batch failed and why, each reason once: `prompts[0], [2]: the model refused`.
fn told(parameter: &str, failures: &[(usize, &HostError)]) -> String {
    let mut reasons: Vec<(&str, Vec<usize>)> = Vec::new();
    for (at, error) in failures {
        match reasons.iter_mut().find(|(reason, _)| *reason == error.message) {
            Some((_, places)) => places.push(*at),
            None => reasons.push((&error.message, vec![*at])),
        }
    }
    let reasons = reasons.into_iter().map(|(reason, places)| {
        let places: Vec<_> = places.iter().map(|at| format!("[{at}]")).collect();
        format!("{parameter}{}: {reason}", places.join(", "))
    });
    reasons.collect::<Vec<_>>().join("; ")
}

//! The outputs as a reply to the extract call gives them: JSON, a Python dict, or prose.

use abyme_python_syntax::{Reply, parse_reply, submitted_literals, visible_text};
use indexmap::IndexMap;

use super::calls::reply_values::last_dict;
use crate::{
    model::{FinishReason, Response},
    prompt,
    signature::TaskSignature,
    value::Value,
};

/// Reads the outputs from the reply to an extract call. Fails with what does not fit, for the model to read.
pub(super) fn read_outputs(
    signature: &TaskSignature,
    response: &Response,
) -> Result<IndexMap<String, Value>, String> {
    // An object of the outputs is what was asked for, also where a turn would have found code in it.
    if let Some(fields) = last_dict(&visible_text(&response.text))
        && let Ok(outputs) = signature.coerce_outputs(arguments(signature, fields))
    {
        return Ok(outputs);
    }
    let (text, is_prose) = match parse_reply(&response.text) {
        Reply::Text(text) if text.trim().is_empty() => match &response.native_call {
            // After many turns with functions of its own, a model may hand the outputs to one.
            Some(call) => (call.arguments.clone(), false),
            None => (String::new(), false),
        },
        Reply::Text(text) | Reply::OtherLanguage { text, .. } => (text, true),
        Reply::Markup { text, .. } => (text, false),
        // Nothing runs any more, but a submission that is spelled out says what the outputs are.
        Reply::Code { reasoning, code, .. } => match submitted(signature, &code) {
            Some(outputs) => return outputs,
            None => (format!("{reasoning}\n{code}"), false),
        },
    };
    let is_whole = !matches!(response.finish_reason, FinishReason::Length | FinishReason::ContentFilter);
    match last_dict(&text) {
        Some(fields) => {
            let fields = arguments(signature, fields);
            signature.coerce_outputs(fields).map_err(|problems| problems.to_string())
        }
        None if is_prose && is_whole && prompt::takes_prose(signature) && !text.trim().is_empty() => {
            signature.coerce_single(Value::from(text.trim())).map_err(|problems| problems.to_string())
        }
        None => Err("the reply holds no JSON object".to_owned()),
    }
}

/// The arguments of a call such as `{"name": "SUBMIT", "arguments": {...}}`, which mean the outputs; any
/// other object as it is.
fn arguments(signature: &TaskSignature, mut fields: IndexMap<String, Value>) -> IndexMap<String, Value> {
    let is_output = |name: &str| signature.outputs().iter().any(|field| field.name() == name);
    if fields.keys().any(|name| is_output(name)) || !fields.contains_key("name") {
        return fields;
    }
    let inner = ["arguments", "parameters"].iter().find_map(|name| fields.shift_remove(*name));
    match inner {
        Some(Value::Dict(inner)) => inner,
        _ => fields,
    }
}

/// The outputs of `SUBMIT(...)` and its kind, if its arguments are literals.
fn submitted(signature: &TaskSignature, code: &str) -> Option<Result<IndexMap<String, Value>, String>> {
    let mut fields = IndexMap::new();
    let mut values = Vec::new();
    for (name, literal) in submitted_literals(code)? {
        let value = Value::parse_literal(&literal)?;
        match name {
            Some(name) => drop(fields.insert(name, value)),
            None => values.push(value),
        }
    }
    let outputs = match <[Value; 1]>::try_from(values) {
        Ok([value]) if fields.is_empty() => signature.coerce_single(value),
        values => {
            let values = values.map_or_else(|values| values, Vec::from);
            let names = signature.outputs().iter().map(|field| field.name().to_owned());
            fields.extend(names.zip(values));
            signature.coerce_outputs(fields)
        }
    };
    Some(outputs.map_err(|problems| problems.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_look_like_a_cell_are_outputs() {
        let signature: TaskSignature = "q -> reasoning, code".parse().unwrap();
        let reply = Response::new("{\"reasoning\": \"r\", \"code\": \"print(1)\"}");
        let outputs = read_outputs(&signature, &reply).unwrap();
        assert_eq!(outputs["code"], Value::from("print(1)"));
    }
}

//! The outputs as a reply to the extract call gives them: JSON, a Python dict, or prose.

use abyme_python_syntax::{Reply, parse_reply};
use indexmap::IndexMap;

use crate::{
    prompt,
    signature::{FieldType, TaskSignature},
    value::Value,
};

/// Opening braces of a reply that are looked at.
const MAX_OBJECTS: usize = 200;

/// Reads the outputs from the reply to an extract call. Fails with what does not fit, for the model to read.
pub(super) fn read_outputs(signature: &TaskSignature, text: &str) -> Result<IndexMap<String, Value>, String> {
    let (text, is_prose) = match parse_reply(text) {
        Reply::Text(visible) | Reply::OtherLanguage { text: visible, .. } => (visible, true),
        // Code is no answer, but a dict in it may be one.
        Reply::Code { reasoning, code, .. } => (format!("{reasoning}\n{code}"), false),
    };
    match last_object(&text).or_else(|| python_dict(&text)) {
        Some(fields) => signature.coerce_outputs(fields).map_err(|problems| problems.to_string()),
        None if is_prose && prompt::takes_prose(signature) && !text.trim().is_empty() => {
            signature.coerce_single(Value::from(text.trim())).map_err(|problems| problems.to_string())
        }
        None => Err("the reply holds no JSON object".to_owned()),
    }
}

/// The last JSON object in a text, fenced or not. Models may show an example or a draft before it.
fn last_object(text: &str) -> Option<IndexMap<String, Value>> {
    let (mut last, mut text) = (None, text);
    for _ in 0..MAX_OBJECTS {
        let Some(start) = text.find('{') else { break };
        text = &text[start..];
        let mut objects = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
        let length = match objects.next() {
            Some(Ok(_)) => objects.byte_offset(),
            _ => 0,
        };
        if let Ok(Value::Dict(fields)) = Value::parse_json(&text[..length]) {
            last = Some(fields);
        }
        text = &text[length.max(1)..];
    }
    last
}

/// The outermost braces of a text as a Python dict, which models write as readily as JSON.
fn python_dict(text: &str) -> Option<IndexMap<String, Value>> {
    let braces = text.get(text.find('{')?..=text.rfind('}')?)?;
    match FieldType::dict(FieldType::Str, FieldType::Any).coerce(Value::from(braces)) {
        Ok(Value::Dict(fields)) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_counts() {
        let text = "Like {\"a\": 1}? No {braces}:\n\
                    ```json\n{\"a\": {\"b\": 2}, \"c\": 123456789012345678901234567890}\n```\n";
        let fields = last_object(text).unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(fields["c"], Value::BigInt("123456789012345678901234567890".into()));
        assert_eq!(last_object("no { object"), None);
        assert_eq!(python_dict("So: {'a': None, 'b': 2,}").unwrap()["a"], Value::None);
        assert_eq!(python_dict("no } { dict"), None);
    }
}

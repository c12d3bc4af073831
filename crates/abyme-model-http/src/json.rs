//! JSON as servers write it.

use abyme_core::Result;
use serde_json::Value;

/// The JSON in a body. A half of a surrogate pair, which Rust cannot hold and some servers write, becomes a
/// `?`, as everywhere in Abyme.
///
/// # Errors
/// `InvalidInput` if it is none.
pub fn json(body: &str) -> Result<Value> {
    match serde_json::from_str(body) {
        Ok(value) => Ok(value),
        // The reader of values takes what Python writes, and its errors say what was expected.
        Err(_) => abyme_core::Value::parse_json(body).map(|value| value.to_json()),
    }
}

/// A count, however it is written. Above 2^53 it is no count of tokens.
pub fn count(value: &Value) -> Option<u64> {
    number(value).filter(|number| number.fract() == 0.0 && *number < 9e15).map(|number| number as u64)
}

/// A number that is not negative, however it is written.
pub fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// A value as a text: what is no text is written as JSON, `null` is empty.
pub fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_is_a_question_mark() {
        assert_eq!(json(r#"{"a": "x\ud83d"}"#).unwrap(), value!({"a": "x?"}));
        assert_eq!(json(r#"{"a": "\ud83d\ude00 \udc00\ud83dy"}"#).unwrap(), value!({"a": "😀 ??y"}));
        assert!(json(r#"{"a": "\ud83"}"#).is_err());
    }

    #[test]
    fn absurd_counts_are_unknown() {
        assert_eq!(count(&value!("12")), Some(12));
        for absurd in [value!(1e300), value!(-1), value!(1.5), value!("NaN"), value!([]), value!(null)] {
            assert_eq!(count(&absurd), None, "{absurd}");
        }
    }
}

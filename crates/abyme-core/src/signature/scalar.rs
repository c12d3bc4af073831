//! Conversions to simple types: what Python's own constructors and pydantic's lax mode take, as far as
//! nothing is lost.

use std::borrow::Cow;

use super::suggest;
use crate::value::{Value, float_repr};

/// The converted value, or advice on what to submit instead (perhaps none).
pub(super) type Conversion = Result<Value, Cow<'static, str>>;

fn no(advice: &'static str) -> Conversion {
    Err(Cow::Borrowed(advice))
}

/// `str(value)` for numbers and truth values. Nothing for `None`, containers and bytes, whose `str` is never
/// meant.
pub(super) fn str(value: &Value) -> Conversion {
    match value {
        Value::Text(_) => Ok(value.clone()),
        Value::Bool(_) | Value::Int(_) | Value::BigInt(_) => Ok(Value::from(value.repr(usize::MAX))),
        Value::Float(number) => Ok(Value::from(float_repr(*number))),
        Value::None => no("submit a text, which may be empty"),
        Value::Bytes(_) => no("submit value.decode()"),
        Value::List(_) => no("submit a text, e.g. \", \".join(value) or json.dumps(value)"),
        Value::Dict(_) => no("submit a text, e.g. json.dumps(value)"),
    }
}

/// Whole numbers, also as floats and as the text that `int()` takes, `"3.0"` included. No `bool`: it is
/// nearly always a comparison submitted by mistake.
pub(super) fn int(value: &Value) -> Conversion {
    match value {
        Value::Int(_) | Value::BigInt(_) => Ok(value.clone()),
        Value::Float(number) if number.is_finite() && number.trunc() == *number => {
            // `{:.0}` writes all digits of a float that is whole.
            Value::int_from_decimal(&format!("{number:.0}")).ok_or(Cow::Borrowed(""))
        }
        Value::Float(_) => no("submit round(value) or int(value) if a whole number is meant"),
        Value::Bool(_) => no("a bool is not counted as a number; submit int(value) if it is meant as one"),
        Value::Text(text) => {
            let digits = text.trim();
            let whole = match digits.split_once('.') {
                Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
                _ => digits,
            };
            match plain_digits(whole).as_deref().and_then(Value::int_from_decimal) {
                Some(number) => Ok(number),
                None if digits.contains(',') => no("submit the number without separators"),
                None => no(""),
            }
        }
        _ => no(""),
    }
}

/// The text without the underscores that Python allows between digits; `None` where one stands elsewhere.
fn plain_digits(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let digit =
        |index: Option<usize>| index.and_then(|index| bytes.get(index)).is_some_and(u8::is_ascii_digit);
    let mut underscores = text.match_indices('_');
    underscores
        .all(|(at, _)| digit(at.checked_sub(1)) && digit(at.checked_add(1)))
        .then(|| Cow::Owned(text.replace('_', "")))
}

/// Floats, ints that a float holds exactly, and the text that `float()` takes, `"nan"` and `"inf"` included.
pub(super) fn float(value: &Value) -> Conversion {
    let inexact = "the number has more digits than a float holds; declare it as int";
    match value {
        Value::Float(_) => Ok(value.clone()),
        Value::Int(_) | Value::BigInt(_) => exact_float(value).map_or_else(|| no(inexact), Ok),
        Value::Bool(_) => no("a bool is not counted as a number; submit float(value) if it is meant as one"),
        Value::Text(text) => {
            let Some(digits) = plain_digits(text.trim()) else { return no("") };
            if let Some(number) = Value::int_from_decimal(&digits) {
                return exact_float(&number).map_or_else(|| no(inexact), Ok);
            }
            match digits.parse::<f64>() {
                Ok(number) if number.is_infinite() && digits.contains(|char: char| char.is_ascii_digit()) => {
                    no("the number is too large for a float")
                }
                Ok(number) => Ok(Value::Float(number)),
                Err(_) if digits.ends_with('%') => no("submit the number without a unit"),
                Err(_) if digits.contains(',') => no("submit the number without separators"),
                Err(_) => no(""),
            }
        }
        _ => no(""),
    }
}

/// The float of the very same value as this `int`.
fn exact_float(int: &Value) -> Option<Value> {
    let digits = int.repr(usize::MAX);
    let number: f64 = digits.parse().ok()?;
    (number.is_finite() && format!("{:.0}", number + 0.0) == digits).then_some(Value::Float(number))
}

/// Truth values, 0 and 1, and the words of pydantic: `true t yes y on 1` and `false f no n off 0` in any
/// case.
pub(super) fn bool(value: &Value) -> Conversion {
    let found = match value {
        Value::Bool(value) => Some(*value),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Float(number) if *number == 0.0 => Some(false),
        Value::Float(number) if *number == 1.0 => Some(true),
        Value::Text(text) => match text.trim() {
            word if word.len() > 5 => None,
            word => match word.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
                "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
                _ => None,
            },
        },
        _ => None,
    };
    found.map_or_else(|| no("submit True or False"), |value| Ok(Value::Bool(value)))
}

/// `None`, also as the text that a model may write for it.
pub(super) fn none(value: &Value) -> Conversion {
    match value {
        Value::None => Ok(Value::None),
        Value::Text(text) if matches!(text.trim(), "None" | "null") => Ok(Value::None),
        _ => no("submit None"),
    }
}

/// `bytes`, or a text as its UTF-8 bytes, as in pydantic.
pub(super) fn bytes(value: &Value) -> Conversion {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::Text(text) => Ok(Value::Bytes(text.to_bytes())),
        _ => no("submit bytes"),
    }
}

/// The patterns by which schemas ask for a decimal: those of `schemars`, as it is read and as it is written,
/// and that of pydantic.
pub(super) const DECIMAL_PATTERNS: [&str; 3] =
    [r"^-?\d+(\.\d+)?([eE]\d+)?$", r"^-?\d+(\.\d+)?$", r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"];

/// A decimal, as its digits. A float is what Python writes of it, since that is what is meant.
pub(super) fn decimal(value: &Value) -> Conversion {
    let text = match value {
        Value::Text(text) => Cow::Borrowed(text.as_str()),
        Value::Int(_) | Value::BigInt(_) => Cow::Owned(value.repr(usize::MAX)),
        Value::Float(number) => Cow::Owned(float_repr(*number)),
        Value::Bool(_) => return no("a bool is not counted as a number"),
        _ => return no("submit a decimal.Decimal"),
    };
    digits(&text).map(Value::from).map_err(Cow::Borrowed)
}

/// The digits of a finite decimal, with an exponent where it is written with one.
pub(super) fn digits(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let wrong = match text {
        _ if text.contains(',') => "submit the number without separators",
        _ => "write a finite number as 12.50",
    };
    let plain = plain_digits(text).ok_or(wrong)?;
    let (sign, plain) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (mantissa, exponent) = match plain.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix('+').unwrap_or(exponent))),
        None => (plain, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_count = |text: &str| !text.is_empty() && text.len() <= 6 && are_digits(text);
    let is_exponent = |text: &str| is_count(text.strip_prefix('-').unwrap_or(text));
    let is_decimal = are_digits(whole) && are_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if !is_decimal || !exponent.is_none_or(is_exponent) {
        return Err(wrong);
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    let exponent = exponent.map_or_else(String::new, |exponent| format!("E{exponent}"));
    Ok(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

/// The option that equals the value, or the first that the value converts to (`"1"` for `1`).
pub(super) fn literal(options: &[Value], value: &Value) -> Conversion {
    let converts_to = |option: &&Value| {
        let converted = match option {
            Value::Text(_) => str(value),
            Value::Int(_) | Value::BigInt(_) => int(value),
            Value::Bool(_) => bool(value),
            _ => none(value),
        };
        converted.as_ref() == Ok(*option)
    };
    if let Some(option) =
        options.iter().find(|option| *option == value).or_else(|| options.iter().find(converts_to))
    {
        return Ok(option.clone());
    }
    let near = value
        .as_text()
        .and_then(|text| suggest::nearest(text.trim(), options.iter().filter_map(Value::as_text)));
    match near {
        Some(near) => Err(Cow::Owned(format!("did you mean {}?", Value::from(near).repr(60)))),
        None => no("submit one of them as it is written there"),
    }
}

//! Conversions to simple types: what Python's own constructors and pydantic's lax mode take, as far as
//! nothing is lost.

use std::borrow::Cow;

use super::suggest;
use crate::value::{Value, float_repr};

/// The converted value, or advice on what to submit instead (perhaps none).
type Converted = Result<Value, Cow<'static, str>>;

fn no(advice: &'static str) -> Converted {
    Err(Cow::Borrowed(advice))
}

/// `str(value)` for numbers and truth values. Nothing for `None`, containers and bytes, whose `str` is never
/// meant.
pub(super) fn str(value: &Value) -> Converted {
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
pub(super) fn int(value: &Value) -> Converted {
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
pub(super) fn float(value: &Value) -> Converted {
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
pub(super) fn bool(value: &Value) -> Converted {
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
pub(super) fn none(value: &Value) -> Converted {
    match value {
        Value::None => Ok(Value::None),
        Value::Text(text) if matches!(text.trim(), "None" | "null") => Ok(Value::None),
        _ => no("submit None"),
    }
}

/// `bytes`, or a text as its UTF-8 bytes, as in pydantic.
pub(super) fn bytes(value: &Value) -> Converted {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::Text(text) => Ok(Value::Bytes(text.to_bytes())),
        _ => no("submit bytes"),
    }
}

/// A date in ISO 8601. Numbers are refused: seconds or milliseconds, and since when, would be a guess.
pub(super) fn date(value: &Value) -> Converted {
    match value {
        Value::Text(text) => iso_date(text).map(Value::from).map_err(Cow::Borrowed),
        _ => no("submit value.isoformat()"),
    }
}

/// A date and time in ISO 8601.
pub(super) fn datetime(value: &Value) -> Converted {
    match value {
        Value::Text(text) => iso_datetime(text).map(Value::from).map_err(Cow::Borrowed),
        _ => no("submit value.isoformat()"),
    }
}

/// The option that equals the value, or the first that the value converts to (`"1"` for `1`).
pub(super) fn literal(options: &[Value], value: &Value) -> Converted {
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

// ISO 8601 dates and times, written as Python's `isoformat` writes them. What is read is what
// `datetime.fromisoformat` (3.11) reads in the extended format, and also spaces around it and a small `t` or
// `z`. More than six digits of a fraction, which Python drops, are kept.

/// The error says why a text is not a date or time; it ends a message.
type IsoResult<T> = Result<T, &'static str>;

/// `2024-02-29T12:30:00.500000+01:00` from a text with `T` or a space, with or without seconds, fraction and
/// offset; a date alone is its midnight.
pub(super) fn iso_datetime(text: &str) -> IsoResult<String> {
    let text = text.trim();
    let (date, rest) = split_date(text)?;
    if rest.is_empty() {
        return Ok(format!("{date}T00:00:00"));
    }
    let time = rest.strip_prefix(['T', 't', ' ']).ok_or("write it as 2024-12-31T23:59:00")?;
    Ok(format!("{date}T{}", iso_time(time)?))
}

/// `2024-02-29` from a date, or from a date and time that is midnight.
pub(super) fn iso_date(text: &str) -> IsoResult<String> {
    let midnight = iso_datetime(text)?;
    match midnight.split_once('T') {
        Some((date, time)) if time.starts_with("00:00:00") && !time.starts_with("00:00:00.") => {
            Ok(date.to_owned())
        }
        _ => Err("it has a time of day; submit the date alone"),
    }
}

/// The date at the start, and what comes after it.
fn split_date(text: &str) -> IsoResult<(&str, &str)> {
    let wrong = "write a date as 2024-12-31";
    let (date, rest) = text.split_at_checked(10).ok_or(wrong)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2]).ok_or(wrong)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return Err("there is no such month"),
    };
    if year == 0 || day == 0 || day > days {
        return Err("there is no such day");
    }
    Ok((date, rest))
}

/// `12:30:00`, with a fraction unless it is zero, and the offset.
fn iso_time(text: &str) -> IsoResult<String> {
    let wrong = "write a time as 23:59 or 23:59:00.5";
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    let [hour, minute, second] = match clock.len() {
        5 => numbers(clock, ':', [2, 2]).map(|[hour, minute]| [hour, minute, 0]),
        _ => numbers(clock, ':', [2, 2, 2]),
    }
    .ok_or(wrong)?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err("there is no such time of day");
    }
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong);
    }
    if clock.len() == 5 && fraction != "0" {
        return Err(wrong);
    }
    // Python writes microseconds; digits beyond them are kept rather than lost.
    let digits = fraction.trim_end_matches('0');
    let fraction = if digits.is_empty() { String::new() } else { format!(".{digits:0<6}") };
    Ok(format!("{hour:02}:{minute:02}:{second:02}{fraction}{}", iso_offset(zone)?))
}

/// `+01:00` from `Z`, `+01`, `+0100` or `+01:00`; nothing from nothing.
fn iso_offset(zone: &str) -> IsoResult<String> {
    let wrong = "write an offset as Z or +01:00";
    let (sign, digits) = match zone.split_at_checked(1) {
        None => return Ok(String::new()),
        Some(("Z" | "z", "")) => return Ok("+00:00".to_owned()),
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => return Err(wrong),
    };
    let [hours, minutes] = match digits.len() {
        2 => numbers(digits, ':', [2]).map(|[hours]| [hours, 0]),
        4 => digits
            .split_at_checked(2)
            .and_then(|(hours, minutes)| Some([number(hours, 2)?, number(minutes, 2)?])),
        _ => numbers(digits, ':', [2, 2]),
    }
    .ok_or(wrong)?;
    if hours > 23 || minutes > 59 {
        return Err("there is no such offset");
    }
    let sign = if hours == 0 && minutes == 0 { "+" } else { sign };
    Ok(format!("{sign}{hours:02}:{minutes:02}"))
}

/// Numbers of these widths with `between` between them.
fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (slot, width) in found.iter_mut().zip(widths) {
        *slot = number(parts.next()?, width)?;
    }
    parts.next().is_none().then_some(found)
}

fn number(text: &str, width: usize) -> Option<u32> {
    let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_normalised() {
        for (text, iso) in [
            ("2024-02-29", "2024-02-29T00:00:00"),
            (" 2024-01-02T03:04 ", "2024-01-02T03:04:00"),
            ("2024-01-02 03:04:05", "2024-01-02T03:04:05"),
            ("2024-01-02t03:04:05.5z", "2024-01-02T03:04:05.500000+00:00"),
            ("2024-01-02T03:04:05,123456789", "2024-01-02T03:04:05.123456789"),
            ("2024-01-02T03:04:05.000", "2024-01-02T03:04:05"),
            ("2024-01-02T03:04:05+05:30", "2024-01-02T03:04:05+05:30"),
            ("2024-01-02T03:04:05-0800", "2024-01-02T03:04:05-08:00"),
            ("2024-01-02T03:04+01", "2024-01-02T03:04:00+01:00"),
            ("2024-01-02T03:04-00:00", "2024-01-02T03:04:00+00:00"),
        ] {
            assert_eq!(iso_datetime(text).as_deref(), Ok(iso), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "today",
            "2024-1-2",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-32",
            "0000-01-01",
            "2024/01/02",
            "20240102",
            "2024-01-02T",
            "2024-01-02T24:00",
            "2024-01-02T03:60",
            "2024-01-02T03:04:60",
            "2024-01-02T03:04.5",
            "2024-01-02T03:04:05.",
            "2024-01-02T03:04:05+",
            "2024-01-02T03:04:05+25:00",
            "2024-01-02T3:04",
            "2024-01-02X03:04",
            "2024-01-02T03:04:05 UTC",
            "２０２４-01-02",
            "2024-01-0é",
        ] {
            assert!(iso_datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_is_a_day_without_a_time_of_day() {
        assert_eq!(iso_date("2024-02-29").as_deref(), Ok("2024-02-29"));
        assert_eq!(iso_date("2024-02-29 00:00:00Z").as_deref(), Ok("2024-02-29"));
        assert_eq!(iso_date("2024-02-29T12:00"), Err("it has a time of day; submit the date alone"));
        assert_eq!(iso_date("2024-02-29T00:00:00.5"), Err("it has a time of day; submit the date alone"));
    }
}

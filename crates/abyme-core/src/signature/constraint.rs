//! What a value has to be beyond its type: the words for a model, the check, and the keywords of JSON Schema.

use std::{cmp::Ordering, fmt, ops::Bound};

use regex::Regex;
use serde_json::{Map, Value as Json, json};

use super::date_time::has_offset;
use crate::value::Value;

/// What a value has to be beyond its type, as part of a
/// [`FieldType::Constrained`](super::FieldType::Constrained). `Display` says it in words. As in JSON Schema,
/// a value of another kind passes: a text is in every range of numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Constraint {
    /// A number between these.
    Range(Bound<Value>, Bound<Value>),
    /// A number that is a multiple of this one.
    MultipleOf(Value),
    /// At least and at most this many.
    Length(Measure, u64, Option<u64>),
    /// A text in which this is found.
    Pattern(Pattern),
    /// A `format` of JSON Schema. Those of Rust's integers and of `char` are checked, and not told to a
    /// model, which takes them for granted; `date-time`, `partial-date-time` and `partial-time` ask for an
    /// offset from UTC, or for none, and are told and checked; all others are told, and not checked.
    Format(String),
}

/// What a length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// The characters of a text.
    Characters,
    /// The items of a list.
    Items,
    /// The keys of a dict.
    Keys,
}

/// A regular expression, in the syntax of the crate `regex`. One that does not compile is an error of the
/// signature that it is in.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Result<Regex, String>,
}

impl Pattern {
    /// A pattern of this text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let regex = Regex::new(&text).map_err(|error| error.to_string());
        Self { text, regex }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Constraint {
    /// The constraints among the keywords of a schema.
    pub(super) fn of_schema(schema: &Map<String, Json>) -> Vec<Constraint> {
        let format = schema.get("format").and_then(Json::as_str).filter(|name| !is_type(name));
        let is_integer = format.is_some_and(|name| integer_bounds(name).is_some());
        let number = |keyword: &str| {
            let value = schema.get(keyword).filter(|value| value.is_number())?;
            // The bounds of Rust's integers are those of the format.
            let of_format = format.and_then(integer_bounds).is_some_and(|(least, most)| {
                value.as_i64().map(i128::from).is_some_and(|bound| bound == least || bound == most)
            });
            (!is_integer || !of_format).then(|| Value::from(value.clone()))
        };
        let bound = |inclusive: &str, exclusive: &str| match (number(exclusive), number(inclusive)) {
            (Some(bound), _) => Bound::Excluded(bound),
            (None, Some(bound)) => Bound::Included(bound),
            (None, None) => Bound::Unbounded,
        };
        let mut all = Vec::new();
        let range = (bound("minimum", "exclusiveMinimum"), bound("maximum", "exclusiveMaximum"));
        if range != (Bound::Unbounded, Bound::Unbounded) {
            all.push(Constraint::Range(range.0, range.1));
        }
        all.extend(number("multipleOf").map(Constraint::MultipleOf));
        let count = |keyword: &str| schema.get(keyword).and_then(Json::as_u64);
        for measure in [Measure::Characters, Measure::Items, Measure::Keys] {
            let told = match measure {
                Measure::Characters => format != Some("char"),
                Measure::Items => !schema.contains_key("prefixItems"),
                Measure::Keys => true,
            };
            let [least, most] = measure.keywords().map(count);
            if told && (least.is_some_and(|least| least > 0) || most.is_some()) {
                all.push(Constraint::Length(measure, least.unwrap_or(0), most));
            }
        }
        let pattern = schema.get("pattern").and_then(Json::as_str);
        all.extend(pattern.map(|text| Constraint::Pattern(Pattern::new(text))));
        all.extend(format.map(|name| Constraint::Format(name.to_owned())));
        all
    }

    /// Adds the keywords that say the same to a schema.
    pub(super) fn add_to(&self, schema: &mut Map<String, Json>) {
        let mut add = |keyword: &str, value: Json| drop(schema.insert(keyword.to_owned(), value));
        match self {
            Constraint::Range(least, most) => {
                for (bound, inclusive, exclusive) in
                    [(least, "minimum", "exclusiveMinimum"), (most, "maximum", "exclusiveMaximum")]
                {
                    match bound {
                        Bound::Included(value) => add(inclusive, value.to_json()),
                        Bound::Excluded(value) => add(exclusive, value.to_json()),
                        Bound::Unbounded => {}
                    }
                }
            }
            Constraint::MultipleOf(factor) => add("multipleOf", factor.to_json()),
            Constraint::Length(measure, least, most) => {
                let [at_least, at_most] = measure.keywords();
                if *least > 0 {
                    add(at_least, json!(least));
                }
                if let Some(most) = most {
                    add(at_most, json!(most));
                }
            }
            Constraint::Pattern(pattern) => add("pattern", json!(pattern.text)),
            // Providers know no such format, and take the one of the type for one with an offset.
            Constraint::Format(name) if is_partial(name) => drop(schema.remove("format")),
            Constraint::Format(name) => add("format", json!(name)),
        }
    }

    /// Why this can never be asked of a value.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Constraint::Pattern(Pattern { regex: Err(error), text }) => {
                Some(format!("the pattern {text:?} is no regular expression: {error}"))
            }
            Constraint::Length(_, least, Some(most)) if least > most => {
                Some(format!("a length cannot be at least {least} and at most {most}"))
            }
            Constraint::Range(Bound::Included(least), Bound::Included(most))
                if order(least, most) == Some(Ordering::Greater) =>
            {
                Some(format!("nothing is in the range {self}"))
            }
            _ => None,
        }
    }

    /// Which Python types it is about, for messages.
    pub(super) fn about(&self) -> &'static str {
        match self {
            Constraint::Range(..) | Constraint::MultipleOf(_) => "an int or float",
            Constraint::Length(..) => "a str, list, set or dict",
            Constraint::Pattern(_) => "a str",
            Constraint::Format(_) => "a str, number, time or datetime",
        }
    }

    /// What a model is told, if it is.
    pub(super) fn told(&self) -> Option<String> {
        match self {
            Constraint::Format(name) if name == "char" || integer_bounds(name).is_some() => None,
            Constraint::Format(name) if ["double", "float"].contains(&name.as_str()) => None,
            other => Some(other.to_string()),
        }
    }

    /// Whether the value is what is asked for; if not, a hint, which may be empty.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let is_number = matches!(value, Value::Int(_) | Value::BigInt(_) | Value::Float(_));
        match self {
            Constraint::Range(least, most) if is_number => check(is_within(value, least, most), String::new),
            Constraint::MultipleOf(factor) if is_number => check(is_multiple(value, factor), String::new),
            Constraint::Length(measure, least, most) => {
                let Some(length) = measure.of(value) else { return Ok(()) };
                let fits = *least <= length && most.is_none_or(|most| length <= most);
                check(fits, || format!("that is {length}"))
            }
            Constraint::Pattern(Pattern { regex: Ok(regex), .. }) => match value.as_text() {
                Some(text) => check(regex.is_match(text), String::new),
                None => Ok(()),
            },
            Constraint::Format(name) => match (integer_bounds(name), value) {
                (Some((least, most)), Value::Int(_) | Value::BigInt(_)) => {
                    let fits = integer(value).is_some_and(|int| (least..=most).contains(&int));
                    check(fits, String::new)
                }
                (None, Value::Text(text)) if name == "char" => check(text.chars_len() == 1, String::new),
                (None, Value::Text(text)) if name == WITH_OFFSET => check(has_offset(text), || {
                    "submit value.replace(tzinfo=datetime.timezone.utc) if it is in UTC".to_owned()
                }),
                (None, Value::Text(text)) if is_partial(name) => check(!has_offset(text), || {
                    "submit value.replace(tzinfo=None) if the offset does not matter".to_owned()
                }),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn check(holds: bool, hint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(hint()) }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::Range(Bound::Included(least), Bound::Included(most)) => {
                f.write_str(&between(&shown(least), &shown(most)))
            }
            Constraint::Range(least, most) => {
                let least = match least {
                    Bound::Included(value) => Some(format!("at least {}", shown(value))),
                    Bound::Excluded(value) => Some(format!("more than {}", shown(value))),
                    Bound::Unbounded => None,
                };
                let most = match most {
                    Bound::Included(value) => Some(format!("at most {}", shown(value))),
                    Bound::Excluded(value) => Some(format!("less than {}", shown(value))),
                    Bound::Unbounded => None,
                };
                f.write_str(&least.into_iter().chain(most).collect::<Vec<_>>().join("; "))
            }
            Constraint::MultipleOf(factor) => write!(f, "a multiple of {}", shown(factor)),
            Constraint::Length(_, 1, None) => f.write_str("not empty"),
            Constraint::Length(measure, least, most) => match (least, most) {
                (0, Some(most)) => write!(f, "{measure}: at most {most}"),
                (least, Some(most)) => {
                    write!(f, "{measure}: {}", between(&least.to_string(), &most.to_string()))
                }
                (least, None) => write!(f, "{measure}: at least {least}"),
            },
            Constraint::Pattern(pattern) => write!(f, "matches the pattern {}", pattern.text),
            Constraint::Format(name) => match integer_bounds(name) {
                Some((least, most)) => f.write_str(&between(&least.to_string(), &most.to_string())),
                None if name == "char" => f.write_str("one character"),
                None if name == WITH_OFFSET => f.write_str("with an offset from UTC, as in +00:00"),
                None if is_partial(name) => f.write_str("without an offset from UTC"),
                None => write!(f, "format {name}"),
            },
        }
    }
}

impl Measure {
    /// The keywords of JSON Schema for the least and the most.
    fn keywords(self) -> [&'static str; 2] {
        match self {
            Measure::Characters => ["minLength", "maxLength"],
            Measure::Items => ["minItems", "maxItems"],
            Measure::Keys => ["minProperties", "maxProperties"],
        }
    }

    fn of(self, value: &Value) -> Option<u64> {
        let length = match (self, value) {
            (Measure::Characters, Value::Text(text)) => text.chars_len(),
            (Measure::Items, Value::List(items)) => items.len(),
            (Measure::Keys, Value::Dict(entries)) => entries.len(),
            _ => return None,
        };
        Some(length as u64)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::Characters => "characters",
            Measure::Items => "items",
            Measure::Keys => "keys",
        })
    }
}

/// Whether the format is a type of its own, and no more.
fn is_type(format: &str) -> bool {
    ["date", "time", "duration"].contains(&format)
}

/// The format of a date and time that a Rust type reads only with an offset from UTC.
pub(super) const WITH_OFFSET: &str = "date-time";

/// Whether the format is of a date or time without an offset.
fn is_partial(format: &str) -> bool {
    ["partial-date-time", "partial-time"].contains(&format)
}

/// The least and the most of one of Rust's integers, by the name that `schemars` gives its format.
fn integer_bounds(format: &str) -> Option<(i128, i128)> {
    Some(match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => (i64::MIN.into(), i64::MAX.into()),
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" | "uint" => (0, u64::MAX.into()),
        "int128" => (i128::MIN, i128::MAX),
        // What is above an `i128` is left to `serde`.
        "uint128" => (0, i128::MAX),
        _ => return None,
    })
}

fn shown(value: &Value) -> String {
    value.repr(usize::MAX)
}

fn between(least: &str, most: &str) -> String {
    if least == most { least.to_owned() } else { format!("{least} to {most}") }
}

fn is_within(value: &Value, least: &Bound<Value>, most: &Bound<Value>) -> bool {
    let fits = |bound: &Bound<Value>, outside: Ordering| match bound {
        Bound::Included(bound) => order(value, bound).is_some_and(|order| order != outside),
        Bound::Excluded(bound) => order(value, bound) == Some(outside.reverse()),
        Bound::Unbounded => true,
    };
    fits(least, Ordering::Less) && fits(most, Ordering::Greater)
}

fn is_multiple(value: &Value, factor: &Value) -> bool {
    match (integer(value), integer(factor)) {
        (Some(value), Some(factor)) => factor != 0 && value % factor == 0,
        _ => match (number(value), number(factor)) {
            (Some(value), Some(factor)) => {
                let times = value / factor;
                (times - times.round()).abs() < 1e-9
            }
            _ => false,
        },
    }
}

/// How two numbers compare. `NaN` does not.
fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => number(one)?.partial_cmp(&number(other)?),
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) => Some((*value).into()),
        Value::BigInt(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(*value),
        Value::BigInt(digits) => digits.parse().ok(),
        other => integer(other).map(|value| value as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: Json) -> Vec<Constraint> {
        Constraint::of_schema(schema.as_object().unwrap())
    }

    #[test]
    fn words_checks_and_keywords_say_the_same() {
        let long = "9".repeat(60);
        let big = |text: &str| Value::int_from_decimal(text).unwrap();
        let text = |text: &str| Value::from(text);
        for (schema, words, fitting, unfitting) in [
            (
                json!({"minimum": 1, "maximum": 9}),
                "1 to 9",
                vec![big("1"), 9.0.into()],
                vec![big("0"), 9.5.into(), f64::NAN.into(), big(&long)],
            ),
            (
                json!({"exclusiveMinimum": 0.5, "maximum": 2}),
                "more than 0.5; at most 2",
                vec![1.into(), text("no number")],
                vec![0.5.into(), big(&format!("-{long}"))],
            ),
            (json!({"multipleOf": 0.1}), "a multiple of 0.1", vec![0.3.into(), 2.into()], vec![0.25.into()]),
            (json!({"multipleOf": 3}), "a multiple of 3", vec![9.into(), 9.0.into()], vec![10.into()]),
            (json!({"minLength": 1}), "not empty", vec![text("é"), Value::list([0; 0])], vec![text("")]),
            (
                json!({"minLength": 2, "maxLength": 3}),
                "characters: 2 to 3",
                vec![text("éé")],
                vec![text("é"), text("abcd")],
            ),
            (json!({"maxItems": 1}), "items: at most 1", vec![Value::list([1])], vec![Value::list([1, 2])]),
            (
                json!({"minProperties": 2}),
                "keys: at least 2",
                vec![Value::dict([("a", 1), ("b", 2)])],
                vec![Value::dict([("a", 1)])],
            ),
            (json!({"pattern": "^a+$"}), "matches the pattern ^a+$", vec![text("aa")], vec![text("ab")]),
            (json!({"format": "int8"}), "-128 to 127", vec![(-128).into()], vec![128.into(), big(&long)]),
            (json!({"format": "char"}), "one character", vec![text("é")], vec![text(""), text("ab")]),
            (json!({"format": "uuid"}), "format uuid", vec![text("whatever")], vec![]),
            (
                json!({"format": "date-time"}),
                "with an offset from UTC, as in +00:00",
                vec![text("2024-01-02T03:04:05-08:00")],
                vec![text("2024-01-02T03:04:05")],
            ),
        ] {
            let all = of(schema.clone());
            let [constraint] = &all[..] else { unreachable!("{all:?}") };
            assert_eq!(constraint.to_string(), words);
            for value in fitting {
                assert_eq!(constraint.check(&value), Ok(()), "{constraint}: {value:?}");
            }
            for value in unfitting {
                assert!(constraint.check(&value).is_err(), "{constraint}: {value:?}");
            }
            let mut again = Map::new();
            constraint.add_to(&mut again);
            assert_eq!(Json::Object(again), schema);
        }
    }

    #[test]
    fn the_bounds_of_a_rust_integer_are_no_news_to_a_model() {
        let [format] = &of(json!({"format": "uint8", "minimum": 0, "maximum": 255}))[..] else {
            unreachable!()
        };
        assert_eq!((format.told(), format.to_string()), (None, "0 to 255".to_owned()));
        assert_eq!(of(json!({"format": "uint8", "minimum": 1, "maximum": 255})).len(), 2);
    }

    #[test]
    fn what_no_value_can_be_is_a_problem() {
        for (schema, problem) in [
            (json!({"minimum": 2, "maximum": 1}), "nothing is in the range 2 to 1"),
            (json!({"minItems": 2, "maxItems": 1}), "a length cannot be at least 2 and at most 1"),
            (json!({"pattern": "("}), "the pattern \"(\" is no regular expression: "),
        ] {
            let found = of(schema)[0].problem().unwrap();
            assert!(found.starts_with(problem), "{found}");
        }
    }
}

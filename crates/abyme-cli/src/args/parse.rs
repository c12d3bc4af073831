//! Values on the command line: times, sizes and `name=value` pairs.

use std::time::Duration;

use abyme::{Price, Value};

use crate::exit::Failure;

/// A `name=value` pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// `name=value`; the value is everything after the first `=`.
pub(super) fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok(Named { name: name.trim().to_owned(), value: value.to_owned() })
        }
        _ => Err("expected name=value, such as docs=@docs.txt".to_owned()),
    }
}

/// The fields of a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fields(pub(crate) Vec<(String, Value)>);

/// A JSON object.
pub(super) fn fields(text: &str) -> Result<Fields, String> {
    match Value::parse_json(text).map_err(|error| error.message().to_owned())? {
        Value::Dict(fields) => Ok(Fields(fields.into_iter().collect())),
        _ => Err("expected a JSON object, such as {\"top_p\": 0.9}".to_owned()),
    }
}

/// `0.25,2`: US dollars for a million tokens of requests and of replies.
pub(super) fn price(text: &str) -> Result<Price, String> {
    let dollars =
        |text: &str| text.trim().parse().ok().filter(|dollars: &f64| *dollars >= 0.0 && dollars.is_finite());
    let prices = text.split_once(',').and_then(|(input, output)| Some((dollars(input)?, dollars(output)?)));
    let (input, output) = prices.ok_or("expected two prices, such as 0.25,2")?;
    Ok(Price::per_million(input, output))
}

/// A share from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, such as 0.8".to_owned())
}

/// `90`, `90s`, `1.5m`, `2h`, `250ms`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "ms" => Some(0.001),
        "" | "s" | "sec" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(seconds).map(|(number, unit)| number * unit);
    let found = seconds.filter(|seconds| *seconds >= 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok());
    found
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "expected a time, such as 30, 90s, 10m or 1.5h".to_owned())
}

/// A [`duration`] that something can happen in.
pub(super) fn seconds_over_zero(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("has to be more than 0".to_owned()) } else { Ok(duration) }
}

/// `200KB`, `10MB`, `1.5GB`, `4096`, in powers of 1000; `KiB`, `MiB`, `GiB` in powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let bytes = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "k" | "kb" => Some(1e3),
        "m" | "mb" => Some(1e6),
        "g" | "gb" => Some(1e9),
        "kib" => Some(1024.0),
        "mib" => Some(1024.0 * 1024.0),
        "gib" => Some(1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    let bytes = number.parse::<f64>().ok().zip(bytes).map(|(number, unit)| (number * unit).round());
    match bytes {
        None => Err("expected a size, such as 200KB, 10MB or 1.5GB".to_owned()),
        Some(bytes) if bytes.is_nan() || bytes < SMALLEST as f64 => {
            Err("the smallest text is 1KB".to_owned())
        }
        Some(bytes) if bytes > LARGEST as f64 => Err("the largest text is 2GB".to_owned()),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
        Some(bytes) => Ok(bytes as u64),
    }
}

/// `8k`, `1m`, `500`: a number of tokens, in powers of 1024.
pub(super) fn tokens(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" => Some(1),
        "k" => Some(1 << 10),
        "m" => Some(1 << 20),
        _ => None,
    };
    let tokens = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    tokens
        .filter(|tokens| (256..=64 << 20).contains(tokens))
        .ok_or_else(|| "expected a number of tokens from 256 to 64m, such as 8k or 1m".to_owned())
}

/// What clap says in a paragraph or more, as a line. `command` is the one that it is about, if it is one.
pub(super) fn in_one_line(rendered: &str, command: Option<&str>) -> Failure {
    let help = match command {
        Some(command) => format!("abyme {command} --help"),
        None => "abyme --help".to_owned(),
    };
    let (mut message, mut tips) = (Vec::new(), Vec::new());
    let mut first = true;
    for line in rendered.lines().map(str::trim) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            tips.push(tip.to_owned());
        } else if line.is_empty() {
            first = message.is_empty();
        } else if first || line.starts_with('[') {
            message.push(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    tips.push(format!("see `{help}`"));
    Failure::usage(message.join(" ")).hint(tips.join("; "))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

const SMALLEST: u64 = 1_000;
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;
/// Ten years: long enough to mean "no limit", and no clock overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let read = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(read("90"), Ok(90_000));
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("1.5m"), Ok(90_000));
        assert_eq!(read(" 2 h "), Ok(7_200_000));
        for wrong in ["", "m", "-1s", "1d", "1e9", "99999999999h", "1.2.3s", "nan", "inf"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(seconds_over_zero("0").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("1.5gb"), Ok(1_500_000_000));
        assert_eq!(size("2GiB"), Ok(2_147_483_648));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("999"), Err("the smallest text is 1KB".to_owned()));
        assert_eq!(size("3GB"), Err("the largest text is 2GB".to_owned()));
        for wrong in ["", "MB", "-1MB", "ten", "10TB", "1e9"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn token_counts() {
        assert_eq!((tokens("8k"), tokens("1M"), tokens("500")), (Ok(8_192), Ok(1 << 20), Ok(500)));
        for wrong in ["", "k", "100", "1g", "1.5k", "65m", "99999999999999999999"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(named("a=b=c").unwrap(), Named { name: "a".into(), value: "b=c".into() });
        assert_eq!(named("a=").unwrap().value, "");
        assert!(named("a").is_err() && named("=b").is_err());
    }

    #[test]
    fn prices() {
        assert_eq!(price("0.25, 2"), Ok(Price::per_million(0.25, 2.0)));
        for wrong in ["", "2", "1,2,3", "-1,2", "free,2", "inf,1", "nan,1"] {
            assert!(price(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects() {
        let read = fields("{\"top_p\": 0.9, \"stop\": null}").unwrap();
        assert_eq!(read, Fields(vec![("top_p".into(), 0.9.into()), ("stop".into(), Value::None)]));
        assert!(fields("[1]").is_err() && fields("top_p=0.9").unwrap_err().contains("not JSON"));
    }
}

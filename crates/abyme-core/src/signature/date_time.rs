//! Dates, times and durations in ISO 8601, written as Python's `isoformat` writes them.
//!
//! What is read is what `datetime.fromisoformat` (3.11) reads in the extended format, hours without minutes
//! left out, and also spaces around it and a small `t` or `z`. Digits of a second beyond the sixth, which
//! Python drops, are kept.

use std::borrow::Cow;

use super::scalar::Conversion;
use crate::value::Value;

/// The error says why a text is not a date or time; it ends a message.
type IsoResult<T> = Result<T, &'static str>;

/// A date. Numbers are refused: seconds or milliseconds, and since when, would be a guess.
pub(super) fn date(value: &Value) -> Conversion {
    read(value, iso_date, "submit value.isoformat()")
}

/// A time of day.
pub(super) fn time(value: &Value) -> Conversion {
    read(value, iso_time, "submit value.isoformat()")
}

/// A date and time.
pub(super) fn datetime(value: &Value) -> Conversion {
    read(value, iso_datetime, "submit value.isoformat()")
}

/// A duration. Numbers are refused here too.
pub(super) fn timedelta(value: &Value) -> Conversion {
    read(value, iso_duration, "submit a datetime.timedelta")
}

fn read(value: &Value, iso: fn(&str) -> IsoResult<String>, advice: &'static str) -> Conversion {
    match value {
        Value::Text(text) => iso(text).map(Value::from).map_err(Cow::Borrowed),
        _ => Err(Cow::Borrowed(advice)),
    }
}

/// Whether a date and time, or a time, as it is written here says how far from UTC it is.
pub(super) fn has_offset(iso: &str) -> bool {
    iso.split_once('T').map_or(iso, |(_, time)| time).contains(['+', '-'])
}

const SECOND: i128 = 1_000_000_000;
const HOUR: i128 = 3600 * SECOND;
const DAY: i128 = 24 * HOUR;
/// What Python's `timedelta` holds.
const MAX_DAYS: i128 = 999_999_999;

/// `-PT26H3M4.5S` from a duration in ISO 8601, or from what Python's `str` writes:
/// `-2 days, 21:56:55.500000`. Hours are the largest unit, since readers differ about days.
pub(super) fn iso_duration(text: &str) -> IsoResult<String> {
    let text = text.trim();
    let nanos = match text.contains(['P', 'p']) {
        true => nanos_of_iso(text)?,
        false => nanos_of_str(text).ok_or("write a duration as PT1H30M")?,
    };
    if !(-MAX_DAYS * DAY..(MAX_DAYS + 1) * DAY).contains(&nanos) {
        return Err("that is longer than a timedelta can be");
    }
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.abs());
    let (hours, minutes, seconds) = (nanos / HOUR, nanos / (60 * SECOND) % 60, nanos / SECOND % 60);
    let fraction = format!("{:09}", nanos % SECOND);
    let mut parts = format!("{sign}PT");
    for (count, unit) in [(hours, 'H'), (minutes, 'M')] {
        if count > 0 {
            parts.push_str(&format!("{count}{unit}"));
        }
    }
    match fraction.trim_end_matches('0') {
        "" if seconds == 0 && nanos > 0 => {}
        "" => parts.push_str(&format!("{seconds}S")),
        fraction => parts.push_str(&format!("{seconds}.{fraction}S")),
    }
    Ok(parts)
}

fn nanos_of_iso(text: &str) -> IsoResult<i128> {
    let wrong = "write a duration as PT1H30M";
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let text = text.to_ascii_uppercase();
    let parts = text.strip_prefix('P').ok_or(wrong)?;
    let (days, time) = parts.split_once('T').map_or((parts, None), |(days, time)| (days, Some(time)));
    if days.contains(['Y', 'M']) {
        return Err("years and months have no fixed length; write days");
    }
    if days.is_empty() && time.is_none() || time == Some("") {
        return Err(wrong);
    }
    let units = [('H', HOUR), ('M', 60 * SECOND), ('S', SECOND)];
    let days = sum(days, &[('W', 7 * DAY), ('D', DAY)]).ok_or(wrong)?;
    Ok(sign * (days + sum(time.unwrap_or_default(), &units).ok_or(wrong)?))
}

/// The sum of counts with units, which come in this order. The seconds may have a fraction.
fn sum(mut text: &str, units: &[(char, i128)]) -> Option<i128> {
    let mut all = 0;
    for (unit, nanos) in units {
        let Some((count, rest)) = text.split_once(*unit) else { continue };
        all += match *unit {
            'S' => seconds(count)?,
            _ => count_of(count)? * nanos,
        };
        text = rest;
    }
    text.is_empty().then_some(all)
}

/// `[-]1 day, 2:03:04.5`, or the time alone.
fn nanos_of_str(text: &str) -> Option<i128> {
    let (days, clock) = match text.split_once(", ") {
        Some((days, clock)) => {
            let days = days.strip_suffix(" days").or_else(|| days.strip_suffix(" day"))?;
            let (sign, days) = days.strip_prefix('-').map_or((1, days), |days| (-1, days));
            (sign * count_of(days)?, clock)
        }
        None => (0, text),
    };
    let mut parts = clock.split(':');
    let [hours, minutes, rest] = [parts.next()?, parts.next()?, parts.next()?];
    let is_clock = parts.next().is_none() && minutes.len() == 2 && rest.split('.').next()?.len() == 2;
    let (minutes, rest) = (count_of(minutes)?, seconds(rest)?);
    (is_clock && minutes < 60 && rest < 60 * SECOND)
        .then_some(days * DAY + count_of(hours)? * HOUR + minutes * 60 * SECOND + rest)
}

/// Seconds, with a fraction or not, in nanoseconds.
fn seconds(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    Some(count_of(whole)? * SECOND + count_of(&format!("{fraction:0<9}"))?)
}

fn count_of(text: &str) -> Option<i128> {
    let is_count = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_count.then(|| text.parse().ok()).flatten()
}

/// `2024-02-29T12:30:00.500000+01:00` from a text with `T` or a space, with or without seconds, fraction and
/// offset; a date alone is its midnight.
pub(super) fn iso_datetime(text: &str) -> IsoResult<String> {
    let text = text.trim();
    let (date, rest) = split_date(text)?;
    if rest.is_empty() {
        return Ok(format!("{date}T00:00:00"));
    }
    let time = rest.strip_prefix(['T', 't', ' ']).ok_or("write it as 2024-12-31T23:59:00")?;
    Ok(format!("{date}T{}", clock(time)?))
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
pub(super) fn iso_time(text: &str) -> IsoResult<String> {
    clock(text.trim())
}

fn clock(text: &str) -> IsoResult<String> {
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

/// `+01:00` from `Z`, `+01`, `+0100` or `+01:00`, with seconds where there are some; nothing from nothing.
fn iso_offset(zone: &str) -> IsoResult<String> {
    let wrong = "write an offset as Z or +01:00";
    let (sign, digits) = match zone.split_at_checked(1) {
        None => return Ok(String::new()),
        Some(("Z" | "z", "")) => return Ok("+00:00".to_owned()),
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => return Err(wrong),
    };
    let [hours, minutes, seconds] = match digits.len() {
        2 => numbers(digits, ':', [2]).map(|[hours]| [hours, 0, 0]),
        4 => digits
            .split_at_checked(2)
            .and_then(|(hours, minutes)| Some([number(hours, 2)?, number(minutes, 2)?, 0])),
        8 => numbers(digits, ':', [2, 2, 2]),
        _ => numbers(digits, ':', [2, 2]).map(|[hours, minutes]| [hours, minutes, 0]),
    }
    .ok_or(wrong)?;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return Err("there is no such offset");
    }
    let sign = if [hours, minutes, seconds] == [0; 3] { "+" } else { sign };
    let seconds = if seconds == 0 { String::new() } else { format!(":{seconds:02}") };
    Ok(format!("{sign}{hours:02}:{minutes:02}{seconds}"))
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
            ("1880-01-01T00:00:00+00:53:28", "1880-01-01T00:00:00+00:53:28"),
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
            "2024-01-02T03:04:05+00:53:60",
            "2024-01-02T 03:04",
            "2024-01-02  03:04",
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

    #[test]
    fn times_of_day_have_no_date() {
        assert_eq!(iso_time(" 03:04 ").as_deref(), Ok("03:04:00"));
        assert_eq!(iso_time("03:04:05.5Z").as_deref(), Ok("03:04:05.500000+00:00"));
        assert!(iso_time("24:00").is_err() && iso_time("2024-01-02T03:04").is_err());
        assert!(has_offset("03:04:00-08:00") && has_offset("2024-01-02T03:04:05+00:00"));
        assert!(!has_offset("03:04:00") && !has_offset("2024-01-02T03:04:05"));
    }

    #[test]
    fn durations_are_in_hours_at_most() {
        for (text, iso) in [
            ("P1DT2H", "PT26H"),
            ("P2W", "PT336H"),
            ("pt90m", "PT1H30M"),
            ("PT90M0.5S", "PT1H30M0.5S"),
            ("-PT1.25S", "-PT1.25S"),
            ("PT0S", "PT0S"),
            ("0:00:00", "PT0S"),
            ("1 day, 0:00:00", "PT24H"),
            ("-2 days, 21:56:55.500000", "-PT26H3M4.5S"),
            ("2:03:04", "PT2H3M4S"),
            ("PT0.123456789S", "PT0.123456789S"),
            ("999999999 days, 23:59:59.999999", "PT23999999999H59M59.999999S"),
            ("-999999999 days, 0:00:00", "-PT23999999976H"),
        ] {
            assert_eq!(iso_duration(text).as_deref(), Ok(iso), "{text}");
        }
        for text in [
            "", "P", "PT", "P1D2H", "P1Y", "PT1M1H", "P1.5D", "1 day", "2:3:04", "2:60:00", "2:03:04.",
            "PT1.S", "90", "x",
        ] {
            assert!(iso_duration(text).is_err(), "{text}");
        }
        assert!(iso_duration("P9999999999D").is_err(), "Python has none as long");
        assert!(iso_duration("P1000000000D").is_err() && iso_duration("-P999999999DT1S").is_err());
    }
}

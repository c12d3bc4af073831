//! ISO 8601 dates and times, written as Python's `isoformat` writes them.
//!
//! What is read is what `datetime.fromisoformat` (3.11) reads in the extended format, and also spaces around it and a
//! small `t` or `z`. More than six digits of a fraction, which Python drops, are kept.

/// Why a text is no date or time; the end of a message.
type Result<T> = std::result::Result<T, &'static str>;

/// `2024-02-29T12:30:00.500000+01:00` from a text with `T` or a space, with or without seconds, fraction and offset; a
/// date alone is its midnight.
pub(super) fn datetime(text: &str) -> Result<String> {
    let text = text.trim();
    let (date, rest) = split_date(text)?;
    if rest.is_empty() {
        return Ok(format!("{date}T00:00:00"));
    }
    let time = rest.strip_prefix(['T', 't', ' ']).ok_or("write it as 2024-12-31T23:59:00")?;
    Ok(format!("{date}T{}", self::time(time)?))
}

/// `2024-02-29` from a date, or from a date and time that is midnight.
pub(super) fn date(text: &str) -> Result<String> {
    let midnight = datetime(text)?;
    match midnight.split_once('T') {
        Some((date, time)) if time.starts_with("00:00:00") && !time.starts_with("00:00:00.") => {
            Ok(date.to_owned())
        }
        _ => Err("it has a time of day; submit the date alone"),
    }
}

/// The date at the start, and what comes after it.
fn split_date(text: &str) -> Result<(&str, &str)> {
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
fn time(text: &str) -> Result<String> {
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
    Ok(format!("{hour:02}:{minute:02}:{second:02}{fraction}{}", offset(zone)?))
}

/// `+01:00` from `Z`, `+01`, `+0100` or `+01:00`; nothing from nothing.
fn offset(zone: &str) -> Result<String> {
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
            assert_eq!(datetime(text).as_deref(), Ok(iso), "{text}");
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
            assert!(datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_is_a_day_without_a_time_of_day() {
        assert_eq!(date("2024-02-29").as_deref(), Ok("2024-02-29"));
        assert_eq!(date("2024-02-29 00:00:00Z").as_deref(), Ok("2024-02-29"));
        assert_eq!(date("2024-02-29T12:00"), Err("it has a time of day; submit the date alone"));
        assert_eq!(date("2024-02-29T00:00:00.5"), Err("it has a time of day; submit the date alone"));
    }
}

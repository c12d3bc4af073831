//! Numbers for people: `12.3 µs`, `4.5 MB`, `2 010 /s`, `97 %`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Seconds; fewer are better.
    Seconds,
    /// Bytes; fewer are better.
    Bytes,
    /// Pieces of work in a second; more are better.
    PerSecond,
    /// A part of a whole, 0 to 1; more is better.
    Share,
}

impl Unit {
    /// Whether a larger number is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::Share)
    }

    /// The order of two values, the better one first.
    pub(crate) fn order(self, one: f64, other: f64) -> Ordering {
        let order = one.total_cmp(&other);
        if self.more_is_better() { order.reverse() } else { order }
    }

    /// A measured value with its unit.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => time(value),
            Self::Bytes => scaled(value, &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")]),
            Self::PerSecond => format!("{} /s", digits(value)),
            Self::Share => format!("{} %", digits(value * 100.0)),
        }
    }

    /// The same for an axis, where values are round.
    pub(crate) fn show_round(self, value: f64) -> String {
        if value == 0.0 {
            return "0".to_owned();
        }
        let shown = self.show(value);
        let Some((number, unit)) = shown.split_once(' ').filter(|_| shown.contains('.')) else {
            return shown;
        };
        format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
    }

    /// How many times worse a value is than another: 2 is twice the time, or half of the work in a second.
    pub(crate) fn times_worse(self, value: f64, than: f64) -> f64 {
        if self.more_is_better() { than / value } else { value / than }
    }
}

fn time(seconds: f64) -> String {
    if seconds >= 120.0 {
        return format!("{} min", digits(seconds / 60.0));
    }
    scaled(seconds, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")])
}

/// In the first unit that the value reaches, else the last.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    // What would be shown as 1 000 of a unit is shown as one of the next.
    let fits = |size: f64| value.abs() >= size * 0.9995;
    let found = units.iter().find(|(size, _)| fits(*size)).or(units.last());
    found.map_or_else(String::new, |(size, name)| format!("{} {name}", digits(value / size)))
}

/// A count, thousands apart.
pub(crate) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Three digits that count, thousands apart.
pub(crate) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    let decimals = match size {
        0.0 => 0,
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.1 => 2,
        _ => (1 - size.log10().floor() as i32).clamp(2, 6) as usize,
    };
    let text = format!("{size:.decimals$}");
    let (whole, part) = text.split_at(text.find('.').unwrap_or(text.len()));
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}{part}", grouped(whole))
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A part of a whole in two digits: `3.4 %`, `25 %`.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent.abs() < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// "3.2×", and "1 300×".
pub(crate) fn times(ratio: f64) -> String {
    format!("{}×", digits(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        let cases = [
            (0.0, "0 ns"),
            (2.9e-7, "290 ns"),
            (1.234e-5, "12.3 µs"),
            (0.000_999_9, "1.00 ms"),
            (0.001, "1.00 ms"),
            (0.4, "400 ms"),
            (15.02, "15.0 s"),
            (119.0, "119 s"),
            (600.0, "10.0 min"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(Unit::Seconds.show(seconds), expected);
        }
    }

    #[test]
    fn other_units_read_well() {
        assert_eq!(Unit::Bytes.show(640_000.0), "640 kB");
        assert_eq!(Unit::Bytes.show(7.9e9), "7.90 GB");
        assert_eq!(Unit::Bytes.show(12.0), "12.0 B");
        assert_eq!(Unit::PerSecond.show(2010.4), "2 010 /s");
        assert_eq!(Unit::PerSecond.show(1_234_567.0), "1 234 567 /s");
        assert_eq!(Unit::Share.show(0.974), "97.4 %");
        assert_eq!((times(0.021), times(0.00216)), ("0.021×".to_owned(), "0.0022×".to_owned()));
        assert_eq!((times(3.21), times(1300.0)), ("3.21×".to_owned(), "1 300×".to_owned()));
        assert_eq!((percent(0.034), percent(0.25)), ("3.4 %".to_owned(), "25 %".to_owned()));
        assert_eq!((count(1), count(12_345)), ("1".to_owned(), "12 345".to_owned()));
        let axis = [0.0, 0.01, 0.0025, 0.1].map(|tick| Unit::Seconds.show_round(tick));
        assert_eq!(axis, ["0", "10 ms", "2.5 ms", "100 ms"]);
        assert_eq!(Unit::PerSecond.show_round(2000.0), "2 000 /s");
        assert_eq!((digits(f64::NAN), digits(-1234.0)), ("-".to_owned(), "-1 234".to_owned()));
    }

    #[test]
    fn worse_depends_on_the_unit() {
        assert_eq!(Unit::Seconds.times_worse(4.0, 2.0), 2.0);
        assert_eq!(Unit::PerSecond.times_worse(1000.0, 2000.0), 2.0);
        assert_eq!(Unit::Seconds.order(1.0, 2.0), Ordering::Less);
        assert_eq!(Unit::PerSecond.order(1.0, 2.0), Ordering::Greater);
        assert_eq!(Unit::Seconds.order(0.0, 0.0), Ordering::Equal);
    }
}

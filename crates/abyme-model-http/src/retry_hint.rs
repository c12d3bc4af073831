//! How long a provider asks to wait: in which headers and words it says so.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

/// The wait that headers ask for. What makes no sense is ignored.
pub(crate) fn in_headers(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let told = PREFIXES.iter().find_map(|prefix| {
        let milliseconds = header(&format!("{prefix}retry-after-ms"));
        let milliseconds = milliseconds.and_then(|value| wait(value.parse::<f64>().ok()? / 1000.0));
        milliseconds.or_else(|| {
            let value = header(&format!("{prefix}retry-after"))?;
            match value.parse::<f64>() {
                Ok(seconds) => wait(seconds),
                Err(_) => until(value, now),
            }
        })
    });
    told.or_else(|| in_resets(headers, now))
}

/// The wait until allowances are full again. Those that are used up count; where none is, the soonest does,
/// because that is the one that a retry may already fit into.
fn in_resets(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let (mut used_up, mut others) = (None, None);
    for (name, value) in headers {
        let name = name.as_str();
        if !name.contains("ratelimit") || !name.contains("reset") {
            continue;
        }
        let Some(wait) = value.to_str().ok().and_then(|value| reset(value.trim(), now)) else { continue };
        let left = headers.get(name.replace("reset", "remaining")).and_then(|left| left.to_str().ok());
        match left.and_then(|left| left.trim().parse::<f64>().ok()) {
            Some(left) if left > 0.0 => others = others.into_iter().chain([wait]).min(),
            _ => used_up = used_up.into_iter().chain([wait]).max(),
        }
    }
    used_up.or(others)
}

/// `20`, `1.5s`, `6m0s`, or a point in time: as a date, or as seconds or milliseconds since 1970.
pub(crate) fn reset(value: &str, now: SystemTime) -> Option<Duration> {
    let Ok(number) = value.parse::<f64>() else { return spoken(value).or_else(|| until(value, now)) };
    let since_1970 = match number {
        _ if number > 1e11 => number / 1000.0,
        _ if number > 1e9 => number,
        _ => return wait(number),
    };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    wait(since_1970 - now.as_secs_f64())
}

/// The time until a date, as HTTP (`Fri, 15 Jan 2027 08:01:30 GMT`) or RFC 3339 writes it.
fn until(date: &str, now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok().or_else(|| humantime::parse_rfc3339_weak(date).ok());
    date?.duration_since(now).ok()
}

/// The wait that a message asks for, as in `Please try again in 6m0s.`
pub(crate) fn in_words(message: &str) -> Option<Duration> {
    let message = message.to_lowercase();
    PHRASES.iter().find_map(|phrase| spoken(message.split_once(phrase)?.1))
}

/// The time that a text begins with: `1h2m3s`, `350ms`, `26 seconds`. Without a unit it is none.
fn spoken(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text.trim_start(), None);
    loop {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..end].parse::<f64>() else { break };
        let unit_on = rest[end..].trim_start();
        let end = unit_on.find(|char: char| !char.is_ascii_alphabetic()).unwrap_or(unit_on.len());
        let unit = match &unit_on[..end] {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            _ => break,
        };
        seconds = Some(seconds.unwrap_or(0.0) + number * unit);
        rest = &unit_on[end..];
    }
    wait(seconds?)
}

pub(crate) fn wait(seconds: f64) -> Option<Duration> {
    // Nothing waits for years; the bound only keeps the number representable.
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(1e9)))
}

/// LiteLLM repeats its provider's headers under a prefix.
pub(crate) const PREFIXES: [&str; 2] = ["", "llm_provider-"];

const PHRASES: &[&str] = &["try again in ", "retry in ", "retry after ", "try again after "];

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn waits(headers: &[(&'static str, &str)]) -> Option<f64> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        in_headers(&headers.iter().map(header).collect(), now).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn headers_that_name_a_wait() {
        assert_eq!(waits(&[("retry-after", "2")]), Some(2.0));
        assert_eq!(waits(&[("retry-after", "0.5")]), Some(0.5));
        assert_eq!(waits(&[("retry-after", "9"), ("retry-after-ms", "250")]), Some(0.25));
        assert_eq!(waits(&[("retry-after", "Fri, 15 Jan 2027 08:01:30 GMT")]), Some(90.0));
        assert_eq!(waits(&[("retry-after", "2027-01-15T08:01:30Z")]), Some(90.0));
        assert_eq!(waits(&[("llm_provider-retry-after", "60")]), Some(60.0));
        assert_eq!(waits(&[("llm_provider-retry-after-ms", "60")]), Some(0.06));
        assert!(waits(&[("retry-after", "99999999999999999999")]).unwrap() > 86_400.0);
        for garbage in ["-5", "soon", "", "NaN", "inf", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(waits(&[("retry-after", garbage)]), None, "{garbage}");
        }
    }

    #[test]
    fn headers_that_name_the_end_of_a_limit() {
        assert_eq!(waits(&[("x-ratelimit-reset-requests", "6m0s")]), Some(360.0));
        assert_eq!(waits(&[("x-ratelimit-reset-tokens", "120ms")]), Some(0.12));
        assert_eq!(waits(&[("x-ratelimit-reset", "1800000007000")]), Some(7.0), "OpenRouter");
        assert_eq!(waits(&[("x-ratelimit-reset", "1800000007")]), Some(7.0), "GitHub");
        assert_eq!(waits(&[("ratelimit-reset", "30")]), Some(30.0), "IETF");
        let anthropic = "anthropic-ratelimit-requests-reset";
        assert_eq!(waits(&[(anthropic, "2027-01-15T08:00:08.5Z")]), Some(8.5));
        assert_eq!(waits(&[(anthropic, "2026-01-15T08:00:00Z")]), None, "it is over");
        assert_eq!(waits(&[(anthropic, "2027-13-45T99:00:00Z")]), None);
        assert_eq!(waits(&[("x-ratelimit-reset", "1700000000")]), None, "it is over");
        assert_eq!(waits(&[("llm_provider-x-ratelimit-reset-requests", "1m0s")]), Some(60.0));
        // The allowance that is used up is the one to wait for.
        let both = [
            ("x-ratelimit-reset-requests", "1h"),
            ("x-ratelimit-remaining-requests", "99"),
            ("x-ratelimit-reset-tokens", "8s"),
        ];
        assert_eq!(waits(&[&both[..], &[("x-ratelimit-remaining-tokens", "0")]].concat()), Some(8.0));
        assert_eq!(waits(&[&both[..], &[("x-ratelimit-remaining-tokens", "5")]].concat()), Some(8.0));
        assert_eq!(waits(&[("retry-after", "3"), ("x-ratelimit-reset-tokens", "8s")]), Some(3.0));
    }

    #[test]
    fn waits_in_words() {
        for (message, seconds) in [
            ("Limit 10000. Please try again in 6m0s. Visit ...", 360.0),
            ("Please try again in 7.5s", 7.5),
            ("Please retry in 34.07s.", 34.07),
            ("Please retry after 26 seconds.", 26.0),
            ("Try again in 1h2m3s", 3723.0),
            ("try again in 350ms.", 0.35),
        ] {
            assert_eq!(in_words(message).map(|wait| wait.as_secs_f64()), Some(seconds), "{message}");
        }
        for message in ["try again in a moment", "please retry after 3 tries", "try again in 5", ""] {
            assert_eq!(in_words(message), None, "{message}");
        }
    }
}

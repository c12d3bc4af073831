//! A token that is valid for a limited time: fetched when it is first needed, and again before it ends.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

/// How long a token is valid that does not say it.
const UNKNOWN_VALIDITY: Duration = Duration::from_secs(600);
const MAX_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// The part of its validity after which a token is fetched again, as Modal's clients do.
const USED_PART: f64 = 0.5;

/// A token, and until when to use it.
pub(super) struct Token {
    pub(super) text: String,
    renewal: Instant,
}

impl Token {
    /// A token that was just fetched.
    pub(super) fn new(text: String) -> Self {
        let validity = validity(&text, SystemTime::now()).mul_f64(USED_PART);
        Self { text, renewal: Instant::now() + validity }
    }

    pub(super) fn is_used_up(&self) -> bool {
        Instant::now() >= self.renewal
    }
}

/// What a JWT says of its times, in seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    iat: Option<f64>,
}

/// How long a token is valid that was fetched at `now`. The clock here may be wrong, so the token's own times
/// count where it has both.
fn validity(text: &str, now: SystemTime) -> Duration {
    let claims = text.split('.').nth(1).and_then(decode_base64).and_then(|json| {
        let claims: Claims = serde_json::from_slice(&json).ok()?;
        Some(claims)
    });
    let Some(claims) = claims else { return UNKNOWN_VALIDITY };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let seconds = claims.exp - claims.iat.unwrap_or(now);
    // A token that has expired before it came says that the clock here is wrong.
    match Duration::try_from_secs_f64(seconds) {
        Ok(validity) if !validity.is_zero() => validity.min(MAX_VALIDITY),
        _ => UNKNOWN_VALIDITY,
    }
}

/// Decodes base64 with the alphabet of URLs, with or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.trim_end_matches('=').bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"iat": 1000, "exp": 2200}`, and the same without `iat`.
    const TOKEN: &str = "e30.eyJpYXQiOiAxMDAwLCAiZXhwIjogMjIwMH0.c2ln";
    const WITHOUT_IAT: &str = "e30.eyJleHAiOiAyMjAwfQ.c2ln";

    #[test]
    fn the_life_of_a_token_is_its_own_or_a_guess() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(validity(TOKEN, at(1000)), Duration::from_secs(1200));
        assert_eq!(validity(TOKEN, at(9_000_000)), Duration::from_secs(1200), "with a wrong clock too");
        assert_eq!(validity(WITHOUT_IAT, at(2000)), Duration::from_secs(200));
        assert_eq!(validity(WITHOUT_IAT, at(9000)), UNKNOWN_VALIDITY);
        assert_eq!(validity(WITHOUT_IAT, UNIX_EPOCH), Duration::from_secs(2200));
        for text in ["", "a.b.c", "a.%%.c", "no dots"] {
            assert_eq!(validity(text, at(0)), UNKNOWN_VALIDITY, "{text}");
        }
    }
}

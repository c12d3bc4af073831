//! What the headers of an answer say of the provider's limits.

use std::time::SystemTime;

use abyme_core::{RateLimit, RateLimits};
use reqwest::header::HeaderMap;

use crate::retry_hint::{PREFIXES, reset};

/// The limits that headers name, as OpenAI (`x-ratelimit-remaining-tokens`), Anthropic
/// (`anthropic-ratelimit-input-tokens-remaining`) and all that follow write it; `None` if there are none.
pub(crate) fn in_headers(headers: &HeaderMap, now: SystemTime) -> Option<RateLimits> {
    let mut limits = RateLimits::default();
    for (name, value) in headers {
        let name = name.as_str();
        let name = PREFIXES.iter().rev().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        let Some((_, rest)) = name.split_once("ratelimit") else { continue };
        let Ok(value) = value.to_str().map(str::trim) else { continue };
        let words = rest.trim_start_matches('-').split('-');
        // A minute is what the limits of most providers count.
        let words: Vec<_> = words.filter(|word| !word.is_empty() && *word != "minute").collect();
        let [at] = words
            .iter()
            .enumerate()
            .filter(|(_, word)| FIELDS.contains(word))
            .map(|(at, _)| at)
            .collect::<Vec<_>>()[..]
        else {
            continue;
        };
        let subject: Vec<_> = [&words[..at], &words[at + 1..]].concat();
        let limit: &mut RateLimit = match &subject[..] {
            [] | ["requests"] => &mut limits.requests,
            ["tokens"] => &mut limits.tokens,
            ["input", "tokens"] => &mut limits.input_tokens,
            ["output", "tokens"] => &mut limits.output_tokens,
            _ => continue,
        };
        match words[at] {
            "limit" => limit.limit = value.parse().ok(),
            "remaining" => limit.remaining = value.parse().ok(),
            _ => limit.reset_after = reset(value, now),
        }
    }
    (limits != RateLimits::default()).then_some(limits)
}

const FIELDS: &[&str] = &["limit", "remaining", "reset"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn limits(headers: &[(&'static str, &str)]) -> Option<RateLimits> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        in_headers(&headers.iter().map(header).collect(), now)
    }

    fn told(limit: &RateLimit) -> (Option<u64>, Option<u64>, Option<f64>) {
        (limit.limit, limit.remaining, limit.reset_after.map(|wait| wait.as_secs_f64()))
    }

    #[test]
    fn as_openai_writes_them_and_litellm_repeats_them() {
        for prefix in [true, false] {
            let name = |name: &'static str| if prefix { name } else { &name["llm_provider-".len()..] };
            let limits = limits(&[
                (name("llm_provider-x-ratelimit-limit-requests"), "600"),
                (name("llm_provider-x-ratelimit-remaining-requests"), "599"),
                (name("llm_provider-x-ratelimit-reset-requests"), "100ms"),
                (name("llm_provider-x-ratelimit-limit-tokens"), "150000"),
                (name("llm_provider-x-ratelimit-remaining-tokens"), "149984"),
                (name("llm_provider-x-ratelimit-reset-tokens"), "6m0s"),
            ])
            .unwrap();
            assert_eq!(told(&limits.requests), (Some(600), Some(599), Some(0.1)));
            assert_eq!(told(&limits.tokens), (Some(150_000), Some(149_984), Some(360.0)));
        }
    }

    #[test]
    fn as_anthropic_and_others_write_them() {
        let anthropic = limits(&[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2027-01-15T08:00:08Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "29000"),
            ("anthropic-ratelimit-output-tokens-limit", "8000"),
        ])
        .unwrap();
        assert_eq!(told(&anthropic.requests), (Some(50), Some(49), Some(8.0)));
        assert_eq!(anthropic.input_tokens.remaining, Some(29_000));
        assert_eq!(anthropic.output_tokens.limit, Some(8_000));
        let openrouter = limits(&[("x-ratelimit-limit", "20"), ("x-ratelimit-reset", "1800000007000")]);
        assert_eq!(told(&openrouter.unwrap().requests), (Some(20), None, Some(7.0)));
        let cerebras = limits(&[
            ("x-ratelimit-remaining-tokens-minute", "5"),
            ("x-ratelimit-remaining-requests-day", "14400"),
        ]);
        let cerebras = cerebras.unwrap();
        assert_eq!((cerebras.tokens.remaining, cerebras.requests), (Some(5), RateLimit::default()));
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(limits(&[("retry-after", "1")]), None);
        assert_eq!(limits(&[("x-ratelimit-limit-requests", "-1"), ("x-ratelimit-remaining", "many")]), None);
        assert_eq!(limits(&[("x-ratelimit-api_key-remaining-requests", "5")]), None, "LiteLLM's own");
    }
}

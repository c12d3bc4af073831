//! What a provider says of its own limits, with each reply.

use std::time::Duration;

/// How much of a provider's limits is left, as the headers of a reply say it. What is not said is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Requests.
    pub requests: RateLimit,
    /// Tokens of requests and replies together.
    pub tokens: RateLimit,
    /// Tokens of requests, where the provider counts them apart.
    pub input_tokens: RateLimit,
    /// Tokens of replies, where the provider counts them apart.
    pub output_tokens: RateLimit,
}

/// One limit of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How many there may be in the provider's period, which as a rule is a minute.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: Option<u64>,
    /// When all of them are there again, counted from the reply.
    pub reset_after: Option<Duration>,
}

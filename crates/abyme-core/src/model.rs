//! Language models: what a request holds, what comes back, and how failed calls are tried again.

#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "cache")]
mod cached;
mod cassette;
mod concurrency;
mod estimate;
mod extension;
mod fallback;
mod forward;
mod hedge;
mod input_limited;
mod language_model;
mod message;
mod one_try;
mod price;
mod price_table;
mod priced;
mod rate_limit;
mod rate_limited;
mod rate_limiter;
mod retry;
mod retrying;
mod stream;
mod usage;

#[cfg(feature = "cache")]
pub use self::{
    cache::{ResponseCache, ResponseCacheConfig},
    cached::Cached,
};
pub use self::{
    cassette::{Recorded, Recording, Replay, Replayed},
    concurrency::ConcurrencyLimited,
    extension::LanguageModelExt,
    fallback::Fallback,
    hedge::{HedgePolicy, Hedged},
    input_limited::InputLimited,
    language_model::LanguageModel,
    message::{FinishReason, Message, NativeCall, Request, Response, Role},
    price::{LongPrice, Price},
    price_table::{ModelFacts, PriceTable},
    priced::Priced,
    rate_limit::{RateLimit, RateLimits},
    rate_limited::RateLimited,
    rate_limiter::{RateLimiter, RateLimiterConfig},
    retry::RetryPolicy,
    retrying::Retrying,
    stream::{Delta, ResponseStream, collect, pieces},
    usage::Usage,
};
pub(crate) use self::{
    estimate::{Amount, BYTES_PER_TOKEN, Estimates, bytes_of},
    one_try::{complete_once, limits_each_try, stream_once, timed_out},
    retry::Retries,
};

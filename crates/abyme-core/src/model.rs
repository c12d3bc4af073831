//! Language models: what a request holds, what comes back, and how failed calls are tried again.

mod language_model;
mod message;
mod price;
mod price_table;
mod rate_limit;
mod retry;
mod stream;
mod usage;

pub(crate) use self::retry::Retries;
pub use self::{
    language_model::{InputLimited, LanguageModel, LanguageModelExt, Priced, Retrying},
    message::{FinishReason, Message, NativeCall, Request, Response, Role},
    price::{LongPrice, Price},
    price_table::{ModelFacts, PriceTable},
    rate_limit::{RateLimit, RateLimits},
    retry::RetryPolicy,
    stream::{Delta, ResponseStream, collect, pieces},
    usage::Usage,
};

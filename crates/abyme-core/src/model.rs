//! Language models: what a request holds, what comes back, and how failed calls are tried again.

mod extension;
mod forward;
mod input_limited;
mod language_model;
mod message;
mod one_try;
mod price;
mod price_table;
mod priced;
mod rate_limit;
mod retry;
mod retrying;
mod stream;
mod usage;

pub use self::{
    extension::LanguageModelExt,
    input_limited::InputLimited,
    language_model::LanguageModel,
    message::{FinishReason, Message, NativeCall, Request, Response, Role},
    price::{LongPrice, Price},
    price_table::{ModelFacts, PriceTable},
    priced::Priced,
    rate_limit::{RateLimit, RateLimits},
    retry::RetryPolicy,
    retrying::Retrying,
    stream::{Delta, ResponseStream, collect, pieces},
    usage::Usage,
};
pub(crate) use self::{
    one_try::{complete_once, timed_out},
    retry::Retries,
};

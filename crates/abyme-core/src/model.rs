//! Language models: what a request holds, what comes back, and how failed calls are tried again.

mod language_model;
mod message;
mod price;
mod price_table;
mod retry;
mod usage;

pub(crate) use self::retry::Retries;
pub use self::{
    language_model::{InputLimited, LanguageModel, LanguageModelExt, Priced, Retrying},
    message::{FinishReason, Message, NativeCall, Request, Response, Role},
    price::{LongPrice, Price},
    price_table::{ModelFacts, PriceTable},
    retry::RetryPolicy,
    usage::Usage,
};

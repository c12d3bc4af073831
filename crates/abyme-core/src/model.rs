//! Language models: what a request holds, what comes back, and how failed calls are tried again.

mod language_model;
mod message;
mod retry;
mod usage;

pub use self::{
    language_model::{LanguageModel, LanguageModelExt, Retrying},
    message::{FinishReason, Message, NativeCall, Request, Response, Role},
    retry::RetryPolicy,
    usage::Usage,
};

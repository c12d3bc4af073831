//! Anthropic's Messages API as a [`LanguageModel`](abyme_core::LanguageModel).
//!
//! ```no_run
//! use abyme_core::{LanguageModel, LanguageModelExt, Request, RetryPolicy};
//! use abyme_model_anthropic::Anthropic;
//!
//! # async fn example() -> abyme_core::Result<()> {
//! // The key comes from `ANTHROPIC_API_KEY`, in the environment or `.env`.
//! let model = Anthropic::new("claude-haiku-4-5").with_retry(RetryPolicy::default());
//! println!("{}", model.complete(&Request::prompt("Say hello.")).await?.text);
//! # Ok(())
//! # }
//! ```
//!
//! | to | start at |
//! |---|---|
//! | use what the environment configures | [`Anthropic::from_env`] |
//! | name the model and configure by hand | [`Anthropic::new`] and the setters |
//! | have a prompt read from the provider's cache | `Request::cache_points`, which a run sets itself |
//! | let the model think, and see what it thinks | [`Anthropic::thinking_budget`], [`Anthropic::thoughts`] |
//! | know which error means what | the crate's `README.md` |
//!
//! One [`Anthropic`] holds one pool of connections; clones share it. One call is one try. Keys live in
//! [`Secret`]s and appear in no error, log or `Debug`.

mod api;
mod config;
mod demands;
mod model;
mod reply;
mod request;
mod schema;

pub use abyme_model_http::Secret;

pub use self::model::Anthropic;

// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

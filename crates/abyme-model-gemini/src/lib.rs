//! Google's Gemini API as a [`LanguageModel`](abyme_core::LanguageModel).
//!
//! ```no_run
//! use abyme_core::{LanguageModel, LanguageModelExt, Request, RetryPolicy};
//! use abyme_model_gemini::Gemini;
//!
//! # async fn example() -> abyme_core::Result<()> {
//! // The key comes from `GEMINI_API_KEY` or `GOOGLE_API_KEY`, in the environment or `.env`.
//! let model = Gemini::new("gemini-3-flash-preview").with_retry(RetryPolicy::default());
//! println!("{}", model.complete(&Request::prompt("Say hello.")).await?.text);
//! # Ok(())
//! # }
//! ```
//!
//! | to | start at |
//! |---|---|
//! | use what the environment configures | [`Gemini::from_env`] |
//! | name the model and configure by hand | [`Gemini::new`] and the setters |
//! | let the model think, and see what it thinks | [`Gemini::thinking_budget`], [`Gemini::thoughts`] |
//! | know which error means what | the crate's `README.md` |
//!
//! One [`Gemini`] holds one pool of connections; clones share it. One call is one try. Keys live in
//! [`Secret`]s and appear in no error, log or `Debug`.

mod api;
mod config;
mod demands;
mod model;
mod reply;
mod request;
mod schema;

pub use abyme_model_http::Secret;

pub use self::model::Gemini;

// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

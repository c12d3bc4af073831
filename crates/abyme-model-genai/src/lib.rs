//! The providers of the crate [genai](https://docs.rs/genai) as
//! [`LanguageModel`](abyme_core::LanguageModel)s: Bedrock, Vertex, Cohere and some forty others.
//!
//! For OpenAI, Anthropic, Gemini and servers with an OpenAI-compatible API, Abyme has clients of its own,
//! which can do more. What genai keeps from this one:
//!
//! - an event is read to its end, however large it is: only the time of the call bounds it;
//! - a failure with status 200 in place of a stream is
//!   [`MalformedReply`](abyme_core::ErrorKind::MalformedReply), whatever it says;
//! - the limits that a provider names in the headers of replies are not known.
//!
//! The crate's `README.md` has the rest.
//!
//! ```no_run
//! use abyme_core::{LanguageModel, LanguageModelExt, Request, RetryPolicy};
//! use abyme_model_genai::Genai;
//!
//! # async fn example() -> abyme_core::Result<()> {
//! // The key comes from the environment: `COHERE_API_KEY`.
//! let model = Genai::new("cohere/command-a-03-2025").with_retry(RetryPolicy::default());
//! println!("{}", model.complete(&Request::prompt("Say hello.")).await?.text);
//! # Ok(())
//! # }
//! ```

mod api;
mod config;
mod failure;
mod model;
mod reading;
mod reply;
mod request;

pub use abyme_model_http::Secret;

pub use self::{config::is_provider, model::Genai};

// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

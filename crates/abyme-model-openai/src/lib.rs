//! Any OpenAI-compatible chat completions API as a [`LanguageModel`](abyme_core::LanguageModel).
//!
//! ```no_run
//! use abyme_core::{LanguageModel, LanguageModelExt, Request, RetryPolicy};
//! use abyme_model_openai::OpenAi;
//!
//! # async fn example() -> abyme_core::Result<()> {
//! // The key, and a base URL if there is one, come from the environment or `.env`.
//! let model = OpenAi::new("gpt-5-mini").with_retry(RetryPolicy::default());
//! println!("{}", model.complete(&Request::prompt("Say hello.")).await?.text);
//!
//! // Everything spelled out: a server of your own.
//! let local = OpenAi::new("hosted_vllm/meta-llama/Llama-3.3-70B").base_url("http://localhost:8000/v1");
//! # drop(local);
//! # Ok(())
//! # }
//! ```
//!
//! | to | start at |
//! |---|---|
//! | use what the environment configures | [`OpenAi::from_env`] |
//! | name the model and configure by hand | [`OpenAi::new`] and the setters |
//! | know which names and base URLs work | [`OpenAi::new`], [`OpenAi::base_url`] |
//! | know which error means what | the crate's `README.md` |
//!
//! One [`OpenAi`] holds one pool of connections; clones share it. One call is one try: an `Rlm` tries failed
//! calls again by its [`RetryPolicy`](abyme_core::RetryPolicy), and
//! [`with_retry`](abyme_core::LanguageModelExt::with_retry) wraps a model that is used alone. Keys live in
//! [`Secret`]s and appear in no error, log or `Debug`.

mod api;
mod config;
mod demands;
mod env;
mod model;
mod provider;
mod request;
mod responses;
mod sum;
mod wire;

pub use abyme_model_http::Secret;

pub use self::{
    config::SystemRole,
    model::OpenAi,
    provider::{Api, is_provider},
};

// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

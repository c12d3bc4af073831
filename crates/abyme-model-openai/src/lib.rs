//! Any OpenAI-compatible chat completions API as a [`LanguageModel`](abyme_core::LanguageModel).
//!
//! ```no_run
//! use abyme_core::{LanguageModel, Request};
//! use abyme_model_openai::{OpenAiConfig, OpenAiModel};
//!
//! # async fn example() -> abyme_core::Result<()> {
//! // The key, and a base URL if there is one, come from the environment or `.env`.
//! let model = OpenAiModel::new("gpt-5-mini");
//! println!("{}", model.complete(&Request::prompt("Say hello.")).await?.text);
//!
//! // Everything spelled out: a server of your own.
//! let config = OpenAiConfig::new("hosted_vllm/meta-llama/Llama-3.3-70B").base_url("http://localhost:8000/v1");
//! let local = OpenAiModel::from_config(config)?;
//! # drop(local);
//! # Ok(())
//! # }
//! ```
//!
//! | to | start at |
//! |---|---|
//! | use what the environment configures | [`OpenAiModel::from_env`], [`OpenAiConfig::from_env`] |
//! | configure by hand | [`OpenAiConfig`] |
//! | know which names and base URLs work | [`OpenAiConfig::model`], [`OpenAiConfig::base_url`] |
//! | know which error means what | the crate's `README.md` |
//!
//! One [`OpenAiModel`] holds one pool of connections; clones share it. Failed calls are tried again as
//! [`RetryPolicy`](abyme_core::RetryPolicy) says. Keys live in [`Secret`]s and appear in no error, log or `Debug`.

mod config;
mod env;
mod failure;
mod model;
mod provider;
mod secret;
mod transport;
mod wire;

pub use self::{config::OpenAiConfig, model::OpenAiModel, secret::Secret};

// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

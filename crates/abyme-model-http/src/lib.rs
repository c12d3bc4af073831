//! The HTTP and event-stream base that Abyme's model clients share.
//!
//! A client of a provider says where requests go, what they hold and how an answer is read. All else is here,
//! and the same for every provider.
//!
//! | part | what for |
//! |---|---|
//! | [`ModelClient`], [`model_client!`] | a client, whatever its provider: its settings and its calls |
//! | [`ProviderApi`], [`Call`], [`KnownDemands`] | what a client adds: its provider's requests and answers |
//! | [`ModelConfig`], [`HttpConfig`] | the settings that all clients have |
//! | [`Sources`], [`Provider`] | variables of the environment and of `.env` |
//! | [`Headers`], [`HttpClient`], [`Allowance`] | sending one request within its limits |
//! | [`IncomingReply`], [`Reply`] | an answer that is coming, and a whole one |
//! | [`Exchange`], [`ReadReply`], [`deltas`] | reading an answer, or saying what it is instead |
//! | [`Secret`], [`Mask`] | keys, which are never shown |
//!
//! ```no_run
//! use abyme_core::{Response, Result};
//! use abyme_model_http::{Exchange, Headers, HttpClient, HttpConfig, Method, Secret, base_url};
//!
//! # async fn example() -> Result<Response> {
//! let url = base_url("https://api.example.com/v1/answer")?;
//! let headers = Headers::default().key("x-api-key", "", &Secret::new("sk-123"))?;
//! let client = HttpClient::new(&url, &HttpConfig::default(), headers)?;
//!
//! let allowed = client.allow(None);
//! let body = br#"{"prompt": "hello"}"#.as_slice();
//! let reply = client.open(Method::POST, &url, Some(body.into()), allowed).await?.whole().await?;
//! let exchange = Exchange::new(&client, url.path(), "example-1");
//! exchange.response(&reply, |answer| Ok(Response::new(answer["text"].as_str().unwrap_or_default())))
//! # }
//! ```

mod allowance;
mod answer;
mod asking;
mod client;
mod config;
mod deltas;
mod env;
mod events;
mod failure;
mod json;
mod masked_reply;
mod model_client;
mod model_config;
mod models;
mod provider_api;
mod provider_error;
mod rate_limits;
mod retry_hint;
mod secret;
mod tls;
mod transport;
mod url;

pub use bytes::Bytes;
pub use reqwest::{Method, StatusCode, Url, header::HeaderMap};

pub use self::{
    allowance::Allowance,
    answer::Unusable,
    asking::{Call, KnownDemands},
    client::{Headers, HttpClient},
    config::HttpConfig,
    deltas::{Progress, ReadReply, deltas, reply_in},
    env::{Provider, Sources, Variable},
    events::{Event, EventParser},
    failure::Exchange,
    json::{count, json, number, text},
    model_client::ModelClient,
    model_config::ModelConfig,
    provider_api::ProviderApi,
    provider_error::ProviderError,
    secret::{Mask, Secret},
    tls::http_client,
    transport::{Head, IncomingReply, Piece, Reply},
    url::{base_url, host_of, shown},
};

/// What the macros of this crate name.
#[doc(hidden)]
pub mod reexports {
    pub use serde_json;
}

// The examples of the README are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! The suite for language models: what a provider does in each case, and what the model has to make of it.
//!
//! A case says what the provider is to do, as a [`Scenario`]; a [`ModelHarness`] makes a model whose provider
//! does that. There are harnesses for both kinds of models:
//!
//! - [`ServerHarness`], for a client. The provider is a [`StandInServer`] on loopback that speaks the
//!   client's [`WireFormat`]: [`OpenAiChat`], [`OpenAiResponses`], [`AnthropicMessages`], [`GeminiContent`],
//!   or one of your own.
//! - [`WrapperHarness`], for a wrapper. What is wrapped is a [`StandInModel`], which does in process what a
//!   server does on the wire.
//!
//! ```no_run
//! use abyme_conformance::{
//!     Suite,
//!     model::{KEY, OpenAiChat, ServerHarness},
//! };
//!
//! # use {abyme_core::LanguageModel, std::process::ExitCode};
//! # fn example<M: LanguageModel + 'static>(client: fn(String, &str) -> M) -> ExitCode {
//! let harness = ServerHarness::new("theirs", OpenAiChat, move |url| client(format!("{url}/v1"), KEY));
//! Suite::of_model(harness).main()
//! # }
//! ```

mod bomb;
mod case;
mod exam;
mod harness;
mod http;
mod need;
mod provider;
mod scenario;
mod server;
mod stand_in;
mod themes;
mod wire;

pub use self::{
    case::ModelCase,
    harness::{ModelHarness, ServerHarness, WrapperHarness},
    need::ModelNeed,
    provider::{Answering, KEY, Provider},
    scenario::{Reply, Scenario, TokenCounts, WireFault},
    server::StandInServer,
    stand_in::StandInModel,
    themes::{case_names, cases},
    wire::{
        anthropic::AnthropicMessages,
        format::{Events, Failure, Received, WireFormat},
        gemini::GeminiContent,
        openai::OpenAiChat,
        responses::OpenAiResponses,
    },
};

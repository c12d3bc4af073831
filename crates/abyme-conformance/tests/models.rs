//! The suite for models over those that are known to be right: the stand-in, and one that streams as every
//! model does which does not do it by itself.

use std::process::ExitCode;

use abyme_conformance::{
    Suite,
    model::{ModelNeed, StandInModel, WrapperHarness},
};
use abyme_core::{LanguageModel, Request, Response, Result};
use async_trait::async_trait;

/// A model that has no stream of its own.
#[derive(Debug)]
struct WithoutStream(StandInModel);

#[async_trait]
impl LanguageModel for WithoutStream {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        self.0.complete(request).await
    }
}

fn main() -> ExitCode {
    Suite::main_of(vec![
        Suite::of_model(WrapperHarness::new("stand-in", |model| model)),
        Suite::of_model(WrapperHarness::new("no-stream", WithoutStream).lacks([ModelNeed::Pieces])),
    ])
}

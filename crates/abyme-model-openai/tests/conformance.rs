//! The contract of models, clause by clause, by both APIs.

use std::process::ExitCode;

use abyme_conformance::{
    Suite,
    model::{KEY, OpenAiChat, OpenAiResponses, ServerHarness},
};
use abyme_model_openai::{Api, OpenAi};

fn main() -> ExitCode {
    let client = |url: String| OpenAi::new("openai/test-model").base_url(format!("{url}/v1")).api_key(KEY);
    Suite::main_of(vec![
        Suite::of_model(ServerHarness::new("openai", OpenAiChat, client)),
        Suite::of_model(ServerHarness::new("openai-responses", OpenAiResponses, move |url| {
            client(url).api(Api::Responses)
        })),
    ])
}

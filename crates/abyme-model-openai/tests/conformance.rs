//! The contract of models, clause by clause.

use abyme_conformance::model::{KEY, OpenAiChat, ServerHarness};
use abyme_model_openai::OpenAi;

abyme_conformance::model_suite! {
    harness: ServerHarness::new("openai", OpenAiChat, |url| {
        OpenAi::new("openai/test-model").base_url(format!("{url}/v1")).api_key(KEY)
    }),
    xfail: [],
}

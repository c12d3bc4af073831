//! The contract of models, clause by clause, as far as the crate genai lets a client keep it.

use abyme_conformance::model::{KEY, ModelNeed, OpenAiChat, ServerHarness};
use abyme_model_genai::Genai;

abyme_conformance::model_suite! {
    harness: ServerHarness::new("genai", OpenAiChat, |url| {
        Genai::new("openai/test-model").base_url(format!("{url}/v1/")).api_key(KEY)
    })
    // genai reads an event to its end. The time of the call is its bound.
    .lacks([ModelNeed::EventBound]),
    xfail: [
        ("a_failure_with_status_200", "genai does not show an answer that is no stream of events"),
    ],
}

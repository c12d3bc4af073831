//! The contract of models, clause by clause.

use abyme_conformance::model::{AnthropicMessages, KEY, ModelNeed, ServerHarness};
use abyme_model_anthropic::Anthropic;

abyme_conformance::model_suite! {
    harness: ServerHarness::new("anthropic", AnthropicMessages, |url| {
        Anthropic::new("test-model").base_url(url).api_key(KEY)
    })
    // The provider counts thoughts as output, and does not say how much of it they were.
    .lacks([ModelNeed::ReasoningTokens]),
    xfail: [],
}

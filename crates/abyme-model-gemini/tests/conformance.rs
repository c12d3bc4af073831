//! The contract of models, clause by clause.

use abyme_conformance::model::{GeminiContent, KEY, ServerHarness};
use abyme_model_gemini::Gemini;

abyme_conformance::model_suite! {
    harness: ServerHarness::new("gemini", GeminiContent, |url| {
        Gemini::new("test-model").base_url(url).api_key(KEY)
    }),
    xfail: [],
}

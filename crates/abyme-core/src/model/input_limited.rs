//! A model with a limit on its requests.

use super::{forward::forward, language_model::LanguageModel};

/// A model with a limit on its requests. Made by
/// [`with_max_input_tokens`](crate::LanguageModelExt::with_max_input_tokens).
#[derive(Clone, Debug)]
pub struct InputLimited<M> {
    model: M,
    tokens: u64,
}

impl<M> InputLimited<M> {
    pub(super) fn new(model: M, tokens: u64) -> Self {
        Self { model, tokens }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for InputLimited<M> {
    forward!(this => this.model;
        name check price reports_cost limits_each_try rate_limiter secrets complete stream stopped_early);

    fn max_input_tokens(&self) -> Option<u64> {
        Some(self.tokens)
    }
}

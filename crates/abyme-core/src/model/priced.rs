//! A model with a price.

use async_trait::async_trait;
use futures_util::StreamExt;

use super::{
    forward::forward,
    language_model::LanguageModel,
    message::{Request, Response},
    price::Price,
    stream::{Delta, ResponseStream},
};
use crate::error::Result;

/// A model with a price. Made by [`with_price`](crate::LanguageModelExt::with_price).
#[derive(Clone, Debug)]
pub struct Priced<M> {
    model: M,
    price: Price,
}

impl<M> Priced<M> {
    pub(super) fn new(model: M, price: Price) -> Self {
        Self { model, price }
    }

    fn with_cost(&self, mut response: Response) -> Response {
        response.usage.cost = response.usage.cost.or_else(|| self.price.of(&response.usage));
        response
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Priced<M> {
    forward!(this => this.model; name check reports_cost max_input_tokens limits_each_try rate_limiter secrets
        stopped_early);

    fn price(&self) -> Option<Price> {
        Some(self.price)
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        Ok(self.with_cost(self.model.complete(request).await?))
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let priced = self.model.stream(request).map(|delta| match delta {
            Ok(Delta::Done(response)) => Ok(Delta::Done(self.with_cost(response))),
            other => other,
        });
        priced.boxed()
    }
}

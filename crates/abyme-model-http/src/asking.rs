//! Asking a model that may refuse a part of the request that it can do without.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use abyme_core::{Request, ResponseStream, Result, model::pieces};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Method, Url};

use crate::{
    allowance::Allowance,
    client::HttpClient,
    deltas::{ReadReply, deltas, reply_in},
    failure::Exchange,
    json::json,
    model_config::ModelConfig,
    provider_error::ProviderError,
    transport::Reply,
};

/// What each model of a server demands, learned from its refusals: a request is repeated as it is wanted, and
/// later ones of the same model begin that way.
#[derive(Debug, Default)]
pub struct KnownDemands<D>(Mutex<HashMap<String, D>>);

impl<D: Copy + Default + PartialEq + Debug> KnownDemands<D> {
    /// What this model is known to demand.
    fn of(&self, model: &str) -> D {
        let learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.get(model).copied().unwrap_or_default()
    }

    /// Remembers what a model demands.
    fn remember(&self, model: &str, demands: D) {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.insert(model.to_owned(), demands);
    }
}

/// One try of a model.
#[derive(Debug)]
pub struct Call<'a, O> {
    /// What is asked.
    pub request: &'a Request,
    /// The configuration of the client, with what the environment gives.
    pub config: &'a ModelConfig<O>,
    /// The connections.
    pub client: &'a HttpClient,
    /// What the model is called at the provider.
    pub model: &'a str,
    /// Whether the reply is wanted in pieces.
    pub is_streamed: bool,
    /// What the call may take. Its time has begun.
    pub allowed: Allowance,
    /// The model, as its user writes it.
    pub(crate) written: &'a str,
}

impl<O> Call<'_, O> {
    /// What an answer from `path` belongs to.
    pub fn exchange(&self, path: &str) -> Exchange {
        let exchange = Exchange::new(self.client, path, self.model);
        // At a provider's own endpoint, its prefix is certainly no part of a name.
        if self.config.base_url.is_some() { exchange.written(self.written) } else { exchange }
    }

    /// Sends the request that `write` makes for what the model demands, and reads the answer with what
    /// `reader` gives. Where the server refuses something that the request can do without, `more` says what
    /// is demanded besides, and it is asked again within the same time: it did nothing yet, so this is no
    /// second try.
    ///
    /// # Errors
    /// Those of `write` and of the answer.
    pub async fn ask<D: Copy + Default + PartialEq + Debug, S>(
        &self,
        learned: &KnownDemands<D>,
        write: impl Fn(D) -> Result<(Url, Bytes, S)>,
        more: impl Fn(D, &ProviderError, &S) -> Option<D>,
        reader: impl Fn(D) -> Box<dyn ReadReply>,
    ) -> Result<ResponseStream<'static>> {
        let known = learned.of(self.model);
        let mut demands = known;
        loop {
            let (url, body, sent) = write(demands)?;
            let exchange = self.exchange(url.path());
            let incoming = self.client.open(Method::POST, &url, Some(body), self.allowed).await?;
            let is_taken = incoming.head.status.is_success();
            if is_taken && demands != known {
                learned.remember(self.model, demands);
            }
            if is_taken && incoming.head.is_event_stream() {
                return Ok(deltas(incoming, exchange, reader(demands)).boxed());
            }
            // A server that does not stream, or a failure: the answer is whole.
            let reply = incoming.whole().await?;
            // This ends: each round adds one of a few demands.
            match exchange.refusal(&reply).and_then(|refusal| more(demands, &refusal, &sent)) {
                Some(next) if next != demands => demands = next,
                _ => return whole(&exchange, &reply, || reader(demands)),
            }
            tracing::debug!(model = self.model, ?demands, "repeating the request as wanted");
        }
    }
}

fn whole(
    exchange: &Exchange,
    reply: &Reply,
    reader: impl Fn() -> Box<dyn ReadReply>,
) -> Result<ResponseStream<'static>> {
    // It may be a stream of events although its type says otherwise.
    let response = exchange.response_of(reply, |body| match reply_in(body, &mut *reader()) {
        Some(outcome) => Ok(outcome),
        None => json(body).map(|answer| reader().whole(&answer)),
    })?;
    Ok(stream::iter(pieces(response).map(Ok)).boxed())
}

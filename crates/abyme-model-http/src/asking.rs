//! Asking a model that may refuse a part of the request that it can do without.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use abyme_core::Result;
use bytes::Bytes;
use reqwest::{Method, Url};

use crate::{
    allowance::Allowance,
    client::HttpClient,
    failure::Exchange,
    provider_error::ProviderError,
    transport::{Incoming, Reply},
};

/// What each model of a server demands, learned from its refusals: a request is repeated as it is wanted, and
/// later ones of the same model begin that way.
#[derive(Debug, Default)]
pub struct Learned<D>(Mutex<HashMap<String, D>>);

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// It succeeded, as far as its status says. The body is coming.
    Coming(Box<Incoming>),
    /// It failed.
    Failed(Reply),
}

impl<D: Copy + Default + PartialEq + Debug> Learned<D> {
    /// What this model is known to demand.
    pub fn of(&self, model: &str) -> D {
        let learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.get(model).copied().unwrap_or_default()
    }

    /// Remembers what a model demands.
    pub fn remember(&self, model: &str, demands: D) {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.insert(model.to_owned(), demands);
    }

    /// Asks `model` with the body that `write` makes for its demands. Where the server refuses something that
    /// the request can do without, `more` says what is demanded besides, and it is asked again within the
    /// same time: it did nothing yet, so this is no second try.
    ///
    /// # Errors
    /// Those of `write` and of [`HttpClient::open`].
    pub async fn ask<S>(
        &self,
        model: &str,
        (client, url, exchange): (&HttpClient, &Url, &Exchange),
        allowed: Allowance,
        write: impl Fn(D) -> Result<(Bytes, S)>,
        more: impl Fn(D, &ProviderError, &S) -> Option<D>,
    ) -> Result<Answer> {
        let known = self.of(model);
        let mut demands = known;
        loop {
            let (body, sent) = write(demands)?;
            let incoming = client.open(Method::POST, url, Some(body), allowed).await?;
            if incoming.head.status.is_success() {
                if demands != known {
                    self.remember(model, demands);
                }
                return Ok(Answer::Coming(Box::new(incoming)));
            }
            let reply = incoming.whole().await?;
            // This ends: each round adds one of a few demands.
            match exchange.refusal(&reply).and_then(|refusal| more(demands, &refusal, &sent)) {
                Some(next) if next != demands => demands = next,
                _ => return Ok(Answer::Failed(reply)),
            }
            tracing::debug!(model, ?demands, "repeating the request as wanted");
        }
    }
}
